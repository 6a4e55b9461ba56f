//! Everything that is refused here, and how clients are told (amqp §7.2, §8, §9). What SDKs look at is the condition.

use amqp::{Error, condition};
use eventlog::ReadError;

use super::{
    address::redirect,
    start_position::{BeyondEnd, InvalidFilter},
};

/// Clients do not try again.
const ARGUMENT_ERROR: &str = "com.microsoft:argument-error";

/// Why a link cannot be attached, or has to be detached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("The messaging entity '{0}' could not be found.")]
    NotFound(String),
    #[error("Events cannot be sent to the built-in endpoint of an IoT hub.")]
    SendNotAllowed,
    /// Asked for on the hub's own host: `messages/events{rest}`.
    #[error("the events are read at {host}")]
    Redirect { host: String, event_hub: String, rest: String },
    #[error("{0}")]
    Filter(#[from] InvalidFilter),
    #[error("{0}")]
    BeyondEnd(#[from] BeyondEnd),
    #[error("the epoch {0} of the receiver is not valid: expected 0 or more")]
    Epoch(i64),
    #[error("{0}")]
    Read(#[from] ReadError),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let condition = match &refusal {
            Refusal::Redirect { host, event_hub, rest } => return redirect(host, event_hub, rest),
            Refusal::NotFound(_) => condition::NOT_FOUND,
            Refusal::SendNotAllowed => condition::UNAUTHORIZED_ACCESS,
            Refusal::Filter(_) | Refusal::BeyondEnd(_) | Refusal::Epoch(_) => ARGUMENT_ERROR,
            Refusal::Read(ReadError::UnknownPartition(..)) => condition::NOT_FOUND,
            Refusal::Read(ReadError::Trimmed { .. } | ReadError::Unavailable(_)) => condition::INTERNAL_ERROR,
        };
        Self::new(condition, refusal.to_string())
    }
}
