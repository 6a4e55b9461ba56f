//! Reads of a consistent view. Connection states are those last written; the leader overlays what it knows.

use model::{DeviceId, ModuleId, Principal};
use proto::shard::v1::{
    self, Credentials, DeviceIdentity, Devices, ListDevices, ModuleIdentity, Modules, ReadResult, StoredSession,
    StoredTwin, read::Query, read_result::Result as Answer,
};

use super::{
    keys,
    presence::presence,
    registry::MODULES_MAX,
    rows::{decode, device, get, module},
    settings::settings,
    statistics::statistics,
    twin::twin,
};
use crate::store::{Rows, StoreError};

/// Devices of one answer at most (rest §3.2).
const DEVICES_MAX: usize = 1000;

/// Answers a query. What is not there, and ids that no device can have, are `not_found`.
pub fn read(rows: &impl Rows, query: &Query) -> Result<ReadResult, StoreError> {
    let answer = match query {
        Query::GetDevice(query) => get_device(rows, &query.device_id)?.map(Answer::Device),
        Query::GetModule(query) => get_module(rows, &query.device_id, &query.module_id)?.map(Answer::Module),
        Query::ListModules(query) => list_modules(rows, &query.device_id)?.map(Answer::Modules),
        Query::ListDevices(query) => Some(Answer::Devices(list_devices(rows, query)?)),
        Query::GetStatistics(_) => Some(Answer::Statistics(statistics(rows)?)),
        Query::GetCredentials(query) => match query.principal.as_ref().map(Principal::try_from) {
            Some(Ok(principal)) => credentials(rows, &principal)?.map(Answer::Credentials),
            _ => None,
        },
        Query::GetTwin(query) => match query.principal.as_ref().map(Principal::try_from) {
            Some(Ok(principal)) => twin_document(rows, &principal)?.map(Answer::Twin),
            _ => None,
        },
        Query::GetSettings(_) => settings(rows)?.map(Answer::Settings),
    };
    Ok(ReadResult { result: Some(answer.unwrap_or(Answer::NotFound(v1::Empty {}))) })
}

/// What a credential of the principal is verified against; `None` when its device is not registered.
pub fn credentials(rows: &impl Rows, principal: &Principal) -> Result<Option<Credentials>, StoreError> {
    let Some(device) = device(rows, &principal.device_id)? else { return Ok(None) };
    let module = match &principal.module_id {
        None => None,
        Some(module_id) => module(rows, &principal.device_id, module_id)?,
    };
    Ok(Some(Credentials { device: Some(device), module }))
}

/// The filters of the principal's stored session; `None` when it has none.
pub fn subscriptions(rows: &impl Rows, principal: &Principal) -> Result<Option<Vec<v1::Subscription>>, StoreError> {
    let session: Option<StoredSession> = get(rows, &keys::session(principal))?;
    Ok(session.map(|session| session.subscriptions))
}

/// The twin with its identity, connection states as last written; `None` when the identity is not registered.
pub fn twin_document(rows: &impl Rows, principal: &Principal) -> Result<Option<v1::Twin>, StoreError> {
    let Some((device, module)) = identity(rows, principal)? else { return Ok(None) };
    let twin = Some(StoredTwin::from(&twin(rows, principal)?));
    Ok(Some(v1::Twin { device: Some(device), module, twin }))
}

/// The identities of a principal with their connection states; `None` when it is not registered.
fn identity(
    rows: &impl Rows,
    principal: &Principal,
) -> Result<Option<(DeviceIdentity, Option<ModuleIdentity>)>, StoreError> {
    let Some(device) = device(rows, &principal.device_id)? else { return Ok(None) };
    let device = with_presence(rows, device)?;
    let Some(module_id) = &principal.module_id else { return Ok(Some((device, None))) };
    let Some(module) = module(rows, &principal.device_id, module_id)? else { return Ok(None) };
    Ok(Some((device, Some(with_module_presence(rows, module)?))))
}

fn get_device(rows: &impl Rows, device_id: &str) -> Result<Option<DeviceIdentity>, StoreError> {
    let Ok(device_id) = device_id.parse::<DeviceId>() else { return Ok(None) };
    let Some(identity) = device(rows, &device_id)? else { return Ok(None) };
    with_presence(rows, identity).map(Some)
}

fn with_presence(rows: &impl Rows, identity: DeviceIdentity) -> Result<DeviceIdentity, StoreError> {
    let Ok(device_id) = identity.device_id.parse() else { return Ok(identity) };
    let presence = presence(rows, &Principal::device(device_id))?;
    Ok(DeviceIdentity { presence: Some(presence), ..identity })
}

fn get_module(rows: &impl Rows, device_id: &str, module_id: &str) -> Result<Option<ModuleIdentity>, StoreError> {
    let (Ok(device_id), Ok(module_id)) = (device_id.parse::<DeviceId>(), module_id.parse::<ModuleId>()) else {
        return Ok(None);
    };
    let Some(identity) = module(rows, &device_id, &module_id)? else { return Ok(None) };
    with_module_presence(rows, identity).map(Some)
}

fn with_module_presence(rows: &impl Rows, identity: ModuleIdentity) -> Result<ModuleIdentity, StoreError> {
    let (Ok(device_id), Ok(module_id)) = (identity.device_id.parse(), identity.module_id.parse()) else {
        return Ok(identity);
    };
    let presence = presence(rows, &Principal::module(device_id, module_id))?;
    Ok(ModuleIdentity { presence: Some(presence), ..identity })
}

fn list_modules(rows: &impl Rows, device_id: &str) -> Result<Option<Modules>, StoreError> {
    let Ok(device_id) = device_id.parse::<DeviceId>() else { return Ok(None) };
    if device(rows, &device_id)?.is_none() {
        return Ok(None);
    }
    let range = keys::modules_of(&device_id);
    // An Edge device gets the hub's own modules whatever it had before.
    let stored = rows.scan(&range.from, &range.to, 2 * MODULES_MAX)?;
    let modules = stored.iter().map(|(_, value)| with_module_presence(rows, decode(value)?));
    Ok(Some(Modules { modules: modules.collect::<Result<_, _>>()? }))
}

fn list_devices(rows: &impl Rows, query: &ListDevices) -> Result<Devices, StoreError> {
    let after = query.after_device_id.parse::<DeviceId>().ok();
    let limit = match query.limit as usize {
        0 => DEVICES_MAX,
        limit => limit.min(DEVICES_MAX),
    };
    let range = keys::devices_after(after.as_ref());
    let stored = rows.scan(&range.from, &range.to, limit)?;
    let devices = stored.iter().map(|(_, value)| with_presence(rows, decode(value)?));
    Ok(Devices { devices: devices.collect::<Result<_, _>>()? })
}
