//! The first members of a hub's groups.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use openraft::{
    BasicNode,
    error::{InitializeError, RaftError},
};

use super::{Config, Group, Member};
use crate::{raft::NodeId, store::OpenError};

/// Begins a hub on a node that [`Config::joins`].
pub struct Founder {
    pub(super) groups: Vec<Group>,
}

impl Founder {
    /// Makes these the voters of every group of a new hub, this node among them; a group that has members keeps them. It
    /// must be certain that none of these nodes belongs to a hub, and only one of them may be told.
    pub async fn found(&self, members: &[Member]) -> Result<(), OpenError> {
        initialize(&self.groups, &nodes(members)).await
    }
}

pub(super) type Nodes = BTreeMap<NodeId, BasicNode>;

fn nodes(members: &[Member]) -> Nodes {
    members.iter().map(|member| (member.node_id, BasicNode::new(&member.address))).collect()
}

/// The configured ones, or this node alone.
pub(super) fn first_members(config: &Config) -> Nodes {
    match config.initial_members.as_slice() {
        [] => BTreeMap::from([(config.node_id, BasicNode::default())]),
        members => nodes(members),
    }
}

pub(super) async fn initialize(groups: &[Group], members: &Nodes) -> Result<(), OpenError> {
    let one = async |group: &Group| match group.inner().raft.initialize(members.clone()).await {
        // It was, before a crash kept it from being noted.
        Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
        Err(error) => Err(OpenError::Raft { group: group.id(), cause: error.to_string() }),
    };
    try_join_all(groups.iter().map(one)).await.map(drop)
}
