//! What there is, as all nodes that answer tell it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use futures::future::join_all;
use model::GroupId;
use proto::shard::v1::{self, ClusterNode, GroupDescriptions, NodeState};
use tokio::time::Instant;

use super::{
    MembershipService,
    plan::{Cluster, Group, Node, Wanted},
};
use crate::{
    raft::{NodeId, StoredMembership, convert},
    state,
};

/// A node that answered so lately can be reached; one answer that is lost is no reason to change plans.
const REACHABLE_WITHIN: Duration = Duration::from_secs(5);
/// A node that was removed is asked for so long after its last word.
const REMOVED_ASKED_FOR: Duration = Duration::from_secs(60);

/// Asks all nodes.
pub struct Observer {
    service: Arc<MembershipService>,
    began: Instant,
    heard: HashMap<NodeId, Instant>,
}

impl Observer {
    /// Nobody has answered yet.
    pub fn new(service: Arc<MembershipService>) -> Self {
        Self { service, began: Instant::now(), heard: HashMap::new() }
    }

    /// What there is now, beside what is wanted.
    pub async fn look(&mut self, wanted: &state::Cluster) -> Cluster {
        let asked = wanted.nodes.iter().filter(|node| self.is_asked(node));
        let answers = join_all(asked.map(|node| ask(&self.service, node))).await;
        let described: Vec<GroupDescriptions> = answers.into_iter().flatten().collect();
        let now = Instant::now();
        self.heard.extend(described.iter().map(|node| (node.node_id, now)));
        let nodes = wanted.nodes.iter().map(|node| (node.node_id, self.node(node)));
        Cluster { replication: wanted.replication as usize, nodes: nodes.collect(), groups: groups(&described) }
    }

    fn is_asked(&self, node: &ClusterNode) -> bool {
        let heard = self.heard.get(&node.node_id).unwrap_or(&self.began);
        node.state() != NodeState::Removed || heard.elapsed() < REMOVED_ASKED_FOR
    }

    fn node(&self, node: &ClusterNode) -> Node {
        Node {
            wanted: if node.state() == NodeState::Active { Wanted::Active } else { Wanted::Leaving },
            address: node.address.clone(),
            is_reachable: self.heard.get(&node.node_id).is_some_and(|heard| heard.elapsed() < REACHABLE_WITHIN),
        }
    }
}

async fn ask(service: &Arc<MembershipService>, node: &ClusterNode) -> Option<GroupDescriptions> {
    let answer = async { service.client(node.node_id, &node.address)?.describe_groups().await };
    match answer.await {
        Ok(described) if described.node_id == node.node_id => Some(described),
        Ok(described) => {
            tracing::debug!(node_id = node.node_id, found = described.node_id, "another node is at that address now");
            None
        }
        Err(status) => {
            tracing::debug!(node_id = node.node_id, %status, "a node does not tell what it has");
            None
        }
    }
}

/// One node's word about one group.
struct Told<'d> {
    node_id: NodeId,
    group: &'d v1::GroupDescription,
    membership: StoredMembership,
}

fn groups(described: &[GroupDescriptions]) -> BTreeMap<GroupId, Group> {
    let mut told: BTreeMap<GroupId, Vec<Told<'_>>> = BTreeMap::new();
    for node in described {
        for group in &node.groups {
            let Ok(membership) = convert::stored_membership(group.membership.clone()) else { continue };
            let told = told.entry(GroupId(group.group)).or_default();
            told.push(Told { node_id: node.node_id, group, membership });
        }
    }
    told.into_iter().filter_map(|(id, told)| Some((id, group(&told)?))).collect()
}

/// The word of the leader, or of whoever knows the newest membership; `None` when nobody knows one.
fn group(told: &[Told<'_>]) -> Option<Group> {
    let term = |told: &Told<'_>| told.group.leading.as_ref().map(|leading| leading.term);
    let best = told.iter().max_by_key(|told| (term(told), *told.membership.log_id()))?;
    let leading = best.group.leading.as_ref();
    let members: BTreeMap<_, _> = best.membership.nodes().map(|(id, node)| (*id, node.addr.clone())).collect();
    let behind = leading.iter().flat_map(|leading| &leading.matched_index);
    let behind = behind.map(|(id, matched)| (*id, best.group.last_log_index.saturating_sub(*matched)));
    let leftovers = told.iter().filter(|told| told.group.has_data && !members.contains_key(&told.node_id));
    Some(Group {
        leader: leading.map(|_| best.node_id),
        membership: (*best.membership.log_id())?,
        is_committed: best.group.is_committed,
        voters: best.membership.membership().get_joint_config().clone(),
        behind: behind.collect(),
        leftovers: leftovers.map(|told| told.node_id).collect(),
        members,
    })
}
