//! Why a connection ends, and what is said about it (mqtt §3, §10).

use std::io;

use auth::Refusal;
use eventlog::AppendError;
use mqtt::{Malformed, Violation};

use crate::twin_requests::SessionEnd;

/// The end of a connection. MQTT 3.1.1 has no packet for it: the log has the reason.
#[derive(Debug, thiserror::Error)]
pub(super) enum Close {
    #[error("DISCONNECT")]
    Disconnect,
    #[error("the peer closed the connection")]
    PeerClosed,
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    #[error("{0}")]
    Violation(#[from] Violation),
    #[error("a PUBLISH to a topic that is not one of the device's")]
    Topic,
    #[error("a twin was asked for without a request id")]
    NoRequestId,
    #[error("a topic filter that MQTT does not allow")]
    Filter,
    #[error("a message of {0} bytes, more than the limit")]
    MessageTooLarge(usize),
    #[error("the token expired")]
    TokenExpired,
    #[error("{0}")]
    Refused(Refusal),
    #[error("a newer connection of the same identity")]
    Replaced,
    #[error("the identity was deleted")]
    Deleted,
    #[error("desired updates were missed: the device has to read its twin again")]
    MissedUpdates,
    #[error("the event log did not take the message: {0}")]
    NotDurable(#[from] AppendError),
    #[error("the event log did not acknowledge in time")]
    AcknowledgeTimeout,
    #[error("the session could not be stored: {0}")]
    Shard(shard_client::Unavailable),
    #[error("the gateway shuts down")]
    Draining,
}

impl From<SessionEnd> for Close {
    fn from(end: SessionEnd) -> Self {
        match end {
            SessionEnd::Deleted => Self::Deleted,
            SessionEnd::Replaced => Self::Replaced,
        }
    }
}

impl Close {
    /// A stable name for metrics, and the number that the hub's documentation gives such an end.
    pub fn name_and_code(&self) -> (&'static str, u32) {
        match self {
            Self::Disconnect => ("disconnect", 0),
            Self::PeerClosed | Self::Broken(_) => ("peer_closed", 404_104),
            Self::Violation(Violation::KeepAlive) => ("keep_alive", 404_104),
            Self::Violation(Violation::Malformed(Malformed::TooLarge(_))) | Self::MessageTooLarge(_) => {
                ("too_large", 413_001)
            }
            Self::Violation(_) => ("violation", 400_004),
            Self::Topic | Self::NoRequestId => ("topic", 400_004),
            Self::Filter => ("filter", 400_004),
            Self::TokenExpired => ("token_expired", 401_003),
            Self::Refused(Refusal::Disabled) => ("disabled", 403_012),
            Self::Refused(Refusal::UnknownIdentity) | Self::Deleted => ("deleted", 404_001),
            Self::Refused(_) => ("credential_removed", 401_003),
            Self::Replaced => ("replaced", 400_027),
            Self::MissedUpdates => ("missed_updates", 503_001),
            Self::NotDurable(_) => ("not_durable", 503_001),
            Self::AcknowledgeTimeout => ("acknowledge_timeout", 504_101),
            Self::Shard(_) => ("shard", 503_005),
            Self::Draining => ("draining", 503_001),
        }
    }

    /// The will is published unless the client said goodbye (mqtt §2.7).
    pub fn fires_will(&self) -> bool {
        !matches!(self, Self::Disconnect)
    }
}
