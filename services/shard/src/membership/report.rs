//! What is wanted and what there is, for people.

use std::collections::BTreeMap;

use model::GroupId;
use proto::shard::v1::{ClusterDescription, ClusterNode, GroupStatus, NodeState, NodeStatus, ReplicaStatus};

use super::plan::{Cluster, Group, Next};
use crate::{raft::NodeId, state};

/// Nodes that were removed show for as long as something of them is left; members that have not registered show, too. So do
/// groups that nobody who answers is a member of: who looks for a leader in each must not overlook them.
pub fn report(
    wanted: &state::Cluster,
    cluster: &Cluster,
    groups: &[GroupId],
    next: &BTreeMap<GroupId, Next>,
) -> ClusterDescription {
    let registered: Vec<NodeId> = wanted.nodes.iter().map(|node| node.node_id).collect();
    let members = cluster.groups.values().flat_map(|group| &group.members);
    let others: BTreeMap<_, _> = members.filter(|(node_id, _)| !registered.contains(node_id)).collect();
    let others = others.into_iter().map(|(node_id, address)| ClusterNode {
        node_id: *node_id,
        address: address.clone(),
        name: node_id.to_string(),
        state: NodeState::Active as i32,
        registered: 0,
    });
    let nodes = wanted.nodes.iter().cloned().chain(others).map(|node| {
        let is_reachable = cluster.nodes.get(&node.node_id).is_some_and(|node| node.is_reachable);
        let counts = counts(cluster, node.node_id);
        NodeStatus { node: Some(node), is_reachable, ..counts }
    });
    let is_gone = |node: &NodeStatus| {
        let is_removed = node.node.as_ref().is_some_and(|node| node.state() == NodeState::Removed);
        is_removed && node.leaders + node.replicas + node.learners == 0
    };
    ClusterDescription {
        replication: wanted.replication,
        nodes: nodes.filter(|node| !is_gone(node)).collect(),
        is_settled: groups.iter().all(|id| next.get(id) == Some(&Next::Nothing)),
        groups: groups.iter().map(|id| status(*id, cluster.groups.get(id), next.get(id))).collect(),
    }
}

fn counts(cluster: &Cluster, node: NodeId) -> NodeStatus {
    let count = |is: &dyn Fn(&Group) -> bool| cluster.groups.values().filter(|group| is(group)).count() as u32;
    let votes = |group: &Group| group.current_voters().contains(&node);
    NodeStatus {
        leaders: count(&|group| group.leader == Some(node)),
        replicas: count(&votes),
        learners: count(&|group| group.members.contains_key(&node) && !votes(group)),
        ..NodeStatus::default()
    }
}

fn status(id: GroupId, group: Option<&Group>, next: Option<&Next>) -> GroupStatus {
    let Some(group) = group else {
        let doing = "waits for its shards, none of which answers".to_owned();
        return GroupStatus { group: id.0, doing, ..GroupStatus::default() };
    };
    let replica = |node_id: &NodeId| ReplicaStatus {
        node_id: *node_id,
        is_voter: group.current_voters().contains(node_id),
        entries_behind: group.behind.get(node_id).copied().unwrap_or(0),
    };
    GroupStatus {
        group: id.0,
        leader_node_id: group.leader,
        replicas: group.members.keys().map(replica).collect(),
        doing: next.map(ToString::to_string).unwrap_or_default(),
    }
}
