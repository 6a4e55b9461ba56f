//! Which shards take part, and how many pods run.
//!
//! More: the StatefulSet grows, the new nodes register by themselves and get their share. Fewer: the nodes of the highest
//! numbers are drained; one that carries nothing any more is removed and its pod ends in the same step. A pod with a new
//! disk is a new node: the one before it is removed, and the groups move to the new one.

use std::collections::BTreeSet;

use super::{Action, Plan, Removal};
use crate::{
    hub::{Cluster, Node, NodeState},
    observe::{Observed, StatefulSetState},
    resource::NodeStatus,
    validate::Wanted,
};

/// Adds what is done about the shards. Without an answer of the hub no shard ends.
pub fn plan(plan: &mut Plan, wanted: &Wanted, observed: &Observed) {
    let Some(set) = &observed.stateful_set else { return };
    let cluster = observed.hub.as_ref().ok().map(|hub| &hub.cluster);
    if let (Some(cluster), Some(replication)) = (cluster, wanted.replication)
        && cluster.replication != replication
    {
        plan.actions.push(Action::SetReplication { replication });
    }
    let nodes = cluster.map(|cluster| Nodes::of(cluster, set));
    if let Some(nodes) = &nodes {
        plan.actions.extend(nodes.replaced.iter().map(|node| remove(node, Removal::Replaced)));
    }
    let is_removed = |number: &u32| {
        let has_no_node = |nodes: &Nodes<'_>| nodes.of_numbers(*number..=*number).next().is_none();
        *number < set.size && nodes.as_ref().is_none_or(has_no_node)
    };
    plan.removing = observed.status.shards.removing.iter().copied().filter(is_removed).collect();
    let Some(wanted_count) = wanted.shards else { return };
    // What was begun is finished before another mind counts.
    let count = plan.removing.iter().copied().fold(wanted_count, u32::min);
    if count > set.size {
        grow(plan, set, count, nodes.as_ref(), &observed.status.shards.nodes);
    }
    if let Some(nodes) = &nodes {
        stay(plan, nodes, count, &wanted.drained_shards);
        let replication = wanted.replication.unwrap_or(nodes.cluster.replication);
        leave(plan, set, nodes, count, replication);
    }
}

/// Shards that still run and were on their way out because fewer are wanted stay.
pub fn release(observed: &Observed, shards: Option<u32>) -> Vec<Action> {
    let (Some(set), Ok(hub), Some(shards)) = (&observed.stateful_set, &observed.hub, shards) else { return Vec::new() };
    let nodes = Nodes::of(&hub.cluster, set);
    let leaving = nodes.of_numbers(shards..set.size).filter(|(_, node)| node.state == NodeState::Draining);
    leaving.map(|(_, node)| activate(node)).collect()
}

/// The nodes of the StatefulSet's pods by their numbers, removed ones left out.
struct Nodes<'h> {
    cluster: &'h Cluster,
    nodes: Vec<(u32, &'h Node)>,
    /// Of disks that their pods do not have any more.
    replaced: Vec<&'h Node>,
}

impl<'h> Nodes<'h> {
    fn of(cluster: &'h Cluster, set: &StatefulSetState) -> Self {
        let present = cluster.nodes.iter().filter(|node| node.state != NodeState::Removed);
        let all: Vec<_> = present.filter_map(|node| Some((set.number_of(&node.name)?, node))).collect();
        // The one that comes after must be there.
        let is_replaced = |node: &Node| {
            let is_after = |it: &Node| it.name == node.name && it.registered > node.registered && it.is_reachable;
            !node.is_reachable && all.iter().any(|(_, it)| is_after(it))
        };
        let (replaced, nodes): (Vec<_>, Vec<_>) = all.iter().copied().partition(|(_, node)| is_replaced(node));
        Self { cluster, nodes, replaced: replaced.into_iter().map(|(_, node)| node).collect() }
    }

    /// Those of the numbers.
    fn of_numbers(&self, numbers: impl std::ops::RangeBounds<u32>) -> impl Iterator<Item = (u32, &'h Node)> {
        self.nodes.iter().copied().filter(move |(number, _)| numbers.contains(number))
    }

    /// Whether what is said about replicas is what their leaders say, and about known nodes.
    fn is_certain(&self) -> bool {
        let is_led = !self.cluster.groups.is_empty() && self.cluster.groups.iter().all(|group| group.leader.is_some());
        // A member that has not registered may be the node of any pod.
        let is_registered = self.cluster.nodes.iter().all(|node| node.name != node.node_id || node.is_empty());
        is_led && is_registered
    }
}

/// More pods. A disk that no node has any more would keep its pod out of the hub, so it goes first. While the hub is silent
/// only those come whose disks are new, or have what the hub may be waiting for.
fn grow(plan: &mut Plan, set: &StatefulSetState, count: u32, nodes: Option<&Nodes<'_>>, known: &[NodeStatus]) {
    let is_stale = |number: &u32| {
        let is_needed = |node: &NodeStatus| set.number_of(&node.name) == Some(*number) && node.replicas > 0;
        let is_unknown = match nodes {
            Some(nodes) => nodes.of_numbers(*number..=*number).next().is_none(),
            None => !known.is_empty() && !known.iter().any(is_needed),
        };
        set.claims.contains(number) && is_unknown
    };
    let stale: Vec<u32> = (set.size..count).filter(is_stale).collect();
    if nodes.is_some_and(Nodes::is_certain) {
        let claims = stale.iter().map(|number| Action::DeleteClaim { name: set.claim_name(*number) });
        plan.actions.extend(claims);
    }
    let to = stale.first().copied().unwrap_or(count);
    if to > set.size {
        plan.actions.push(Action::Resize { from: set.size, to });
    }
}

/// Who is wanted carries its share, unless it is to be drained.
fn stay(plan: &mut Plan, nodes: &Nodes<'_>, count: u32, drained: &BTreeSet<u32>) {
    for (number, node) in nodes.of_numbers(..count) {
        match (node.state, drained.contains(&number)) {
            (NodeState::Active, true) => plan.actions.push(drain(node)),
            (NodeState::Draining, false) => plan.actions.push(activate(node)),
            _ => {}
        }
    }
}

/// Who is not wanted hands over what it has, and ends.
fn leave(plan: &mut Plan, set: &StatefulSetState, nodes: &Nodes<'_>, count: u32, replication: u32) {
    let leaving: Vec<_> = nodes.of_numbers(count..).collect();
    plan.is_shrinking = set.size > count || !leaving.is_empty();
    if !leaving.is_empty() && count < replication {
        plan.problems.push(format!(
            "shards: {count} are too few for the {replication} copies of each group; lower `replication` first"
        ));
        return;
    }
    plan.actions
        .extend(leaving.iter().filter(|(_, node)| node.state == NodeState::Active).map(|(_, node)| drain(node)));
    let hands_over = |number: u32, node: &Node| number >= set.size && !node.is_empty() && set.claims.contains(&number);
    if let Some((number, _)) = leaving.iter().filter(|(number, node)| hands_over(*number, node)).max_by_key(|it| it.0) {
        // Its pod ended too early; it comes back to hand over what it has.
        plan.actions.push(Action::Resize { from: set.size, to: number + 1 });
        return;
    }
    if !nodes.is_certain() {
        return;
    }
    let has_left = |number: u32| {
        let mut of_pod = leaving.iter().filter(|(it, _)| *it == number);
        of_pod.all(|(_, node)| node.state == NodeState::Draining && node.is_empty())
    };
    let removed = |number: u32| {
        leaving.iter().filter(move |(it, _)| *it == number).map(|(_, node)| remove(node, Removal::Drained))
    };
    // Those whose pods are gone already.
    let beyond: BTreeSet<u32> = leaving.iter().map(|(number, _)| *number).filter(|it| *it >= set.size).collect();
    plan.actions.extend(beyond.into_iter().filter(|number| has_left(*number)).flat_map(removed));
    // A StatefulSet ends the highest numbers.
    let ending: Vec<u32> = (count..set.size).rev().take_while(|number| has_left(*number)).collect();
    plan.actions.extend(ending.iter().flat_map(|number| removed(*number)));
    plan.removing.extend(ending.iter().copied().filter(|number| removed(*number).next().is_some()));
    if let Some(to) = ending.last() {
        plan.actions.push(Action::Resize { from: set.size, to: *to });
    }
}

fn activate(node: &Node) -> Action {
    Action::ActivateNode { node_id: node.node_id.clone(), name: node.name.clone() }
}

fn drain(node: &Node) -> Action {
    Action::DrainNode { node_id: node.node_id.clone(), name: node.name.clone() }
}

fn remove(node: &Node, why: Removal) -> Action {
    Action::RemoveNode { node_id: node.node_id.clone(), name: node.name.clone(), why }
}

#[cfg(test)]
#[path = "shards_tests.rs"]
mod tests;
