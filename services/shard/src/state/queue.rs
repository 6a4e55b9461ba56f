//! Queues of messages for devices and modules (messaging §4.2): one per principal, whatever protocol asks.
//!
//! ```text
//!   enqueue -> waits --receive--> locked --complete, reject--> gone
//!                ^                  |
//!                +---abandon, release, time, a newer connection---+        expiry, purge, too many abandons -> gone
//! ```
//!
//! What the sender wants to hear of becomes feedback in the same step.

use model::Principal;
use proto::shard::v1::{
    Acknowledgement, DeviceBoundMessage, DeviceBoundQueue, EnqueueMessage, PurgeMessages, QueueLock, ReceiveMessages,
    ReceivedMessages, SettleMessages, Settlement, command_error::Code, command_result::Outcome,
    feedback::Outcome as End,
};

use super::{
    Effect, feedback, file_notifications,
    keys::{self, Key},
    rows::{DONE, Entry, Failure, decode, device, get, invalid, parse_principal},
    statistics,
};
use crate::store::{Rows, StoreError};

/// Messages in one queue at most, locked ones included (messaging §4.2).
pub const MESSAGES_MAX: usize = 50;
/// Messages handed out at once at most.
const RECEIVED_MAX: usize = 16;
/// Messages that expire in one entry at most.
const EXPIRED_MAX: usize = 256;

/// Puts a message at the end of the queue.
pub fn enqueue(entry: &mut Entry<'_, '_>, command: EnqueueMessage) -> Result<Outcome, Failure> {
    let principal = parse_principal(command.principal.as_ref())?;
    entry.require(&principal)?;
    if device(entry.rows, &principal.device_id)?.is_none_or(|device| device.disabled) {
        return Err(Code::DeviceNotFound.into());
    }
    let mut queue: DeviceBoundQueue = get(entry.rows, &keys::queue(&principal))?.unwrap_or_default();
    if queue.count as usize >= MESSAGES_MAX {
        return Err(Code::QueueFull.into());
    }
    queue.last_sequence += 1;
    queue.count += 1;
    let message = DeviceBoundMessage {
        sequence: queue.last_sequence,
        enqueued_time: entry.time,
        expiry_time: command.expiry_time,
        expiry_postponed_to: None,
        acknowledgement: command.acknowledgement,
        record: command.record,
        delivery_count: 0,
        was_delivered: false,
        lock: None,
        delivery_count_max: command.delivery_count_max.max(1),
        feedback_seconds: command.feedback_seconds,
    };
    entry.put(&keys::queue(&principal), &queue);
    keep(entry, &principal, &message)?;
    entry.effects.push(Effect::MessagesWaiting(principal));
    Ok(DONE)
}

/// One message more. The queue itself counts it already.
pub fn keep(entry: &mut Entry<'_, '_>, principal: &Principal, message: &DeviceBoundMessage) -> Result<(), StoreError> {
    statistics::change(entry, |statistics| statistics.queued_message_count += 1)?;
    entry.put(&keys::message(principal, message.sequence), message);
    entry.rows.put(&expiry_key(principal, message), Vec::new());
    Ok(())
}

fn expiry_key(principal: &Principal, message: &DeviceBoundMessage) -> Vec<u8> {
    let time = message.expiry_postponed_to.unwrap_or(message.expiry_time);
    keys::expiry(time.max(0).cast_unsigned(), principal, message.sequence)
}

/// The messages of the queue, oldest first.
pub fn messages(rows: &impl Rows, principal: &Principal) -> Result<Vec<DeviceBoundMessage>, StoreError> {
    let range = keys::messages(principal);
    let stored = rows.scan(&range.from, &range.to, MESSAGES_MAX)?;
    stored.iter().map(|(_, value)| decode(value)).collect()
}

/// How many messages wait or are locked.
pub fn count(rows: &impl Rows, principal: &Principal) -> Result<u32, StoreError> {
    Ok(get::<DeviceBoundQueue>(rows, &keys::queue(principal))?.map_or(0, |queue| queue.count))
}

/// Locks the oldest messages that can be had.
pub fn receive(entry: &mut Entry<'_, '_>, command: &ReceiveMessages) -> Result<Outcome, Failure> {
    let principal = parse_principal(command.principal.as_ref())?;
    entry.require(&principal)?;
    let limit = (command.limit as usize).clamp(1, RECEIVED_MAX);
    let mut received = ReceivedMessages::default();
    for mut message in messages(entry.rows, &principal)? {
        if is_held(&message, command, entry.time) {
            let until = message.lock.map(|lock| lock.until);
            received.available_time = received.available_time.into_iter().chain(until).min();
        } else if message.expiry_time <= entry.time {
            end(entry, &principal, &message, End::Expired)?;
        } else if received.sequences.len() >= limit {
            received.has_more = true;
            break;
        } else {
            // A lock that is void by now was of somebody who had it in hand.
            message.was_delivered |= message.lock.is_some();
            message.lock = Some(QueueLock {
                until: entry.time + i64::from(command.lock_milliseconds) * 1000,
                token: command.token,
                connection_id: command.connection_id,
            });
            entry.put(&keys::message(&principal, message.sequence), &message);
            received.sequences.push(message.sequence);
        }
    }
    Ok(Outcome::Messages(received))
}

/// Whether somebody has the message in hand whom the receiver does not supersede.
fn is_held(message: &DeviceBoundMessage, by: &ReceiveMessages, time: i64) -> bool {
    let Some(lock) = &message.lock else { return false };
    let is_newer = match (lock.connection_id, by.connection_id) {
        (Some(held), Some(newer)) => (held.leadership, held.counter) < (newer.leadership, newer.counter),
        _ => false,
    };
    lock.until > time && !is_newer
}

/// The messages that a receive of that result locked, as they are to be handed out.
pub fn received(
    rows: &impl Rows,
    principal: &Principal,
    sequences: &[u64],
    token: u64,
) -> Result<Vec<DeviceBoundMessage>, StoreError> {
    let mut found = Vec::with_capacity(sequences.len());
    for sequence in sequences {
        let message: Option<DeviceBoundMessage> = get(rows, &keys::message(principal, *sequence))?;
        found.extend(message.filter(|message| message.lock.as_ref().is_some_and(|lock| lock.token == token)));
    }
    Ok(found)
}

/// What becomes of messages in hand.
pub fn settle(entry: &mut Entry<'_, '_>, command: &SettleMessages) -> Result<Outcome, Failure> {
    let principal = parse_principal(command.principal.as_ref())?;
    entry.require(&principal)?;
    if command.settlement() == Settlement::Release {
        return release(entry, &principal, command);
    }
    let mut lost = false;
    for sequence in command.sequences.iter().take(MESSAGES_MAX) {
        let message: Option<DeviceBoundMessage> = get(entry.rows, &keys::message(&principal, *sequence))?;
        match message.filter(|message| is_settled_by(message, command, entry.time)) {
            None => lost = true,
            Some(message) => settle_one(entry, &principal, message, command.settlement())?,
        }
    }
    if lost { Err(Code::LockLost.into()) } else { Ok(DONE) }
}

/// A token is good while the lock lasts; a connection's hand is good until somebody else's is.
fn is_settled_by(message: &DeviceBoundMessage, by: &SettleMessages, time: i64) -> bool {
    match (&message.lock, by.connection_id) {
        (None, _) => false,
        (Some(lock), Some(connection_id)) => lock.connection_id == Some(connection_id),
        (Some(lock), None) => lock.connection_id.is_none() && lock.token == by.token && lock.until > time,
    }
}

fn settle_one(
    entry: &mut Entry<'_, '_>,
    principal: &Principal,
    message: DeviceBoundMessage,
    settlement: Settlement,
) -> Result<(), Failure> {
    match settlement {
        Settlement::Complete => end(entry, principal, &message, End::Success),
        Settlement::Reject => end(entry, principal, &message, End::Rejected),
        Settlement::Abandon if message.delivery_count + 1 >= message.delivery_count_max => {
            end(entry, principal, &message, End::DeliveryCountExceeded)
        }
        Settlement::Abandon => {
            give_back(entry, principal, DeviceBoundMessage { delivery_count: message.delivery_count + 1, ..message });
            Ok(())
        }
        Settlement::Release | Settlement::Unspecified => Err(invalid("settlement")),
    }
}

fn give_back(entry: &mut Entry<'_, '_>, principal: &Principal, message: DeviceBoundMessage) {
    let waiting = DeviceBoundMessage { lock: None, was_delivered: true, ..message };
    entry.put(&keys::message(principal, waiting.sequence), &waiting);
    entry.effects.push(Effect::MessagesWaiting(principal.clone()));
}

/// The connection ended: what it had in hand waits again.
fn release(entry: &mut Entry<'_, '_>, principal: &Principal, command: &SettleMessages) -> Result<Outcome, Failure> {
    let connection_id = command.connection_id.ok_or_else(|| invalid("connection_id"))?;
    for message in messages(entry.rows, principal)? {
        if message.lock.as_ref().is_some_and(|lock| lock.connection_id == Some(connection_id)) {
            give_back(entry, principal, message);
        }
    }
    Ok(DONE)
}

/// Removes every message; answers how many.
pub fn purge(entry: &mut Entry<'_, '_>, command: &PurgeMessages) -> Result<Outcome, Failure> {
    let principal = parse_principal(command.principal.as_ref())?;
    entry.require(&principal)?;
    let all = messages(entry.rows, &principal)?;
    for message in &all {
        end(entry, &principal, message, End::Purged)?;
    }
    Ok(Outcome::PurgedCount(all.len() as u64))
}

/// Removes messages past their time that nobody has in hand, old feedback and old file notifications.
pub fn expire(entry: &mut Entry<'_, '_>) -> Result<Outcome, Failure> {
    let range = keys::expiries_until(entry.time.max(0).cast_unsigned());
    for (key, _) in entry.rows.scan(&range.from, &range.to, EXPIRED_MAX)? {
        entry.rows.delete(&key);
        let Some(Key::Expiry { principal, sequence, .. }) = Key::decode(&key) else { continue };
        let message: Option<DeviceBoundMessage> = get(entry.rows, &keys::message(&principal, sequence))?;
        let Some(mut message) = message else { continue };
        match message.lock.as_ref().filter(|lock| lock.until > entry.time) {
            None => end(entry, &principal, &message, End::Expired)?,
            // It is looked at again when it is out of the hand that has it.
            Some(lock) => {
                message.expiry_postponed_to = Some(lock.until);
                entry.put(&keys::message(&principal, sequence), &message);
                entry.rows.put(&expiry_key(&principal, &message), Vec::new());
            }
        }
    }
    feedback::expire(entry)?;
    file_notifications::expire(entry)?;
    Ok(DONE)
}

/// Whether [`expire`] would do something at that time.
pub fn has_expired(rows: &impl Rows, time: i64) -> Result<bool, StoreError> {
    let range = keys::expiries_until(time.max(0).cast_unsigned());
    Ok(!rows.scan(&range.from, &range.to, 1)?.is_empty()
        || feedback::has_expired(rows, time)?
        || file_notifications::has_expired(rows, time)?)
}

/// The message leaves the queue; its sender hears of it if it wants to.
fn end(
    entry: &mut Entry<'_, '_>,
    principal: &Principal,
    message: &DeviceBoundMessage,
    end: End,
) -> Result<(), Failure> {
    entry.rows.delete(&keys::message(principal, message.sequence));
    entry.rows.delete(&expiry_key(principal, message));
    if let Some(mut queue) = get::<DeviceBoundQueue>(entry.rows, &keys::queue(principal))? {
        queue.count = queue.count.saturating_sub(1);
        entry.put(&keys::queue(principal), &queue);
        left(entry, 1)?;
    }
    match entry.effects.last_mut() {
        Some(Effect::MessagesEnded { outcome, count }) if *outcome == end => *count += 1,
        _ => entry.effects.push(Effect::MessagesEnded { outcome: end, count: 1 }),
    }
    let is_wanted = match message.acknowledgement() {
        Acknowledgement::None => false,
        Acknowledgement::Positive => end == End::Success,
        Acknowledgement::Negative => end != End::Success,
        Acknowledgement::Full => true,
    };
    if is_wanted { feedback::add(entry, principal, message, end) } else { Ok(()) }
}

/// Counts messages that are in no queue any more.
fn left(entry: &mut Entry<'_, '_>, count: u64) -> Result<(), StoreError> {
    statistics::change(entry, |statistics| {
        statistics.queued_message_count = statistics.queued_message_count.saturating_sub(count);
    })
}

/// Forgets the messages of a principal whose identity goes, without feedback.
pub fn delete(entry: &mut Entry<'_, '_>, principal: &Principal) -> Result<(), StoreError> {
    let all = messages(entry.rows, principal)?;
    if !all.is_empty() {
        left(entry, all.len() as u64)?;
    }
    for message in all {
        entry.rows.delete(&expiry_key(principal, &message));
        entry.rows.delete(&keys::message(principal, message.sequence));
    }
    entry.rows.delete(&keys::queue(principal));
    Ok(())
}

/// The same of a device and all its modules.
pub fn delete_all(entry: &mut Entry<'_, '_>, principal: &Principal) -> Result<(), StoreError> {
    let range = keys::queues_of(&principal.device_id);
    for (key, _) in entry.rows.scan(&range.from, &range.to, usize::MAX)? {
        if let Some(Key::Queue(principal)) = Key::decode(&key) {
            delete(entry, &principal)?;
        }
    }
    Ok(())
}
