//! Many changes of identities at once: one command to each group they touch (rest §4, §5).

use std::collections::BTreeMap;

use futures::future::join_all;
use model::{
    DeviceId, DeviceIdentity, GroupId, ModuleId, ModuleIdentity, Principal, SymmetricKey, SymmetricKeys,
    twin::{TwinChange, TwinETag},
};
use proto::shard::v1::{
    self, command::Operation, command_result::Outcome, identity_change::Operation as Kind,
    identity_change_result::Outcome as ChangeOutcome,
};

use crate::{Inner, Precondition, RegistryError, ShardClient, Unavailable, twin::update_command};

/// One change of one identity; keys and generation ids are drawn by the caller.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The twin that comes with it is merged when the identity is accepted.
    PutDevice(Box<DeviceIdentity>, Precondition, Option<Box<TwinChange>>),
    DeleteDevice(DeviceId, Precondition),
    PutModule(Box<ModuleIdentity>, Precondition, Option<Box<TwinChange>>),
    DeleteModule(DeviceId, ModuleId, Precondition),
    UpdateTwin {
        principal: Principal,
        expected: Option<TwinETag>,
        change: Box<TwinChange>,
    },
    /// New keys for an identity that has symmetric ones; a key that is `None` stays.
    RegenerateKeys {
        principal: Principal,
        primary: Option<SymmetricKey>,
        secondary: Option<SymmetricKey>,
    },
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    Done,
    /// Both keys as they are now.
    Keys(SymmetricKeys),
}

impl Change {
    /// The device or module that is changed.
    pub fn principal(&self) -> Principal {
        match self {
            Self::PutDevice(identity, ..) => Principal::device(identity.device_id.clone()),
            Self::DeleteDevice(device_id, _) => Principal::device(device_id.clone()),
            Self::PutModule(identity, ..) => Principal::module(identity.device_id.clone(), identity.module_id.clone()),
            Self::DeleteModule(device_id, module_id, _) => Principal::module(device_id.clone(), module_id.clone()),
            Self::UpdateTwin { principal, .. } | Self::RegenerateKeys { principal, .. } => principal.clone(),
        }
    }

    fn device_id(&self) -> &DeviceId {
        match self {
            Self::PutDevice(identity, ..) => &identity.device_id,
            Self::PutModule(identity, ..) => &identity.device_id,
            Self::DeleteDevice(device_id, _) | Self::DeleteModule(device_id, ..) => device_id,
            Self::UpdateTwin { principal, .. } | Self::RegenerateKeys { principal, .. } => &principal.device_id,
        }
    }
}

fn with_identity(change: &Change, twin: &Option<Box<TwinChange>>) -> Option<v1::UpdateTwin> {
    twin.as_ref().map(|twin| update_command(&change.principal(), None, twin))
}

impl From<&Change> for v1::IdentityChange {
    fn from(change: &Change) -> Self {
        let condition = |precondition: &Precondition| Some((*precondition).into());
        let operation = match change {
            Change::PutDevice(identity, precondition, twin) => Kind::PutDevice(v1::PutDevice {
                identity: Some(identity.as_ref().into()),
                precondition: condition(precondition),
                twin: with_identity(change, twin),
            }),
            Change::DeleteDevice(device_id, precondition) => Kind::DeleteDevice(v1::DeleteDevice {
                device_id: device_id.to_string(),
                precondition: condition(precondition),
            }),
            Change::PutModule(identity, precondition, twin) => Kind::PutModule(v1::PutModule {
                identity: Some(identity.as_ref().into()),
                precondition: condition(precondition),
                twin: with_identity(change, twin),
            }),
            Change::DeleteModule(device_id, module_id, precondition) => Kind::DeleteModule(v1::DeleteModule {
                device_id: device_id.to_string(),
                module_id: module_id.to_string(),
                precondition: condition(precondition),
            }),
            Change::UpdateTwin { principal, expected, change } => {
                Kind::UpdateTwin(update_command(principal, *expected, change))
            }
            Change::RegenerateKeys { principal, primary, secondary } => {
                let text = |key: &Option<SymmetricKey>| key.as_ref().map(|key| key.as_base64().to_owned());
                Kind::RegenerateKeys(v1::RegenerateKeys {
                    principal: Some(principal.into()),
                    primary: text(primary),
                    secondary: text(secondary),
                })
            }
        };
        Self { operation: Some(operation) }
    }
}

impl TryFrom<v1::IdentityChangeResult> for Changed {
    type Error = RegistryError;

    fn try_from(result: v1::IdentityChangeResult) -> Result<Self, RegistryError> {
        match result.outcome {
            Some(ChangeOutcome::Done(_)) => Ok(Self::Done),
            Some(ChangeOutcome::Keys(keys)) => Ok(Self::Keys(keys.try_into().map_err(Unavailable::from)?)),
            Some(ChangeOutcome::Error(error)) => Err(error.into()),
            None => Err(Unavailable::Protocol("a change without an outcome").into()),
        }
    }
}

impl ShardClient {
    /// Applies each change on its own and answers one result for each. Changes of one group keep their order; groups
    /// work at the same time. One request takes at most 100 changes.
    pub async fn change_identities(&self, changes: &[Change]) -> Vec<Result<Changed, RegistryError>> {
        let mut of_groups: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (position, change) in changes.iter().enumerate() {
            of_groups.entry(self.inner.group_of(change.device_id()).0).or_default().push(position);
        }
        let commands = of_groups.iter().map(|(group, positions)| {
            let changes = positions.iter().filter_map(|position| changes.get(*position)).map(Into::into).collect();
            change_in_group(&self.inner, GroupId(*group), changes)
        });
        let answers = join_all(commands).await;
        let positions = of_groups.values().flatten().copied();
        let mut results: Vec<_> = positions.zip(answers.into_iter().flatten()).collect();
        results.sort_by_key(|(position, _)| *position);
        results.into_iter().map(|(_, result)| result).collect()
    }
}

/// One result for each change, whatever happens.
async fn change_in_group(
    inner: &Inner,
    group: GroupId,
    changes: Vec<v1::IdentityChange>,
) -> Vec<Result<Changed, RegistryError>> {
    let count = changes.len();
    let outcome = inner.command(group, Operation::ChangeIdentities(v1::ChangeIdentities { changes })).await;
    let failed = match outcome {
        Ok(Outcome::Changes(answer)) if answer.results.len() == count => {
            return answer.results.into_iter().map(TryInto::try_into).collect();
        }
        Ok(Outcome::Error(error)) => error.into(),
        Ok(_) => Unavailable::Protocol("a command's outcome is of another kind").into(),
        Err(unavailable) => RegistryError::from(unavailable),
    };
    vec![Err(failed); count]
}
