//! Device and module identities.

use futures::future::try_join_all;
use model::{Credentials, DeviceId, DeviceIdentity, ETag, GroupId, ModuleId, ModuleIdentity, Principal};
use proto::shard::v1::{
    self, command::Operation, command_result::Outcome, precondition::Kind, read::Query, read_result::Result as Answer,
};

use crate::{Inner, RegistryError, ShardClient, Unavailable};

/// What must hold of the stored identity before it is changed (rest §1.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// There is none: create only.
    Absent,
    /// There is one, of whatever version (`If-Match: *`).
    Present,
    /// There is one of that version.
    ETag(ETag),
    /// An `If-Match` that can be no identity's version: not found, or else failed.
    Unmatchable,
    /// Nothing: created or replaced (bulk `createOrUpdate`).
    Anything,
    /// There is none, or one of that version; without one any that exists fails (bulk `createOrUpdateIfMatchETag`).
    AbsentOrETag(Option<ETag>),
}

impl Precondition {
    /// Whether an identity can come into being under it.
    pub fn may_create(self) -> bool {
        matches!(self, Self::Absent | Self::Anything | Self::AbsentOrETag(_))
    }
}

impl From<Precondition> for v1::Precondition {
    fn from(precondition: Precondition) -> Self {
        let kind = match precondition {
            Precondition::Absent => Kind::Absent(v1::Empty {}),
            Precondition::Present => Kind::Present(v1::Empty {}),
            Precondition::ETag(etag) => Kind::Etag(etag.0),
            Precondition::Unmatchable => Kind::Unmatchable(true),
            Precondition::Anything => Kind::Anything(v1::Empty {}),
            Precondition::AbsentOrETag(etag) => Kind::AbsentOrEtag(v1::AbsentOrEtag { etag: etag.map(|etag| etag.0) }),
        };
        Self { kind: Some(kind) }
    }
}

/// Counters over all groups (rest §8).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    pub total_device_count: u64,
    pub enabled_device_count: u64,
    pub disabled_device_count: u64,
    pub connected_device_count: u64,
    pub module_count: u64,
}

const UNEXPECTED_READ: Unavailable = Unavailable::Protocol("a read's answer is of another kind");
const UNEXPECTED_OUTCOME: Unavailable = Unavailable::Protocol("a command's outcome is of another kind");

impl Inner {
    pub(crate) async fn get_credentials(&self, principal: &Principal) -> Result<Option<Credentials>, Unavailable> {
        let query = Query::GetCredentials(v1::GetCredentials { principal: Some(principal.into()) });
        match self.read(self.group_of(&principal.device_id), query).await? {
            Answer::Credentials(credentials) => Ok(Some(credentials.try_into()?)),
            Answer::NotFound(_) => Ok(None),
            _ => Err(UNEXPECTED_READ),
        }
    }
}

impl ShardClient {
    /// The identity of a connecting principal and of its device; `None` when the device is not registered.
    pub async fn get_credentials(&self, principal: &Principal) -> Result<Option<Credentials>, Unavailable> {
        self.inner.get_credentials(principal).await
    }

    /// The device; `None` when it is not registered.
    pub async fn get_device(&self, device_id: &DeviceId) -> Result<Option<DeviceIdentity>, Unavailable> {
        let query = Query::GetDevice(v1::GetDevice { device_id: device_id.to_string() });
        match self.inner.read(self.inner.group_of(device_id), query).await? {
            Answer::Device(device) => Ok(Some(device.try_into()?)),
            Answer::NotFound(_) => Ok(None),
            _ => Err(UNEXPECTED_READ),
        }
    }

    /// Up to `limit` devices, in no useful order (rest §3.2).
    pub async fn list_devices(&self, limit: usize) -> Result<Vec<DeviceIdentity>, Unavailable> {
        let mut devices = Vec::new();
        for group in GroupId::devices(self.inner.config.groups) {
            let mut after = String::new();
            while devices.len() < limit {
                let page = self.list_devices_of(group, limit - devices.len(), after).await?;
                let Some(last) = page.last() else { break };
                after = last.device_id.to_string();
                devices.extend(page);
            }
        }
        Ok(devices)
    }

    async fn list_devices_of(
        &self,
        group: GroupId,
        limit: usize,
        after_device_id: String,
    ) -> Result<Vec<DeviceIdentity>, Unavailable> {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        match self.inner.read(group, Query::ListDevices(v1::ListDevices { limit, after_device_id })).await? {
            Answer::Devices(page) => Ok(page.devices.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?),
            _ => Err(UNEXPECTED_READ),
        }
    }

    /// Creates the device, or replaces its writable members. `generation_id` and keys are drawn by the caller; the
    /// stored generation id, the new etag and the times come back.
    pub async fn put_device(
        &self,
        identity: &DeviceIdentity,
        precondition: Precondition,
    ) -> Result<DeviceIdentity, RegistryError> {
        let command =
            v1::PutDevice { identity: Some(identity.into()), precondition: Some(precondition.into()), twin: None };
        match self.inner.command(self.inner.group_of(&identity.device_id), Operation::PutDevice(command)).await? {
            Outcome::Device(device) => Ok(device.try_into().map_err(Unavailable::from)?),
            Outcome::Error(error) => Err(error.into()),
            _ => Err(UNEXPECTED_OUTCOME.into()),
        }
    }

    /// Deletes the device and everything of it. [`Precondition::Absent`] makes no sense here and is refused.
    pub async fn delete_device(&self, device_id: &DeviceId, precondition: Precondition) -> Result<(), RegistryError> {
        let command = v1::DeleteDevice { device_id: device_id.to_string(), precondition: Some(precondition.into()) };
        match self.inner.command(self.inner.group_of(device_id), Operation::DeleteDevice(command)).await? {
            Outcome::Done(_) => Ok(()),
            Outcome::Error(error) => Err(error.into()),
            _ => Err(UNEXPECTED_OUTCOME.into()),
        }
    }

    /// The module; `None` when it, or its device, is not registered.
    pub async fn get_module(
        &self,
        device_id: &DeviceId,
        module_id: &ModuleId,
    ) -> Result<Option<ModuleIdentity>, Unavailable> {
        let query = v1::GetModule { device_id: device_id.to_string(), module_id: module_id.to_string() };
        match self.inner.read(self.inner.group_of(device_id), Query::GetModule(query)).await? {
            Answer::Module(module) => Ok(Some(module.try_into()?)),
            Answer::NotFound(_) => Ok(None),
            _ => Err(UNEXPECTED_READ),
        }
    }

    /// All modules of the device; `None` when it is not registered.
    pub async fn list_modules(&self, device_id: &DeviceId) -> Result<Option<Vec<ModuleIdentity>>, Unavailable> {
        let query = Query::ListModules(v1::ListModules { device_id: device_id.to_string() });
        match self.inner.read(self.inner.group_of(device_id), query).await? {
            Answer::Modules(modules) => {
                Ok(Some(modules.modules.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?))
            }
            Answer::NotFound(_) => Ok(None),
            _ => Err(UNEXPECTED_READ),
        }
    }

    /// Creates the module of an existing device, or replaces its writable members.
    pub async fn put_module(
        &self,
        identity: &ModuleIdentity,
        precondition: Precondition,
    ) -> Result<ModuleIdentity, RegistryError> {
        let command =
            v1::PutModule { identity: Some(identity.into()), precondition: Some(precondition.into()), twin: None };
        match self.inner.command(self.inner.group_of(&identity.device_id), Operation::PutModule(command)).await? {
            Outcome::Module(module) => Ok(module.try_into().map_err(Unavailable::from)?),
            Outcome::Error(error) => Err(error.into()),
            _ => Err(UNEXPECTED_OUTCOME.into()),
        }
    }

    /// Deletes the module and everything of it.
    pub async fn delete_module(
        &self,
        device_id: &DeviceId,
        module_id: &ModuleId,
        precondition: Precondition,
    ) -> Result<(), RegistryError> {
        let command = v1::DeleteModule {
            device_id: device_id.to_string(),
            module_id: module_id.to_string(),
            precondition: Some(precondition.into()),
        };
        match self.inner.command(self.inner.group_of(device_id), Operation::DeleteModule(command)).await? {
            Outcome::Done(_) => Ok(()),
            Outcome::Error(error) => Err(error.into()),
            _ => Err(UNEXPECTED_OUTCOME.into()),
        }
    }

    /// The counters of the hub: the sum over its groups, read one after the other's leader without a common instant.
    pub async fn statistics(&self) -> Result<Statistics, Unavailable> {
        let groups = GroupId::devices(self.inner.config.groups);
        let of_groups = groups.map(|group| self.inner.read(group, Query::GetStatistics(v1::GetStatistics {})));
        let mut sum = Statistics::default();
        for answer in try_join_all(of_groups).await? {
            let Answer::Statistics(statistics) = answer else { return Err(UNEXPECTED_READ) };
            sum.total_device_count += statistics.total_device_count;
            sum.enabled_device_count += statistics.enabled_device_count;
            sum.disabled_device_count += statistics.disabled_device_count;
            sum.connected_device_count += statistics.connected_device_count;
            sum.module_count += statistics.module_count;
        }
        Ok(sum)
    }
}
