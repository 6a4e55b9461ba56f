use bytes::Bytes;
use openraft::BasicNode;
use proto::shard::v1::CommandResult;

use super::rhythm::InRhythm;
use crate::store::SnapshotData;

/// Names the disk of a replica; never used again for another disk.
pub type NodeId = u64;

openraft::declare_raft_types!(
    /// What openraft works with: an entry carries an encoded `Proposal` and gives one result for each of its commands.
    pub TypeConfig:
        D = Bytes,
        R = Vec<CommandResult>,
        NodeId = u64,
        Node = BasicNode,
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = SnapshotData,
        AsyncRuntime = InRhythm,
);

pub type Raft = openraft::Raft<TypeConfig>;
pub type Entry = openraft::Entry<TypeConfig>;
pub type LogId = openraft::LogId<NodeId>;
pub type Vote = openraft::Vote<NodeId>;
pub type Membership = openraft::Membership<NodeId, BasicNode>;
pub type StoredMembership = openraft::StoredMembership<NodeId, BasicNode>;
pub type SnapshotMeta = openraft::SnapshotMeta<NodeId, BasicNode>;
