//! Who votes in a group and who listens: as this node knows it, and changes of it.

use std::collections::{BTreeMap, BTreeSet};

use openraft::{BasicNode, ChangeMembers};

use super::{Group, Leadership, handle::Inner};
use crate::raft::{LogId, NodeId, StoredMembership};

/// A change of a group's members. A node is named with its address, the URI of its services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberChange {
    AddLearners(BTreeMap<NodeId, String>),
    /// The voters from now on; those of before become learners.
    SetVoters(BTreeSet<NodeId>),
    RemoveLearners(BTreeSet<NodeId>),
    /// Of members that have moved. They have to be the same nodes.
    SetAddresses(BTreeMap<NodeId, String>),
}

/// Why the members were not changed, or only half: then two sets of voters are left, and the change can be finished.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    #[error("this node does not lead the group")]
    NotLeader,
    #[error("the members are not those that were to be changed")]
    OtherMembers,
    #[error("{0}")]
    Refused(String),
}

/// A group as this node has it.
#[derive(Clone, Debug)]
pub struct Description {
    /// The newest in the log.
    pub membership: StoredMembership,
    pub is_committed: bool,
    /// 0 without a log.
    pub last_log_index: u64,
    /// Whether there is a log or a state.
    pub has_data: bool,
    /// On the leader.
    pub leading: Option<Leading>,
}

/// What only the leader knows.
#[derive(Clone, Debug)]
pub struct Leading {
    pub term: u64,
    /// How far the logs of other members go, as far as it is known.
    pub matched_index: BTreeMap<NodeId, u64>,
}

impl Group {
    /// The group as this node has it now; one that has stopped here, as it was before.
    pub async fn describe(&self) -> Description {
        let inner = self.inner();
        let looked = inner.raft.with_raft_state(|state| {
            let (newest, committed) = (state.membership_state.effective(), state.membership_state.committed());
            let is_committed = newest.log_id() == committed.log_id();
            let membership = StoredMembership::new(*newest.log_id(), newest.membership().clone());
            (membership, is_committed, state.vote_ref().leader_id().term)
        });
        let Ok((membership, is_committed, term)) = looked.await else { return inner.as_it_was() };
        let is_leading = matches!(*inner.leadership.borrow(), Leadership::Leading { .. });
        let replication = inner.raft.data_metrics().borrow().replication.clone();
        let leading = replication.filter(|_| is_leading).map(|replication| Leading {
            term,
            matched_index: replication.iter().filter_map(|(node, matched)| Some((*node, (*matched)?.index))).collect(),
        });
        let last = inner.log.last_log_id();
        let last_log_index = last.map_or(0, |last| last.index);
        Description { membership, is_committed, last_log_index, has_data: last.is_some(), leading }
    }

    /// Changes the members if they are those of that log id, and waits until it is committed.
    pub async fn change_members(&self, expected: LogId, change: MemberChange) -> Result<(), ChangeError> {
        let _one = self.replica.changing.lock().await;
        let inner = self.inner();
        inner.require_leading().map_err(|_| ChangeError::NotLeader)?;
        let newest = inner.raft.with_raft_state(|state| *state.membership_state.effective().log_id()).await;
        if newest.map_err(|_| ChangeError::NotLeader)? != Some(expected) {
            return Err(ChangeError::OtherMembers);
        }
        tracing::info!(group = %inner.id, ?change, "the members change");
        let changed = inner.raft.change_membership(ChangeMembers::from(change), true).await;
        changed.map(drop).map_err(|error| ChangeError::Refused(error.to_string()))
    }
}

impl Inner {
    fn as_it_was(&self) -> Description {
        Description {
            membership: StoredMembership::clone(&self.clock.metrics.borrow().membership_config),
            is_committed: false,
            last_log_index: 0,
            has_data: true,
            leading: None,
        }
    }
}

impl From<MemberChange> for ChangeMembers<NodeId, BasicNode> {
    fn from(change: MemberChange) -> Self {
        let nodes = |addresses: BTreeMap<NodeId, String>| {
            addresses.into_iter().map(|(node_id, address)| (node_id, BasicNode::new(address))).collect()
        };
        match change {
            MemberChange::AddLearners(addresses) => Self::AddNodes(nodes(addresses)),
            MemberChange::SetVoters(voters) => Self::ReplaceAllVoters(voters),
            MemberChange::RemoveLearners(learners) => Self::RemoveNodes(learners),
            MemberChange::SetAddresses(addresses) => Self::SetNodes(nodes(addresses)),
        }
    }
}
