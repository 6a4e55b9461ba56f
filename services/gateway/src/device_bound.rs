//! Messages for devices as back ends send them, the same for every protocol head (messaging §4).

use std::{sync::Arc, time::Duration};

use model::{Record, SystemProperty, Timestamp};
use shard_client::{Acknowledge, NewMessage};

use crate::Front;

/// Body and properties of a message for a device (messaging §4.2).
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// A message expires no later than this (messaging §4.1).
const EXPIRES_WITHIN_MAX: Duration = Duration::from_secs(2 * 24 * 3600);

/// Why a message cannot be sent to any device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadMessage {
    #[error("The message is larger than {MESSAGE_BYTES_MAX} bytes")]
    TooLarge,
    #[error("iothub-expiry is '{0}', not a time such as 2026-01-31T08:00:00Z")]
    Expiry(String),
    #[error("The message would expire more than two days from now")]
    ExpiryTooLate,
}

/// A message with what holds of it now.
pub(crate) fn new_message(
    front: &Arc<Front>,
    record: Record<'static>,
    acknowledgement: Acknowledge,
) -> Result<NewMessage, BadMessage> {
    if record.counted_bytes() > MESSAGE_BYTES_MAX {
        return Err(BadMessage::TooLarge);
    }
    let settings = front.cloud_to_device();
    Ok(NewMessage {
        expires: expires(&record, front.now(), settings.default_ttl_seconds)?,
        record,
        acknowledgement,
        delivery_count_max: settings.max_delivery_count,
        feedback_kept: Duration::from_secs(settings.feedback_ttl_seconds),
    })
}

/// When the sender says, written the one way that every client reads; else after the hub's time.
fn expires(record: &Record<'_>, now: Timestamp, default_seconds: u64) -> Result<Timestamp, BadMessage> {
    let after = |time: Duration| {
        let microseconds = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_unix_microseconds(now.unix_microseconds().saturating_add(microseconds))
    };
    let set = record.system_properties.iter().find(|(key, _)| *key == SystemProperty::AbsoluteExpiryTime);
    let Some((_, value)) = set else { return Ok(after(Duration::from_secs(default_seconds))) };
    let expires = Timestamp::parse(value).ok_or_else(|| BadMessage::Expiry(value.to_string()))?;
    if expires > after(EXPIRES_WITHIN_MAX) {
        return Err(BadMessage::ExpiryTooLate);
    }
    Ok(expires)
}
