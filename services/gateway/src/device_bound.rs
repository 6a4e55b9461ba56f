//! Messages for devices, what is the same for every protocol head (messaging §4).

use std::{sync::Arc, time::Duration};

use model::{ConnectionId, Principal, Record, SystemProperty, Timestamp};
use shard_client::{Acknowledge, NewMessage, Received};

use crate::Front;

/// Body and properties of a message for a device (messaging §4.2).
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// A message expires no later than this (messaging §4.1).
const EXPIRES_WITHIN_MAX: Duration = Duration::from_secs(2 * 24 * 3600);

/// A little later than the lock, so that it is over on every clock.
const LOCK_MARGIN: Duration = Duration::from_millis(100);

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
    let Some(value) = record.system_property(SystemProperty::AbsoluteExpiryTime) else {
        return Ok(after(Duration::from_secs(default_seconds)));
    };
    let expires = Timestamp::parse(value).ok_or_else(|| BadMessage::Expiry(value.to_owned()))?;
    if expires > after(EXPIRES_WITHIN_MAX) {
        return Err(BadMessage::ExpiryTooLate);
    }
    Ok(expires)
}

/// How long a connection may have a message in hand.
pub(crate) fn lock(front: &Front) -> Duration {
    Duration::from_secs(front.config.cloud_to_device.lock_seconds)
}

/// When a message that somebody has in hand now can be had again, if nobody says so before; `None`: there is none.
pub(crate) fn look_again_in(front: &Front, received: &Received) -> Option<Duration> {
    let free_in = received.available.map(|time| {
        let microseconds = time.unix_microseconds() - front.now().unix_microseconds();
        Duration::from_micros(u64::try_from(microseconds).unwrap_or(0))
    });
    let own = (!received.messages.is_empty()).then(|| lock(front));
    free_in.into_iter().chain(own).min().map(|time| time + LOCK_MARGIN)
}

/// The connection takes no messages any more: what it had in hand waits for the next one.
pub(crate) async fn release(front: &Front, principal: &Principal, connection_id: ConnectionId) {
    if let Err(error) = front.shard_client.release_messages(principal, connection_id).await {
        tracing::debug!(%principal, %error, "messages in hand are held until their lock ends");
    }
}
