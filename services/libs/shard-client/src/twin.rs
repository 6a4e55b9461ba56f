//! Twins, for back ends and devices (twins-jobs-query §2).

use model::{
    ConnectionId, DeviceIdentity, ModuleIdentity, Principal,
    twin::{Patch, Twin, TwinChange, TwinETag},
};
use proto::shard::v1::{self, command::Operation, command_result::Outcome, read::Query, read_result::Result as Answer};

use crate::{ShardClient, TwinError, Unavailable};

/// A twin with the identity whose twin it is.
#[derive(Clone, Debug, PartialEq)]
pub struct TwinDocument {
    pub device: DeviceIdentity,
    /// Set for the twin of a module.
    pub module: Option<ModuleIdentity>,
    pub twin: Twin,
}

impl TryFrom<v1::Twin> for TwinDocument {
    type Error = Unavailable;

    fn try_from(message: v1::Twin) -> Result<Self, Unavailable> {
        Ok(Self {
            device: message.device.ok_or(Unavailable::Protocol("a twin without its device"))?.try_into()?,
            module: message.module.map(TryInto::try_into).transpose()?,
            twin: message.twin.ok_or(Unavailable::Protocol("a twin without its document"))?.try_into()?,
        })
    }
}

impl ShardClient {
    /// The twin; `None` when the principal is not registered.
    pub async fn get_twin(&self, principal: &Principal) -> Result<Option<TwinDocument>, Unavailable> {
        let query = Query::GetTwin(v1::GetTwin { principal: Some(principal.into()) });
        match self.inner.read(self.inner.group_of(&principal.device_id), query).await? {
            Answer::Twin(twin) => twin.try_into().map(Some),
            Answer::NotFound(_) => Ok(None),
            _ => Err(Unavailable::Protocol("a read's answer is of another kind")),
        }
    }

    /// A write of a back end. `expected` is the only version that may be written over; answered is the twin as it is
    /// now. A connected device that is interested is told.
    pub async fn update_twin(
        &self,
        principal: &Principal,
        expected: Option<TwinETag>,
        change: &TwinChange,
    ) -> Result<TwinDocument, TwinError> {
        let command = update_command(principal, expected, change);
        match self.command_of(principal, Operation::UpdateTwin(command)).await? {
            Outcome::Twin(twin) => Ok(twin.try_into()?),
            Outcome::Error(error) => Err(error.into()),
            _ => Err(UNEXPECTED.into()),
        }
    }

    /// A write of the device; answers the new version of the reported properties.
    pub async fn update_reported(
        &self,
        principal: &Principal,
        connection_id: ConnectionId,
        expected_version: Option<u64>,
        patch: &Patch,
    ) -> Result<u64, TwinError> {
        let command = v1::UpdateReported {
            principal: Some(principal.into()),
            connection_id: Some(connection_id.into()),
            expected_version,
            patch: patch.to_text().into(),
        };
        match self.command_of(principal, Operation::UpdateReported(command)).await? {
            Outcome::ReportedVersion(version) => Ok(version),
            Outcome::Error(error) => Err(error.into()),
            _ => Err(UNEXPECTED.into()),
        }
    }

    /// Remembers what the device says it is.
    pub async fn announce_model(&self, principal: &Principal, model_id: &str) -> Result<(), TwinError> {
        let command = v1::AnnounceModel { principal: Some(principal.into()), model_id: model_id.to_owned() };
        match self.command_of(principal, Operation::AnnounceModel(command)).await? {
            Outcome::Done(_) => Ok(()),
            Outcome::Error(error) => Err(error.into()),
            _ => Err(UNEXPECTED.into()),
        }
    }

    async fn command_of(&self, principal: &Principal, operation: Operation) -> Result<Outcome, Unavailable> {
        self.inner.command(self.inner.group_of(&principal.device_id), operation).await
    }
}

const UNEXPECTED: Unavailable = Unavailable::Protocol("a command's outcome is of another kind");

/// The command of a back end's write.
pub(crate) fn update_command(principal: &Principal, expected: Option<TwinETag>, change: &TwinChange) -> v1::UpdateTwin {
    v1::UpdateTwin {
        principal: Some(principal.into()),
        expected_etag: expected.map(|etag| etag.0),
        tags: change.tags.as_ref().map(Into::into),
        desired: change.desired.as_ref().map(Into::into),
    }
}
