//! What back ends hear of files that devices uploaded (messaging §11): handed out one by one and settled like messages.

use proto::shard::v1::{
    AddFileNotification, FileNotification, QueueLock, ReceiveFileNotification, SettleFileNotification,
    command_error::Code, command_result::Outcome,
};

use super::{
    keys,
    rows::{DONE, Entry, Failure, decode, device, get, invalid, number},
};
use crate::store::{Rows, StoreError};

/// Notifications of a group that wait at most; nobody listens then.
const WAITING_MAX: usize = 1000;
/// Those that expire in one entry at most.
const EXPIRED_MAX: usize = 256;

/// Keeps a notification for back ends.
pub fn add(entry: &mut Entry<'_, '_>, command: AddFileNotification) -> Result<Outcome, Failure> {
    let notification = command.notification.ok_or_else(|| invalid("no notification"))?;
    let device_id = notification.device_id.parse().map_err(|_| invalid("a device id"))?;
    if device(entry.rows, &device_id)?.is_none() {
        return Err(Code::DeviceNotFound.into());
    }
    if oldest(entry.rows, WAITING_MAX)?.len() >= WAITING_MAX {
        return Err(Code::QueueFull.into());
    }
    let enqueued_time = entry.time;
    keep(entry, FileNotification { enqueued_time, delivery_count: 0, ..notification })?;
    Ok(DONE)
}

/// Puts it behind the others that wait; nobody has it in hand.
pub fn keep(entry: &mut Entry<'_, '_>, notification: FileNotification) -> Result<(), StoreError> {
    let number = 1 + number(entry.rows, &keys::file_notification_number())?.unwrap_or(0);
    entry.rows.put(&keys::file_notification_number(), number.to_be_bytes().to_vec());
    entry.put(&keys::file_notification(number), &FileNotification { lock: None, number, ..notification });
    Ok(())
}

fn oldest(rows: &impl Rows, limit: usize) -> Result<Vec<FileNotification>, StoreError> {
    let range = keys::file_notifications();
    rows.scan(&range.from, &range.to, limit)?.iter().map(|(_, value)| decode(value)).collect()
}

fn can_be_had(notification: &FileNotification, time: i64) -> bool {
    notification.lock.as_ref().is_none_or(|lock| lock.until <= time)
}

/// Whether [`receive`] would find nothing at that time, so that it needs no entry.
pub fn has_nothing(rows: &impl Rows, time: i64) -> Result<bool, StoreError> {
    Ok(!oldest(rows, WAITING_MAX)?.iter().any(|notification| can_be_had(notification, time)))
}

/// Locks the oldest one that can be had.
pub fn receive(entry: &mut Entry<'_, '_>, command: &ReceiveFileNotification) -> Result<Outcome, Failure> {
    let found = oldest(entry.rows, WAITING_MAX)?.into_iter().find(|notification| can_be_had(notification, entry.time));
    let Some(mut notification) = found else { return Ok(DONE) };
    let number = notification.number;
    notification.lock = Some(QueueLock {
        until: entry.time + i64::from(command.lock_milliseconds) * 1000,
        token: command.token,
        connection_id: None,
    });
    entry.put(&keys::file_notification(number), &notification);
    Ok(Outcome::FileNotification(FileNotification { number, ..FileNotification::default() }))
}

/// The notification of that number while the token holds it.
pub fn notification(rows: &impl Rows, number: u64, token: u64) -> Result<Option<FileNotification>, StoreError> {
    let notification: Option<FileNotification> = get(rows, &keys::file_notification(number))?;
    Ok(notification.filter(|notification| notification.lock.as_ref().is_some_and(|lock| lock.token == token)))
}

/// One in hand is done with, or given back; one that was given back too often is dropped.
pub fn settle(entry: &mut Entry<'_, '_>, command: &SettleFileNotification) -> Result<Outcome, Failure> {
    let held = notification(entry.rows, command.number, command.token)?;
    let Some(held) = held.filter(|held| !can_be_had(held, entry.time)) else { return Err(Code::LockLost.into()) };
    let delivery_count = held.delivery_count + 1;
    let key = keys::file_notification(command.number);
    if command.complete || delivery_count >= command.delivery_count_max {
        entry.rows.delete(&key);
    } else {
        entry.put(&key, &FileNotification { delivery_count, lock: None, ..held });
    }
    Ok(DONE)
}

/// Forgets those that nobody fetched in time.
pub fn expire(entry: &mut Entry<'_, '_>) -> Result<(), StoreError> {
    for notification in oldest(entry.rows, EXPIRED_MAX)?.iter().filter(|it| is_expired(it, entry.time)) {
        entry.rows.delete(&keys::file_notification(notification.number));
    }
    Ok(())
}

/// Whether [`expire`] would do something.
pub fn has_expired(rows: &impl Rows, time: i64) -> Result<bool, StoreError> {
    Ok(oldest(rows, EXPIRED_MAX)?.iter().any(|notification| is_expired(notification, time)))
}

fn is_expired(notification: &FileNotification, time: i64) -> bool {
    can_be_had(notification, time) && notification.expiry_time <= time
}
