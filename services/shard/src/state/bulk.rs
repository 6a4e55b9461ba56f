//! Many changes of identities in one command, each on its own, and new keys (rest §4, §5).

use model::Principal;
use proto::shard::v1::{
    self, ChangeIdentities, CommandError, IdentityChangeResult, IdentityChangeResults, RegenerateKeys, SymmetricKeys,
    authentication, command_error::Code, command_result::Outcome, identity_change::Operation,
    identity_change_result::Outcome as Changed,
};

use super::{
    Effect, keys, registry,
    rows::{Entry, Failure, device, invalid, module, parse_principal},
    twin,
};
use crate::store::StoreError;

/// Changes of one command at most: those of one bulk request.
const CHANGES_MAX: usize = 100;

/// Applies the changes in their order. One that is refused changes nothing and does not stop the others.
pub fn change_identities(entry: &mut Entry<'_, '_>, command: ChangeIdentities) -> Result<Outcome, Failure> {
    if command.changes.len() > CHANGES_MAX {
        return Err(invalid("changes"));
    }
    let results = command.changes.into_iter().map(|change| result_of(change_identity(entry, change.operation)));
    let results = results.collect::<Result<_, _>>()?;
    Ok(Outcome::Changes(IdentityChangeResults { results }))
}

fn change_identity(entry: &mut Entry<'_, '_>, operation: Option<Operation>) -> Result<Changed, Failure> {
    match operation {
        Some(Operation::PutDevice(command)) => registry::put_device(entry, command)?,
        Some(Operation::DeleteDevice(command)) => registry::delete_device(entry, &command)?,
        Some(Operation::PutModule(command)) => registry::put_module(entry, command)?,
        Some(Operation::DeleteModule(command)) => registry::delete_module(entry, &command)?,
        Some(Operation::RegenerateKeys(command)) => return regenerate_keys(entry, command).map(Changed::Keys),
        Some(Operation::UpdateTwin(command)) => twin::update(entry, &command)?,
        None => return Err(invalid("a change of a newer version")),
    };
    Ok(Changed::Done(v1::Empty {}))
}

fn result_of(changed: Result<Changed, Failure>) -> Result<IdentityChangeResult, StoreError> {
    let outcome = match changed {
        Ok(changed) => changed,
        Err(Failure::Refused(code, detail)) => Changed::Error(CommandError { code: code as i32, detail }),
        Err(Failure::Store(error)) => return Err(error),
    };
    Ok(IdentityChangeResult { outcome: Some(outcome) })
}

/// Gives an identity new keys and a new version.
fn regenerate_keys(entry: &mut Entry<'_, '_>, command: RegenerateKeys) -> Result<SymmetricKeys, Failure> {
    let principal = parse_principal(command.principal.as_ref())?;
    entry.require(&principal)?;
    let keys = match &principal.module_id {
        None => regenerate_device_keys(entry, &principal, command)?,
        Some(module_id) => {
            let stored = module(entry.rows, &principal.device_id, module_id)?;
            let mut identity = stored.ok_or(Code::ModuleNotFound)?;
            let keys = replace_keys(identity.authentication.as_mut(), command)?;
            identity.etag = entry.next_etag()?;
            entry.put(&keys::module(&principal.device_id, module_id), &identity);
            keys
        }
    };
    entry.effects.push(Effect::IdentityChanged(principal));
    Ok(keys)
}

fn regenerate_device_keys(
    entry: &mut Entry<'_, '_>,
    principal: &Principal,
    command: RegenerateKeys,
) -> Result<SymmetricKeys, Failure> {
    let mut identity = device(entry.rows, &principal.device_id)?.ok_or(Code::DeviceNotFound)?;
    let keys = replace_keys(identity.authentication.as_mut(), command)?;
    identity.etag = entry.next_etag()?;
    entry.put(&keys::device(&principal.device_id), &identity);
    Ok(keys)
}

fn replace_keys(
    authentication: Option<&mut v1::Authentication>,
    command: RegenerateKeys,
) -> Result<SymmetricKeys, Failure> {
    let kind = authentication.and_then(|authentication| authentication.kind.as_mut());
    let Some(authentication::Kind::Sas(keys)) = kind else { return Err(Code::NoSymmetricKeys.into()) };
    keys.primary = command.primary.unwrap_or_else(|| std::mem::take(&mut keys.primary));
    keys.secondary = command.secondary.unwrap_or_else(|| std::mem::take(&mut keys.secondary));
    Ok(keys.clone())
}
