//! What a backup keeps of a group, and taking it in again, in a hub with any number of groups.
//!
//! Kept: identities, twins, sessions, queues with their messages, feedback and file notifications that wait. Not kept:
//! who is connected, what clients were answered, counters and indexes; the last two are worked out anew.

use model::Principal;
use prost::Message;
use proto::shard::v1::{
    BackupRow, DeviceBoundMessage, DeviceIdentity, Feedback, FeedbackBatch, FileNotification, ModuleIdentity,
    RestoreRows, command_result::Outcome,
};

use super::{
    feedback, file_notifications,
    keys::{self, Key},
    queue, registry,
    rows::{DONE, Entry, Failure, decode, invalid, number},
    statistics,
};
use crate::store::{Rows, StoreError};

/// The row as a backup has it; none when it is not kept. A batch of feedback becomes single ones.
pub fn exported(key: &[u8], value: &[u8]) -> Result<Vec<BackupRow>, StoreError> {
    let row = |device_id: &str| BackupRow {
        device_id: device_id.to_owned(),
        key: key.to_vec().into(),
        value: value.to_vec().into(),
    };
    Ok(match Key::decode(key) {
        Some(Key::Device(device_id) | Key::Module(device_id, _)) => vec![row(device_id.as_str())],
        Some(
            Key::Session(principal)
            | Key::Twin(principal)
            | Key::DesiredDelta(principal, _)
            | Key::Queue(principal)
            | Key::Message(principal, _),
        ) => vec![row(principal.device_id.as_str())],
        Some(Key::FileNotification(_)) => vec![row(&decode::<FileNotification>(value)?.device_id)],
        Some(Key::Feedback(_)) => single(vec![decode(value)?]),
        Some(Key::FeedbackBatch(_)) => single(decode::<FeedbackBatch>(value)?.feedback),
        _ => Vec::new(),
    })
}

fn single(feedback: Vec<Feedback>) -> Vec<BackupRow> {
    let row = |feedback: Feedback| BackupRow {
        device_id: feedback.principal.as_ref().map(|principal| principal.device_id.clone()).unwrap_or_default(),
        key: keys::feedback(0).into(),
        value: feedback.encode_to_vec().into(),
    };
    feedback.into_iter().map(row).collect()
}

/// Takes rows in, each on its own; those that are there stay.
pub fn restore(entry: &mut Entry<'_, '_>, command: RestoreRows) -> Result<Outcome, Failure> {
    for row in command.rows {
        let key = Key::decode(&row.key).ok_or_else(|| invalid("a row of another version"))?;
        match key {
            Key::Feedback(_) => feedback::keep(entry, &read(&row.value)?)?,
            Key::FileNotification(_) => file_notifications::keep(entry, read(&row.value)?)?,
            _ if key.device_id().is_none_or(|device_id| device_id.as_str() != row.device_id) => {
                return Err(invalid("a row of another device"));
            }
            _ if entry.rows.get(&row.key)?.is_some() => {}
            _ => restore_row(entry, key, &row)?,
        }
    }
    Ok(DONE)
}

fn restore_row(entry: &mut Entry<'_, '_>, key: Key, row: &BackupRow) -> Result<(), Failure> {
    match key {
        Key::Device(_) => {
            let device: DeviceIdentity = read(&row.value)?;
            registry::count_device(entry, device.disabled)?;
            raise_etag(entry, device.etag)?;
        }
        Key::Module(..) => {
            statistics::change(entry, |statistics| statistics.module_count += 1)?;
            raise_etag(entry, read::<ModuleIdentity>(&row.value)?.etag)?;
        }
        Key::Message(principal, _) => return restore_message(entry, &principal, read(&row.value)?),
        Key::Session(_) | Key::Twin(_) | Key::DesiredDelta(..) | Key::Queue(_) => {}
        _ => return Err(invalid("a row that no backup has")),
    }
    entry.rows.put(&row.key, row.value.to_vec());
    Ok(())
}

/// Nobody has it in hand any more; who had may have seen it.
fn restore_message(
    entry: &mut Entry<'_, '_>,
    principal: &Principal,
    message: DeviceBoundMessage,
) -> Result<(), Failure> {
    let was_delivered = message.was_delivered || message.lock.is_some();
    let message = DeviceBoundMessage { was_delivered, lock: None, expiry_postponed_to: None, ..message };
    Ok(queue::keep(entry, principal, &message)?)
}

fn raise_etag(entry: &mut Entry<'_, '_>, etag: u64) -> Result<(), StoreError> {
    let newest = number(entry.rows, &keys::etag())?.unwrap_or(0).max(etag);
    entry.rows.put(&keys::etag(), newest.to_be_bytes().to_vec());
    Ok(())
}

fn read<M: Message + Default>(value: &[u8]) -> Result<M, Failure> {
    M::decode(value).map_err(|_| invalid("a row of a backup that cannot be read"))
}
