//! Which shards take part, and how many pods run.
//!
//! More: the StatefulSet grows, the new nodes register by themselves and get their share. Fewer: the nodes of the highest
//! numbers are drained; one that carries nothing any more is removed, and once nothing of it is left its pod ends. A pod with a new
//! disk is a new node: the one before it is removed, and the groups move to the new one. Pods that ended behind the
//! operator's back, such as those of a release that was installed again with fewer, come back to hand over what they have.

use std::collections::BTreeSet;

use super::{Action, Plan, Removal};
use crate::{
    hub::{Cluster, Node, NodeState},
    observe::{Observed, StatefulSetState},
    validate::Wanted,
};

/// A hub that starts is silent for a while. One that is for longer may be waiting for shards that do not run.
const SILENCE_SECONDS: i64 = 60;

/// Adds what is done about the shards. Without an answer of the hub no shard ends.
pub fn plan(plan: &mut Plan, wanted: &Wanted, observed: &Observed) {
    let Some(set) = &observed.stateful_set else { return };
    let nodes = observed.hub.as_ref().ok().map(|hub| Nodes::of(&hub.cluster, set));
    let seen = Seen { set, nodes: nodes.as_ref(), observed };
    if let Some(nodes) = &nodes {
        let replication = wanted.replication.filter(|replication| *replication != nodes.cluster.replication);
        plan.actions.extend(replication.map(|replication| Action::SetReplication { replication }));
        plan.actions.extend(nodes.replaced.iter().map(|node| remove(node, Removal::Replaced)));
    }
    plan.removing = seen.removing();
    plan.left_behind = seen.left_behind();
    let Some(wanted_count) = wanted.shards else { return };
    plan.removing.extend(seen.strangers());
    // What was begun is finished before another mind counts.
    let count = plan.removing.iter().copied().fold(wanted_count, u32::min);
    grow(plan, &seen, count);
    if let Some(nodes) = &nodes {
        stay(plan, nodes, count, &wanted.drained_shards);
        let replication = wanted.replication.unwrap_or(nodes.cluster.replication);
        leave(plan, set, nodes, count, replication);
    }
}

/// Shards that still run and were on their way out because fewer are wanted stay. The pods of those that were removed end.
pub fn release(observed: &Observed, shards: Option<u32>) -> Vec<Action> {
    let (Some(set), Ok(hub), Some(shards)) = (&observed.stateful_set, &observed.hub, shards) else { return Vec::new() };
    let nodes = Nodes::of(&hub.cluster, set);
    let leaving = nodes.of_numbers(shards..set.size).filter(|(_, node)| node.state == NodeState::Draining);
    let removing = &observed.status.shards.removing;
    leaving.map(|(_, node)| activate(node)).chain(end_pods(set, &nodes, |number| removing.contains(&number))).collect()
}

/// What there is of the shards.
struct Seen<'o> {
    set: &'o StatefulSetState,
    /// As the hub says; unset when it does not answer.
    nodes: Option<&'o Nodes<'o>>,
    observed: &'o Observed,
}

impl Seen<'_> {
    /// Those that were on their way out and whose pods still run.
    fn removing(&self) -> Vec<u32> {
        let is_removed = |number: &u32| *number < self.set.size && self.nodes.is_none_or(|nodes| !nodes.has(*number));
        self.observed.status.shards.removing.iter().copied().filter(is_removed).collect()
    }

    /// The highest numbers, as far as their pods have run for long on disks that no node has: they came while the hub was silent,
    /// or with a release that was installed again. They end, so that they can come again with new disks.
    fn strangers(&self) -> Vec<u32> {
        let Some(nodes) = self.nodes.filter(|nodes| nodes.is_certain()) else { return Vec::new() };
        let is_stranger = |number: &u32| self.set.has_run_long(*number) && nodes.is_gone(*number);
        let strangers: Vec<u32> = (0..self.set.size).rev().take_while(is_stranger).collect();
        // Where not even the others are known by their names, nothing is known.
        let are_known =
            strangers.last().is_some_and(|lowest| *lowest > 0 && (0..*lowest).all(|number| nodes.has(number)));
        let is_new = |number: &u32| are_known && !self.observed.status.shards.removing.contains(number);
        strangers.into_iter().filter(is_new).collect()
    }

    /// Those without a pod that have their disks and carry something, or may.
    fn left_behind(&self) -> Vec<u32> {
        let is_missed = |number: &u32| match (self.nodes, &self.observed.hub) {
            (None, Err(error)) => error.is_silence() && self.may_be_missed(*number),
            (None, Ok(_)) => false,
            (Some(nodes), _) => nodes.may_carry(*number),
        };
        self.set.claims.range(self.set.size..).map(|(number, _)| *number).filter(is_missed).collect()
    }

    /// Whether a hub that is silent may be waiting for that shard: it was seen to carry something, or nothing was ever seen.
    fn may_be_missed(&self, number: u32) -> bool {
        let known = &self.observed.status.shards.nodes;
        let mut of_pod = known.iter().filter(|node| self.set.number_of(&node.name) == Some(number));
        known.is_empty() || of_pod.any(|node| node.replicas > 0)
    }

    /// Whether there is a disk that would keep its pod out of the hub, as far as is known.
    fn is_stale(&self, number: u32) -> bool {
        let is_needed = self.nodes.map_or_else(|| self.may_be_missed(number), |nodes| nodes.has(number));
        self.set.claims.contains_key(&number) && !is_needed
    }
}

/// The nodes of the StatefulSet's pods by their numbers, removed ones left out.
struct Nodes<'h> {
    cluster: &'h Cluster,
    nodes: Vec<(u32, &'h Node)>,
    /// Of disks that their pods do not have any more.
    replaced: Vec<&'h Node>,
    /// Numbers of removed ones that are still in some group.
    left_over: BTreeSet<u32>,
}

impl<'h> Nodes<'h> {
    fn of(cluster: &'h Cluster, set: &StatefulSetState) -> Self {
        let numbered = cluster.nodes.iter().filter_map(|node| Some((set.number_of(&node.name)?, node)));
        let (removed, all): (Vec<_>, Vec<_>) = numbered.partition(|(_, node)| node.state == NodeState::Removed);
        // The one that comes after must be there.
        let is_replaced = |node: &Node| {
            let is_after = |it: &Node| it.name == node.name && it.registered > node.registered && it.is_reachable;
            !node.is_reachable && all.iter().any(|(_, it)| is_after(it))
        };
        let (replaced, nodes): (Vec<_>, Vec<_>) = all.iter().copied().partition(|(_, node)| is_replaced(node));
        let left_over = removed.into_iter().filter(|(_, node)| !node.is_empty()).map(|(number, _)| number).collect();
        Self { cluster, nodes, replaced: replaced.into_iter().map(|(_, node)| node).collect(), left_over }
    }

    /// Those of the numbers.
    fn of_numbers(&self, numbers: impl std::ops::RangeBounds<u32>) -> impl Iterator<Item = (u32, &'h Node)> {
        self.nodes.iter().copied().filter(move |(number, _)| numbers.contains(number))
    }

    /// Whether there is one of that number.
    fn has(&self, number: u32) -> bool {
        self.of_numbers(number..=number).next().is_some()
    }

    /// Whether one of that number was removed and is still in some group.
    fn has_left_over(&self, number: u32) -> bool {
        self.left_over.contains(&number)
    }

    /// Whether nothing of it is left.
    fn is_gone(&self, number: u32) -> bool {
        !self.has(number) && !self.has_left_over(number)
    }

    /// Whether one of that number carries something. As long as not all is known of the groups, each may.
    fn may_carry(&self, number: u32) -> bool {
        let carries = self.of_numbers(number..=number).any(|(_, node)| !node.is_empty());
        carries || !self.is_certain() && !self.is_gone(number)
    }

    /// Whether what is said about replicas is what their leaders say, and about known nodes.
    fn is_certain(&self) -> bool {
        let is_led = !self.cluster.groups.is_empty() && self.cluster.groups.iter().all(|group| group.leader.is_some());
        // A member that has not registered may be the node of any pod.
        let is_registered = self.cluster.nodes.iter().all(|node| node.name != node.node_id || node.is_empty());
        is_led && is_registered
    }
}

/// More pods: those that are wanted, and those that are needed for what they have. A disk that no node has any more goes first.
/// While the hub is silent only those come whose disks are new, or have what the hub may be waiting for.
fn grow(plan: &mut Plan, seen: &Seen<'_>, count: u32) {
    let from = seen.set.size;
    let stale: Vec<u32> = (from..count).filter(|number| seen.is_stale(*number)).collect();
    let to = stale.first().copied().unwrap_or(count);
    let are_known =
        seen.nodes.is_some_and(|nodes| nodes.is_certain() && stale.iter().all(|number| nodes.is_gone(*number)));
    if are_known {
        plan.actions.extend(stale.iter().filter_map(|number| delete_claim(seen.set, *number)));
    }
    let are_deleted = are_known && !stale.is_empty();
    let is_time = !are_deleted && (seen.nodes.is_some() || seen.observed.silent_seconds() >= SILENCE_SECONDS);
    let back = plan.left_behind.last().filter(|_| is_time).map_or(0, |number| number + 1);
    if back > to.max(from) {
        plan.actions.push(Action::CallBack { from, to: back });
    } else if to > from {
        plan.actions.push(Action::Resize { from, to });
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
        let few = format!("{count} are too few for the {replication} copies of each group");
        plan.shards_problem = Some(format!("shards: {few}; lower `replication` first"));
        return;
    }
    plan.actions
        .extend(leaving.iter().filter(|(_, node)| node.state == NodeState::Active).map(|(_, node)| drain(node)));
    // Who was called back hands over first.
    if !nodes.is_certain() || !plan.left_behind.is_empty() {
        return;
    }
    let has_left = |number: u32| {
        let mut of_pod = leaving.iter().filter(|(it, _)| *it == number);
        !nodes.has_left_over(number) && of_pod.all(|(_, node)| node.state == NodeState::Draining && node.is_empty())
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
    plan.actions.extend(end_pods(set, nodes, |number| number >= count));
}

/// Pods of the highest numbers end when nothing of their nodes is left, as the hub said after they were removed: whoever
/// removed one that was given groups meanwhile ends nobody that carries them.
fn end_pods(set: &StatefulSetState, nodes: &Nodes<'_>, may_end: impl Fn(u32) -> bool) -> Option<Action> {
    let ends = |number: &u32| may_end(*number) && nodes.is_gone(*number);
    let to = (0..set.size).rev().take_while(ends).last()?;
    Some(Action::Resize { from: set.size, to })
}

fn delete_claim(set: &StatefulSetState, number: u32) -> Option<Action> {
    let uid = set.claims.get(&number)?.clone();
    Some(Action::DeleteClaim { name: set.claim_name(number), uid })
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
