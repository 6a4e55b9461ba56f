//! Device and module identities (rest §1.11 §3 §6, twins-jobs-query §1).

use model::{DeviceId, ModuleId, Principal};
use proto::shard::v1::{
    self, DeleteDevice, DeleteModule, DeviceIdentity, ModuleIdentity, PutDevice, PutModule, UpdateTwin, authentication,
    command_error::Code, command_result::Outcome, precondition::Kind,
};

use super::{
    Effect,
    edge::settle_scopes,
    keys, queue,
    rows::{DONE, Entry, Failure, device, invalid, module, parse_device_id, parse_module_id},
    statistics, twin,
};
use crate::store::{Rows, StoreError};

/// Modules of one device at most, the hub's own included (twins-jobs-query §1.5).
pub const MODULES_MAX: usize = 50;

/// What a precondition answers when the object is there although it must not, or missing although it must be there.
struct Answers {
    exists: Code,
    missing: Code,
}

const DEVICE: Answers = Answers { exists: Code::DeviceAlreadyExists, missing: Code::DeviceNotFound };
const MODULE: Answers = Answers { exists: Code::ModuleAlreadyExists, missing: Code::ModuleNotFound };

/// Checks an `If-Match` against the stored etag; `None` = nothing stored.
fn check(precondition: Option<v1::Precondition>, stored: Option<u64>, answers: &Answers) -> Result<(), Failure> {
    let kind = precondition.and_then(|precondition| precondition.kind).ok_or_else(|| invalid("precondition"))?;
    match (kind, stored) {
        (Kind::Absent(_) | Kind::Anything(_) | Kind::AbsentOrEtag(_), None) => Ok(()),
        (Kind::Present(_) | Kind::Anything(_), Some(_)) => Ok(()),
        (Kind::Etag(expected), Some(etag)) if expected == etag => Ok(()),
        (Kind::AbsentOrEtag(expected), Some(etag)) if expected.etag == Some(etag) => Ok(()),
        (Kind::Absent(_), Some(_)) => Err(answers.exists.into()),
        (_, None) => Err(answers.missing.into()),
        (_, Some(_)) => Err(Code::PreconditionFailed.into()),
    }
}

/// A delete cannot require that there is nothing to delete.
fn check_delete(precondition: Option<v1::Precondition>, stored: Option<u64>, answers: &Answers) -> Result<(), Failure> {
    if let Some(v1::Precondition { kind: Some(Kind::Absent(_) | Kind::Anything(_) | Kind::AbsentOrEtag(_)) }) =
        precondition
    {
        return Err(invalid("precondition of a delete"));
    }
    check(precondition, stored, answers)
}

/// Creates the device, or replaces its writable members.
pub fn put_device(entry: &mut Entry<'_, '_>, command: PutDevice) -> Result<Outcome, Failure> {
    let identity = command.identity.ok_or_else(|| invalid("identity"))?;
    let device_id = parse_device_id(&identity.device_id)?;
    if identity.authentication.is_none() {
        return Err(invalid("authentication"));
    }
    let stored = device(entry.rows, &device_id)?;
    check(command.precondition, stored.as_ref().map(|device| device.etag), &DEVICE)?;
    let identity = match stored {
        None => create_device(entry, &device_id, identity)?,
        Some(stored) => replace_device(entry, &device_id, stored, identity)?,
    };
    put_twin(entry, Principal::device(device_id), command.twin)?;
    Ok(Outcome::Device(identity))
}

/// The twin that comes with an identity.
fn put_twin(entry: &mut Entry<'_, '_>, principal: Principal, command: Option<UpdateTwin>) -> Result<(), Failure> {
    let Some(command) = command else { return Ok(()) };
    let command = UpdateTwin { principal: Some((&principal).into()), ..command };
    twin::update(entry, &command).map(|_| ())
}

fn create_device(
    entry: &mut Entry<'_, '_>,
    device_id: &DeviceId,
    identity: DeviceIdentity,
) -> Result<DeviceIdentity, Failure> {
    let identity = settle_scopes(identity, None)?;
    let identity = DeviceIdentity { etag: entry.next_etag()?, status_updated_time: 0, presence: None, ..identity };
    entry.put(&keys::device(device_id), &identity);
    count_device(entry, identity.disabled)?;
    if identity.iot_edge {
        create_edge_modules(entry, device_id, &identity.generation_id)?;
    }
    Ok(identity)
}

/// One device more.
pub fn count_device(entry: &mut Entry<'_, '_>, is_disabled: bool) -> Result<(), StoreError> {
    statistics::change(entry, |statistics| {
        statistics.total_device_count += 1;
        *count_of_status(statistics, is_disabled) += 1;
    })
}

fn replace_device(
    entry: &mut Entry<'_, '_>,
    device_id: &DeviceId,
    stored: DeviceIdentity,
    identity: DeviceIdentity,
) -> Result<DeviceIdentity, Failure> {
    let identity = DeviceIdentity { generation_id: stored.generation_id.clone(), ..identity };
    let identity = settle_scopes(identity, Some(&stored))?;
    let status_changed = stored.disabled != identity.disabled;
    let identity = DeviceIdentity {
        etag: entry.next_etag()?,
        status_updated_time: if status_changed { entry.time } else { stored.status_updated_time },
        presence: None,
        ..identity
    };
    entry.put(&keys::device(device_id), &identity);
    if status_changed {
        statistics::change(entry, |statistics| {
            *count_of_status(statistics, stored.disabled) -= 1;
            *count_of_status(statistics, identity.disabled) += 1;
        })?;
    }
    match (stored.iot_edge, identity.iot_edge) {
        (false, true) => create_edge_modules(entry, device_id, &identity.generation_id)?,
        (true, false) => remove_edge_modules(entry, device_id)?,
        _ => {}
    }
    entry.effects.push(Effect::IdentityChanged(Principal::device(device_id.clone())));
    Ok(identity)
}

fn count_of_status(statistics: &mut v1::Statistics, disabled: bool) -> &mut u64 {
    if disabled { &mut statistics.disabled_device_count } else { &mut statistics.enabled_device_count }
}

/// They come without authentication; the device's own runtime gives them keys. One that is there already stays.
fn create_edge_modules(entry: &mut Entry<'_, '_>, device_id: &DeviceId, generation_id: &str) -> Result<(), Failure> {
    for module_id in ModuleId::SYSTEM {
        let module_id = parse_module_id(module_id)?;
        if module(entry.rows, device_id, &module_id)?.is_some() {
            continue;
        }
        let identity = ModuleIdentity {
            device_id: device_id.to_string(),
            module_id: module_id.to_string(),
            generation_id: generation_id.into(),
            etag: entry.next_etag()?,
            managed_by: Some("iotEdge".into()),
            authentication: Some(v1::Authentication { kind: Some(authentication::Kind::None(v1::Empty {})) }),
            presence: None,
        };
        entry.put(&keys::module(device_id, &module_id), &identity);
        statistics::change(entry, |statistics| statistics.module_count += 1)?;
    }
    Ok(())
}

/// A device that is no IoT Edge device any more has no runtime.
fn remove_edge_modules(entry: &mut Entry<'_, '_>, device_id: &DeviceId) -> Result<(), Failure> {
    for module_id in ModuleId::SYSTEM {
        let module_id = parse_module_id(module_id)?;
        if module(entry.rows, device_id, &module_id)?.is_some() {
            remove_module(entry, Principal::module(device_id.clone(), module_id.clone()), &module_id)?;
        }
    }
    Ok(())
}

/// Deletes the device with its modules, their sessions and connection states.
pub fn delete_device(entry: &mut Entry<'_, '_>, command: &DeleteDevice) -> Result<Outcome, Failure> {
    let device_id = parse_device_id(&command.device_id)?;
    let stored = device(entry.rows, &device_id)?;
    check_delete(command.precondition, stored.as_ref().map(|device| device.etag), &DEVICE)?;
    let Some(stored) = stored else { return Err(Code::DeviceNotFound.into()) };
    entry.rows.delete(&keys::device(&device_id));
    let modules = entry.delete_all(&keys::modules_of(&device_id))?;
    entry.delete_all(&keys::sessions_of(&device_id))?;
    entry.delete_all(&keys::presences_of(&device_id))?;
    queue::delete_all(entry, &Principal::device(device_id.clone()))?;
    entry.delete_all(&keys::twins_of(&device_id))?;
    entry.delete_all(&keys::desired_deltas_of(&device_id))?;
    statistics::change(entry, |statistics| {
        statistics.total_device_count -= 1;
        *count_of_status(statistics, stored.disabled) -= 1;
        statistics.module_count -= modules;
    })?;
    entry.effects.push(Effect::DeviceDeleted(device_id));
    Ok(DONE)
}

/// Creates the module of an existing device, or replaces its writable members.
pub fn put_module(entry: &mut Entry<'_, '_>, command: PutModule) -> Result<Outcome, Failure> {
    let identity = command.identity.ok_or_else(|| invalid("identity"))?;
    let device_id = parse_device_id(&identity.device_id)?;
    let module_id = parse_module_id(&identity.module_id)?;
    if identity.authentication.is_none() {
        return Err(invalid("authentication"));
    }
    entry.require(&Principal::device(device_id.clone()))?;
    let stored = module(entry.rows, &device_id, &module_id)?;
    check(command.precondition, stored.as_ref().map(|module| module.etag), &MODULE)?;
    let key = keys::module(&device_id, &module_id);
    let principal = Principal::module(device_id.clone(), module_id);
    let generation_id = match stored {
        Some(stored) => {
            entry.effects.push(Effect::IdentityChanged(principal.clone()));
            stored.generation_id
        }
        None => {
            require_room(entry, &device_id)?;
            statistics::change(entry, |statistics| statistics.module_count += 1)?;
            identity.generation_id
        }
    };
    let identity = ModuleIdentity { generation_id, etag: entry.next_etag()?, presence: None, ..identity };
    entry.put(&key, &identity);
    put_twin(entry, principal, command.twin)?;
    Ok(Outcome::Module(identity))
}

fn require_room(entry: &Entry<'_, '_>, device_id: &DeviceId) -> Result<(), Failure> {
    let range = keys::modules_of(device_id);
    match entry.rows.scan(&range.from, &range.to, MODULES_MAX)?.len() {
        MODULES_MAX => Err(Code::TooManyModules.into()),
        _ => Ok(()),
    }
}

/// Deletes a module, its session and connection state.
pub fn delete_module(entry: &mut Entry<'_, '_>, command: &DeleteModule) -> Result<Outcome, Failure> {
    let device_id = parse_device_id(&command.device_id)?;
    let module_id = parse_module_id(&command.module_id)?;
    entry.require(&Principal::device(device_id.clone()))?;
    let stored = module(entry.rows, &device_id, &module_id)?;
    check_delete(command.precondition, stored.map(|module| module.etag), &MODULE)?;
    remove_module(entry, Principal::module(device_id, module_id.clone()), &module_id)?;
    Ok(DONE)
}

fn remove_module(entry: &mut Entry<'_, '_>, principal: Principal, module_id: &ModuleId) -> Result<(), Failure> {
    entry.rows.delete(&keys::module(&principal.device_id, module_id));
    entry.rows.delete(&keys::session(&principal));
    entry.rows.delete(&keys::presence(&principal));
    queue::delete(entry, &principal)?;
    twin::delete(entry, &principal)?;
    statistics::change(entry, |statistics| statistics.module_count -= 1)?;
    entry.effects.push(Effect::ModuleDeleted(principal));
    Ok(())
}
