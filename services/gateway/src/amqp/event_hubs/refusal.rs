//! Everything that is refused here, and how clients are told (amqp §7.2, §8, §9). What SDKs look at is the condition.

use amqp::{Error, condition};
use eventlog::ReadError;
use shard_client::{ClaimError, Displacer};

use super::{
    address::redirect,
    start_position::{BeyondEnd, InvalidFilter},
};

/// Clients do not try again.
const ARGUMENT_ERROR: &str = "com.microsoft:argument-error";

/// Clients try again after a pause.
const SERVER_BUSY: &str = "com.microsoft:server-busy";

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
    #[error("A connection reads with {0} receivers at most.")]
    TooManyReaders(usize),
    /// The wording is the real service's where clients have been seen to read it.
    #[error("{}", describe(.0))]
    Claim(#[from] ClaimError),
    #[error("{}", describe_loss(name, *epoch, by.as_ref()))]
    Displaced { name: String, epoch: Option<i64>, by: Option<Displacer> },
}

fn describe(error: &ClaimError) -> String {
    match error {
        ClaimError::EpochReceiver(epoch) => format!(
            "At least one receiver for the endpoint is created with epoch of '{epoch}', and so non-epoch receiver is not \
             allowed. Either reconnect with a higher epoch, or make sure all epoch receivers are closed or disconnected."
        ),
        ClaimError::HigherEpoch(epoch) => format!(
            "A receiver with the higher epoch '{epoch}' already exists. A new receiver needs this epoch or a higher one."
        ),
        ClaimError::TooMany { names } if names.is_empty() => "The hub has as many receivers as it may have.".to_owned(),
        ClaimError::TooMany { names } => format!(
            "Exceeded the maximum number of allowed receivers per partition in a consumer group which is {}. List of \
             connected receivers - {}.",
            names.len(),
            names.join(", ")
        ),
        ClaimError::Unavailable(unavailable) => format!("Receivers cannot be admitted now: {unavailable}."),
    }
}

fn describe_loss(name: &str, epoch: Option<i64>, by: Option<&Displacer>) -> String {
    let with = |epoch: Option<i64>| epoch.map_or("no epoch".to_owned(), |epoch| format!("epoch '{epoch}'"));
    let (other, its) = match by {
        Some(by) => (format!("Receiver '{}'", by.name), with(Some(by.epoch))),
        None => ("Another receiver".to_owned(), "this or a higher epoch".to_owned()),
    };
    format!("{other} with {its} is created, hence current receiver '{name}' with {} is disconnected.", with(epoch))
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let condition = match &refusal {
            Refusal::Redirect { host, event_hub, rest } => return redirect(host, event_hub, rest),
            Refusal::NotFound(_) => condition::NOT_FOUND,
            Refusal::SendNotAllowed => condition::UNAUTHORIZED_ACCESS,
            Refusal::Filter(_) | Refusal::BeyondEnd(_) | Refusal::Epoch(_) => ARGUMENT_ERROR,
            Refusal::Read(ReadError::UnknownPartition(..)) => condition::NOT_FOUND,
            Refusal::Displaced { .. } | Refusal::Claim(ClaimError::EpochReceiver(_) | ClaimError::HigherEpoch(_)) => {
                condition::LINK_STOLEN
            }
            Refusal::TooManyReaders(_) | Refusal::Claim(ClaimError::TooMany { .. }) => {
                condition::RESOURCE_LIMIT_EXCEEDED
            }
            Refusal::Claim(ClaimError::Unavailable(_)) => SERVER_BUSY,
            Refusal::Read(ReadError::Trimmed { .. } | ReadError::Unavailable(_)) => condition::INTERNAL_ERROR,
        };
        Self::new(condition, refusal.to_string())
    }
}
