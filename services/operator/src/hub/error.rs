//! The errors of [`super::HubClient`].

/// Why the hub could not be asked, or did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HubError {
    /// A file that is missing or holds something else.
    #[error("{0}")]
    Files(String),
    #[error("the hub does not answer at {address}: {cause}")]
    Unreachable { address: String, cause: String },
    /// None of the keys opens the hub.
    #[error(
        "the hub refuses the keys of the policy {policy}: {text}; `ironhub policy show {policy}` prints those that it has"
    )]
    Unauthorized { policy: String, text: String },
    /// Somebody else changed it meanwhile.
    #[error("{what} was changed by others meanwhile")]
    Changed { what: String },
    /// In the words of the hub.
    #[error("{what}: {text}")]
    Refused { what: String, status: u16, text: String },
    #[error("the hub's answer to {what} is not understood: {cause}")]
    Answer { what: String, cause: String },
}

impl HubError {
    /// Whether the hub is not there, or says that it cannot answer now: gateways or shards are away.
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Refused { status: 500.., .. })
    }
}
