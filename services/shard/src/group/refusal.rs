use crate::{raft::NodeId, store::StoreError};

/// Why a group did not do what it was asked for. Nothing happened, unless it is [`Refusal::OutcomeUnknown`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("this node does not lead the group; the leader is {leader:?}")]
    NotLeader { leader: Option<NodeId> },
    #[error("too many commands wait for the group")]
    Busy,
    #[error("the clock of the leader is too far from those of its peers")]
    ClockSkew,
    #[error("the disk of the leader is full")]
    DiskFull,
    /// The node is going down, or the disk of the group has failed.
    #[error("the group has stopped on this node")]
    ShuttingDown,
    /// The command may have been applied, or may be later. Ask again with the same command id.
    #[error("it is not known whether the command was or will be applied")]
    OutcomeUnknown,
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the state of a group cannot be read");
        Self::ShuttingDown
    }
}
