//! Why a connection ends, and what is said about it.

use std::io;

use amqp::Violation;

/// The end of a connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Close {
    #[error("the peer closed the connection")]
    PeerClosed,
    #[error("the peer said goodbye")]
    Said,
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    #[error("{0}")]
    Violation(#[from] Violation),
    #[error("the credentials given to SASL were refused")]
    Sasl,
    #[error("the peer did not say who it is in time")]
    Unproved,
    #[error("another connection needed the place")]
    Evicted,
    #[error("every token expired")]
    TokenExpired,
    #[error("the gateway shuts down")]
    Draining,
}

impl Close {
    /// A stable name for metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Said => "closed",
            Self::PeerClosed | Self::Broken(_) => "peer_closed",
            Self::Violation(Violation::Silence) => "silence",
            Self::Violation(_) => "violation",
            Self::Sasl => "sasl",
            Self::Unproved => "unproved",
            Self::Evicted => "evicted",
            Self::TokenExpired => "token_expired",
            Self::Draining => "draining",
        }
    }
}
