//! The one place that knows how errors look over AMQP (amqp §7).

use amqp::{Error, Fields, Value, condition};
use auth::Refusal;
use eventlog::AppendError;
use serde_json::json;
use shard_client::{MessageError, Unavailable};

use super::authority::Refused;
use crate::{device_bound::BadMessage, tracking::tracking_id, twin_requests::SessionEnd};

/// An argument of a request makes no sense.
pub(super) const ARGUMENT_ERROR: &str = "com.microsoft:argument-error";

/// Condition, number and words, in the service's shape: the description is JSON, and programs read the condition only.
pub(super) fn error(condition: &'static str, code: u32, message: impl AsRef<str>) -> Error {
    let description = json!({
        "errorCode": code,
        "trackingId": tracking_id(),
        "message": message.as_ref(),
        "timestampUtc": crate::front::now().to_string(),
    });
    let info = Fields::new(|info| info.symbol("com.microsoft:is-filtered", &Value::Boolean(true)));
    Error { info: Some(info), ..Error::new(condition, description.to_string()) }
}

pub(super) fn unknown_address(address: &str) -> Error {
    let message = format!("The link address '{address}' did not match any of the expected formats.");
    error(condition::NOT_FOUND, 404_006, message)
}

pub(super) fn not_allowed(message: impl AsRef<str>) -> Error {
    error(condition::NOT_ALLOWED, 400_004, message)
}

pub(super) fn undecodable(malformed: &amqp::Malformed) -> Error {
    error(condition::DECODE_ERROR, 400_006, format!("The message cannot be read: {malformed}"))
}

pub(super) fn too_large(bytes_max: usize) -> Error {
    let message = format!("The message is larger than {bytes_max} bytes");
    error(condition::MESSAGE_SIZE_EXCEEDED, 413_001, message)
}

pub(super) fn too_much(message: impl AsRef<str>) -> Error {
    error(condition::RESOURCE_LIMIT_EXCEEDED, 403_002, message)
}

/// Another link or connection took the place of this one.
pub(super) fn stolen(message: impl AsRef<str>) -> Error {
    error(condition::LINK_STOLEN, 400_027, message)
}

pub(super) fn token_expired() -> Error {
    error(condition::UNAUTHORIZED_ACCESS, 401_003, "Token Invalid. The token expired and was not renewed.")
}

/// A link that the hub gives up; the client comes again.
pub(super) fn detach_forced(message: impl AsRef<str>) -> Error {
    error(condition::DETACH_FORCED, 503_001, message)
}

pub(super) fn shutting_down() -> Error {
    error(condition::CONNECTION_FORCED, 503_001, "The gateway shuts down.")
}

pub(super) fn lock_lost() -> Error {
    error(condition::NOT_FOUND, 412_002, MessageError::LockLost.to_string())
}

pub(super) fn refusal(refusal: &Refusal) -> Error {
    let code = match refusal {
        Refusal::MissingRight { .. } | Refusal::NotAPolicyToken | Refusal::NoCredential => 401_002,
        _ => 401_003,
    };
    error(condition::UNAUTHORIZED_ACCESS, code, format!("Unauthorized: {refusal}"))
}

pub(super) fn unavailable(unavailable: &Unavailable) -> Error {
    error(condition::INTERNAL_ERROR, 503_005, format!("The registry cannot answer now: {unavailable}"))
}

pub(super) fn refused(refused: &Refused) -> Error {
    match refused {
        Refused::Credential(credential) => refusal(credential),
        Refused::NotRegistered { .. } => error(condition::NOT_FOUND, 404_001, refused.to_string()),
        Refused::Unavailable(error) => unavailable(error),
        Refused::NotReady | Refused::Unstable => error(condition::INTERNAL_ERROR, 503_001, refused.to_string()),
        Refused::TooManyTokens => too_much(refused.to_string()),
    }
}

pub(super) fn session_end(end: SessionEnd) -> Error {
    match end {
        SessionEnd::Replaced => stolen("A newer connection of the same identity is there."),
        SessionEnd::Deleted => error(condition::NOT_FOUND, 404_001, "The identity was deleted."),
    }
}

pub(super) fn not_stored(append: &AppendError) -> Error {
    error(condition::INTERNAL_ERROR, 503_001, format!("The message was not stored: {append}"))
}

pub(super) fn bad_message(bad: &BadMessage) -> Error {
    match bad {
        BadMessage::TooLarge => error(condition::MESSAGE_SIZE_EXCEEDED, 413_001, bad.to_string()),
        BadMessage::Expiry(_) | BadMessage::ExpiryTooLate => error(ARGUMENT_ERROR, 403_009, bad.to_string()),
    }
}

/// Of messages for devices and of feedback.
pub(super) fn message(message: &MessageError) -> Error {
    match message {
        MessageError::NotFound => error(condition::NOT_FOUND, 404_001, message.to_string()),
        MessageError::QueueFull => error(condition::RESOURCE_LIMIT_EXCEEDED, 403_004, message.to_string()),
        MessageError::LockLost => lock_lost(),
        MessageError::ConnectionReplaced => session_end(SessionEnd::Replaced),
        MessageError::Unavailable(error) => unavailable(error),
    }
}
