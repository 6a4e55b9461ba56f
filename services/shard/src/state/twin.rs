//! Twins of devices and modules (twins-jobs-query §2): reading, writing, and what connected devices are told.

use bytes::Bytes;
use model::{
    Principal, Timestamp,
    twin::{TooLarge, Twin, TwinChange},
};
use proto::shard::v1::{
    AnnounceModel, DesiredDelta, StoredTwin, UpdateReported, UpdateTwin, command_error::Code, command_result::Outcome,
};

use super::{
    Effect, keys,
    rows::{DONE, Entry, Failure, decode, get, invalid, parse_principal},
};
use crate::store::{Rows, StoreError};

/// Versions of the desired properties of which it is known what to tell a device that missed them.
pub const DESIRED_DELTAS_MAX: u64 = 16;

/// The twin; that of a new identity while nobody has written it.
pub fn twin(rows: &impl Rows, principal: &Principal) -> Result<Twin, StoreError> {
    let Some(stored) = get::<StoredTwin>(rows, &keys::twin(principal))? else { return Ok(Twin::default()) };
    stored.try_into().map_err(|error| StoreError::Corrupt(format!("a twin: {error}")))
}

/// `$version` of the desired properties.
pub fn desired_version(rows: &impl Rows, principal: &Principal) -> Result<u64, StoreError> {
    let stored = get::<StoredTwin>(rows, &keys::twin(principal))?;
    Ok(stored.and_then(|twin| twin.desired).map_or(1, |desired| desired.version))
}

/// What a device that was told `version` last has missed, in order; `None` when not all of it is known any more.
pub fn missed_deltas(
    rows: &impl Rows,
    principal: &Principal,
    version: u64,
) -> Result<Option<Vec<DesiredDelta>>, StoreError> {
    let current = desired_version(rows, principal)?;
    let missing = current.saturating_sub(version);
    if missing > DESIRED_DELTAS_MAX {
        return Ok(None);
    }
    let range = keys::desired_deltas(principal, version.saturating_add(1));
    let deltas = rows.scan(&range.from, &range.to, DESIRED_DELTAS_MAX as usize)?;
    let deltas = deltas.iter().map(|(_, value)| decode(value)).collect::<Result<Vec<_>, _>>()?;
    Ok((deltas.len() as u64 == missing).then_some(deltas))
}

/// A write of a back end. The answer is the twin; the leader reads it, so that it need not be remembered.
pub fn update(entry: &mut Entry<'_, '_>, command: &UpdateTwin) -> Result<Outcome, Failure> {
    let principal = parse_principal(command.principal.as_ref())?;
    entry.require(&principal)?;
    let stored = twin(entry.rows, &principal)?;
    if let Some(expected) = command.expected_etag
        && expected != stored.etag.0
    {
        let detail = format!("existingVersion:{} newVersion:{expected}", stored.etag.0);
        return Err(Failure::Refused(Code::PreconditionFailed, detail));
    }
    let change = TwinChange::try_from(command).map_err(|error| invalid(error.0))?;
    let updated = stored.update(&change, Timestamp::from_unix_microseconds(entry.time))?;
    put(entry, &principal, &updated.twin);
    if let Some(delta) = updated.desired_delta {
        let patch = Bytes::from(serde_json::to_vec(&delta).unwrap_or_default());
        desired_changed(entry, principal, DesiredDelta { version: updated.twin.desired.version, patch });
    }
    Ok(DONE)
}

fn desired_changed(entry: &mut Entry<'_, '_>, principal: Principal, delta: DesiredDelta) {
    entry.put(&keys::desired_delta(&principal, delta.version), &delta);
    if let Some(forgotten) = delta.version.checked_sub(DESIRED_DELTAS_MAX) {
        entry.rows.delete(&keys::desired_delta(&principal, forgotten));
    }
    entry.effects.push(Effect::DesiredUpdated(principal, delta));
}

/// A write of the device.
pub fn report(entry: &mut Entry<'_, '_>, command: &UpdateReported) -> Result<Outcome, Failure> {
    let principal = parse_principal(command.principal.as_ref())?;
    entry.require(&principal)?;
    let stored = twin(entry.rows, &principal)?;
    if let Some(expected) = command.expected_version
        && expected != stored.reported.version
    {
        let detail = format!("existingVersion:{} newVersion:{expected}", stored.reported.version);
        return Err(Failure::Refused(Code::PreconditionFailed, detail));
    }
    let patch = proto::checked_patch(&command.patch).map_err(|error| invalid(error.0))?;
    let reported = stored.report(patch, Timestamp::from_unix_microseconds(entry.time))?;
    put(entry, &principal, &reported);
    Ok(Outcome::ReportedVersion(reported.reported.version))
}

/// What a device announced itself to be; it stays so until it announces something else.
pub fn announce_model(entry: &mut Entry<'_, '_>, command: AnnounceModel) -> Result<Outcome, Failure> {
    let principal = parse_principal(command.principal.as_ref())?;
    entry.require(&principal)?;
    let stored = twin(entry.rows, &principal)?;
    if stored.model_id != command.model_id {
        put(entry, &principal, &Twin { model_id: command.model_id, ..stored });
    }
    Ok(DONE)
}

/// Whether that is the model announced last, so that it needs no entry.
pub fn is_announced(rows: &impl Rows, command: &AnnounceModel) -> Result<bool, StoreError> {
    let Ok(principal) = parse_principal(command.principal.as_ref()) else { return Ok(false) };
    Ok(twin(rows, &principal)?.model_id == command.model_id)
}

/// Forgets the twin of a principal whose identity goes.
pub fn delete(entry: &mut Entry<'_, '_>, principal: &Principal) -> Result<(), StoreError> {
    entry.rows.delete(&keys::twin(principal));
    entry.delete_all(&keys::desired_deltas(principal, 0)).map(|_| ())
}

fn put(entry: &mut Entry<'_, '_>, principal: &Principal, twin: &Twin) {
    entry.put(&keys::twin(principal), &StoredTwin::from(twin));
}

impl From<TooLarge> for Failure {
    fn from(error: TooLarge) -> Self {
        Self::Refused(Code::TwinTooLarge, error.to_string())
    }
}
