//! What back ends hear of the messages they sent (messaging §4.7): single outcomes until enough of them wait, then
//! batches that are handed out and settled like messages.

use model::Principal;
use prost::Message;
use proto::shard::v1::{
    DeviceBoundMessage, Feedback, FeedbackBatch, QueueLock, ReceiveFeedback, SettleFeedback, command_error::Code,
    command_result::Outcome, feedback::Outcome as End,
};

use super::{
    keys,
    rows::{DONE, Entry, Failure, decode, device, get, number},
};
use crate::store::{Rows, StoreError};

/// Outcomes of one batch at most (messaging §4.7).
const BATCH_MAX: usize = 64;
/// Batches that are looked at for one that can be had.
const BATCHES_LOOKED_AT_MAX: usize = 256;
/// Outcomes and batches that expire in one entry at most.
const EXPIRED_MAX: usize = 256;

/// Keeps an outcome for back ends.
pub fn add(
    entry: &mut Entry<'_, '_>,
    principal: &Principal,
    message: &DeviceBoundMessage,
    outcome: End,
) -> Result<(), Failure> {
    let generation_id = device(entry.rows, &principal.device_id)?.map(|device| device.generation_id);
    let feedback = Feedback {
        time: entry.time,
        expiry_time: entry.time + i64::from(message.feedback_seconds) * 1_000_000,
        outcome: outcome as i32,
        original_message_id: message_id(message),
        principal: Some(principal.into()),
        generation_id: generation_id.unwrap_or_default(),
    };
    Ok(keep(entry, &feedback)?)
}

/// Puts it behind the others that wait.
pub fn keep(entry: &mut Entry<'_, '_>, feedback: &Feedback) -> Result<(), StoreError> {
    let number = next_number(entry)?;
    entry.put(&keys::feedback(number), feedback);
    Ok(())
}

fn message_id(message: &DeviceBoundMessage) -> String {
    let record = proto::event::v1::Record::decode(message.record.as_ref()).unwrap_or_default();
    let is_message_id = |number: u32| number == model::SystemProperty::MessageId as u32;
    record.system_properties.into_iter().find(|it| is_message_id(it.number)).map(|it| it.value).unwrap_or_default()
}

fn next_number(entry: &mut Entry<'_, '_>) -> Result<u64, StoreError> {
    let next = 1 + number(entry.rows, &keys::feedback_number())?.unwrap_or(0);
    entry.rows.put(&keys::feedback_number(), next.to_be_bytes().to_vec());
    Ok(next)
}

/// The feedback that waits, oldest first, so much that one batch more than is full can be told.
fn waiting(rows: &impl Rows, limit: usize) -> Result<Vec<(Vec<u8>, Feedback)>, StoreError> {
    let range = keys::all_feedback();
    let rows = rows.scan(&range.from, &range.to, limit)?;
    rows.into_iter().map(|(key, value)| Ok((key, decode(&value)?))).collect()
}

fn batches(rows: &impl Rows) -> Result<Vec<FeedbackBatch>, StoreError> {
    let range = keys::feedback_batches();
    let rows = rows.scan(&range.from, &range.to, BATCHES_LOOKED_AT_MAX)?;
    rows.iter().map(|(_, value)| decode(value)).collect()
}

fn can_be_had(batch: &FeedbackBatch, time: i64) -> bool {
    batch.lock.as_ref().is_none_or(|lock| lock.until <= time)
}

/// Whether so much waits, or so long, that it makes a batch.
fn makes_a_batch(waiting: &[(Vec<u8>, Feedback)], command: &ReceiveFeedback, time: i64) -> bool {
    let flush = i64::from(command.flush_milliseconds) * 1000;
    waiting.len() >= BATCH_MAX || waiting.first().is_some_and(|(_, oldest)| oldest.time + flush <= time)
}

/// Whether [`receive`] would find nothing at that time, so that it needs no entry.
pub fn has_nothing(rows: &impl Rows, command: &ReceiveFeedback, time: i64) -> Result<bool, StoreError> {
    Ok(!batches(rows)?.iter().any(|batch| can_be_had(batch, time))
        && !makes_a_batch(&waiting(rows, BATCH_MAX)?, command, time))
}

/// Locks the oldest batch that can be had, or makes one.
pub fn receive(entry: &mut Entry<'_, '_>, command: &ReceiveFeedback) -> Result<Outcome, Failure> {
    let given_back = batches(entry.rows)?.into_iter().find(|batch| can_be_had(batch, entry.time));
    let mut batch = match given_back {
        Some(batch) => batch,
        None => {
            let waiting = waiting(entry.rows, BATCH_MAX)?;
            if !makes_a_batch(&waiting, command, entry.time) {
                return Ok(DONE);
            }
            waiting.iter().for_each(|(key, _)| entry.rows.delete(key));
            let feedback = waiting.into_iter().map(|(_, feedback)| feedback).collect();
            let number = next_number(entry)?;
            FeedbackBatch { feedback, delivery_count: 0, lock: None, enqueued_time: entry.time, number }
        }
    };
    batch.lock = Some(QueueLock {
        until: entry.time + i64::from(command.lock_milliseconds) * 1000,
        token: command.token,
        connection_id: None,
    });
    entry.put(&keys::feedback_batch(batch.number), &batch);
    Ok(Outcome::Feedback(FeedbackBatch { number: batch.number, ..FeedbackBatch::default() }))
}

/// The batch of that number while the token holds it.
pub fn batch(rows: &impl Rows, number: u64, token: u64) -> Result<Option<FeedbackBatch>, StoreError> {
    let batch: Option<FeedbackBatch> = get(rows, &keys::feedback_batch(number))?;
    Ok(batch.filter(|batch| batch.lock.as_ref().is_some_and(|lock| lock.token == token)))
}

/// A batch in hand is done with, or given back; one that was given back too often is dropped.
pub fn settle(entry: &mut Entry<'_, '_>, command: &SettleFeedback) -> Result<Outcome, Failure> {
    let batch = batch(entry.rows, command.number, command.token)?.filter(|batch| !can_be_had(batch, entry.time));
    let Some(batch) = batch else { return Err(Code::LockLost.into()) };
    let delivery_count = batch.delivery_count + 1;
    if command.complete || delivery_count >= command.delivery_count_max {
        entry.rows.delete(&keys::feedback_batch(command.number));
    } else {
        entry.put(&keys::feedback_batch(command.number), &FeedbackBatch { delivery_count, lock: None, ..batch });
    }
    Ok(DONE)
}

/// Forgets feedback that nobody fetched in time.
pub fn expire(entry: &mut Entry<'_, '_>) -> Result<(), StoreError> {
    let expired = waiting(entry.rows, EXPIRED_MAX)?.into_iter().filter(|(_, it)| it.expiry_time <= entry.time);
    expired.for_each(|(key, _)| entry.rows.delete(&key));
    for batch in batches(entry.rows)?.iter().filter(|batch| is_expired(batch, entry.time)) {
        entry.rows.delete(&keys::feedback_batch(batch.number));
    }
    Ok(())
}

/// Whether [`expire`] would do something; what is older stands first.
pub fn has_expired(rows: &impl Rows, time: i64) -> Result<bool, StoreError> {
    Ok(waiting(rows, 1)?.iter().any(|(_, oldest)| oldest.expiry_time <= time)
        || batches(rows)?.iter().any(|batch| is_expired(batch, time)))
}

fn is_expired(batch: &FeedbackBatch, time: i64) -> bool {
    can_be_had(batch, time) && batch.feedback.iter().all(|feedback| feedback.expiry_time <= time)
}
