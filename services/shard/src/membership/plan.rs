//! From what is wanted and what there is to the next step of every group. Pure.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use model::GroupId;

use super::placement::place;
use crate::{
    group::MemberChange::{self, AddLearners, RemoveLearners, SetAddresses, SetVoters},
    raft::{LogId, NodeId},
};

/// Entries that a replica may be behind and still counts as having caught up.
pub const BEHIND_MAX: u64 = 100;

/// What is wanted of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It carries its share.
    Active,
    /// It carries nothing: it drains, or was removed.
    Leaving,
}

/// A node of the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub wanted: Wanted,
    /// As it registered it.
    pub address: String,
    pub is_reachable: bool,
}

/// A group as its leader has it, or, without one, as the best informed replica has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Unset: nobody leads it, or nobody that can be reached.
    pub leader: Option<NodeId>,
    /// Log id of its newest membership.
    pub membership: LogId,
    pub is_committed: bool,
    /// One set, or two while they change: the old one and the new one.
    pub voters: Vec<BTreeSet<NodeId>>,
    /// Voters and learners, and under which address others find them.
    pub members: BTreeMap<NodeId, String>,
    /// Entries that members other than the leader are behind; one that is missing is far behind.
    pub behind: BTreeMap<NodeId, u64>,
    /// Nodes that hold rows or entries of it and are no members.
    pub leftovers: BTreeSet<NodeId>,
}

/// What is wanted, and what there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    pub replication: usize,
    pub nodes: BTreeMap<NodeId, Node>,
    pub groups: BTreeMap<GroupId, Group>,
}

/// How much may happen at a time.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Groups that are being copied.
    pub copies: usize,
    /// Leaderships on their way.
    pub transfers: usize,
    /// Whether leaders move only to be spread evenly.
    pub balances_leaders: bool,
}

/// What is done about a group next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is as it is wanted.
    Nothing,
    Wait(Wait),
    Do(Step),
}

/// What a group waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    Leader,
    Commit,
    /// Until that node has caught up.
    Copy {
        to: NodeId,
        behind: Option<u64>,
    },
    /// Until others are done.
    Turn,
    /// Until a majority of its voters is well.
    Health,
    /// Until there are as many active nodes as replicas.
    Nodes,
}

/// One step of a group. All but the last are taken by its leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Change(MemberChange),
    Transfer { to: NodeId },
    Wipe { node: NodeId },
}

/// The next step of every group.
pub fn plan(cluster: &Cluster, limits: Limits) -> BTreeMap<GroupId, Next> {
    let places = place(cluster);
    let copying = cluster.groups.iter().filter(|(id, group)| is_copying(group, &places[id])).count();
    let mut planner = Planner {
        cluster,
        leaders: cluster.leaders(),
        copies_left: limits.copies.saturating_sub(copying),
        transfers_left: limits.transfers,
    };
    let mut next: BTreeMap<_, _> =
        cluster.groups.iter().map(|(id, group)| (*id, planner.next(group, &places[id]))).collect();
    // Only when nothing else moves: a leader that moves twice is a gap too many.
    let is_quiet = next.values().all(|next| matches!(next, Next::Nothing | Next::Do(Step::Wipe { .. })));
    if limits.balances_leaders && is_quiet && planner.transfers_left > 0 {
        next.extend(planner.balance().map(|(id, to)| (id, Next::Do(Step::Transfer { to }))));
    }
    next
}

/// Whether some node is being brought the group.
fn is_copying(group: &Group, place: &BTreeSet<NodeId>) -> bool {
    place.iter().any(|node| group.members.contains_key(node) && !group.current_voters().contains(node))
}

impl Group {
    /// The voters, or those to be.
    pub fn current_voters(&self) -> &BTreeSet<NodeId> {
        static NONE: BTreeSet<NodeId> = BTreeSet::new();
        self.voters.last().unwrap_or(&NONE)
    }

    fn has_caught_up(&self, node: NodeId) -> bool {
        self.leader == Some(node) || self.behind.get(&node).is_some_and(|behind| *behind <= BEHIND_MAX)
    }
}

impl Cluster {
    /// Groups that each node leads.
    fn leaders(&self) -> BTreeMap<NodeId, usize> {
        let mut leaders: BTreeMap<NodeId, usize> = self.nodes.keys().map(|node| (*node, 0)).collect();
        for leader in self.groups.values().filter_map(|group| group.leader) {
            *leaders.entry(leader).or_default() += 1;
        }
        leaders
    }

    /// Whether a replica can be counted on now.
    pub fn is_well(&self, group: &Group, node: NodeId) -> bool {
        let is_reachable = self.nodes.get(&node).is_some_and(|node| node.is_reachable);
        group.leader == Some(node) || is_reachable && group.has_caught_up(node)
    }

    fn has_majority(&self, group: &Group, voters: &BTreeSet<NodeId>) -> bool {
        2 * voters.iter().filter(|voter| self.is_well(group, **voter)).count() > voters.len()
    }
}

struct Planner<'c> {
    cluster: &'c Cluster,
    leaders: BTreeMap<NodeId, usize>,
    copies_left: usize,
    transfers_left: usize,
}

impl Planner<'_> {
    fn next(&mut self, group: &Group, place: &BTreeSet<NodeId>) -> Next {
        let Some(leader) = group.leader else { return Next::Wait(Wait::Leader) };
        if !group.is_committed {
            return Next::Wait(Wait::Commit);
        }
        let voters = group.current_voters();
        if group.voters.len() > 1 {
            // Whoever began it is gone.
            return Next::Do(Step::Change(SetVoters(voters.clone())));
        }
        if let Some(moved) = self.moved(group) {
            return Next::Do(Step::Change(SetAddresses(moved)));
        }
        if !place.contains(&leader)
            && let Some(to) = self.successor(group, place.intersection(voters))
        {
            return self.transfer(leader, to);
        }
        if voters != place {
            return self.toward(group, leader, place);
        }
        let extra: BTreeSet<_> = group.members.keys().filter(|member| !place.contains(member)).copied().collect();
        if !extra.is_empty() {
            return Next::Do(Step::Change(RemoveLearners(extra)));
        }
        let is_reachable = |node: &&NodeId| self.cluster.nodes.get(node).is_some_and(|node| node.is_reachable);
        if let Some(node) = group.leftovers.iter().find(is_reachable) {
            return Next::Do(Step::Wipe { node: *node });
        }
        if place.iter().any(|node| self.cluster.nodes.get(node).is_some_and(|node| node.wanted == Wanted::Leaving)) {
            return Next::Wait(Wait::Nodes);
        }
        Next::Nothing
    }

    /// Members whose node has another address by now.
    fn moved(&self, group: &Group) -> Option<BTreeMap<NodeId, String>> {
        let address = |node: &NodeId| self.cluster.nodes.get(node).map(|node| &node.address);
        let moved = group.members.iter().filter_map(|(node, known)| {
            let registered = address(node).filter(|address| !address.is_empty() && *address != known)?;
            Some((*node, registered.clone()))
        });
        Some(moved.collect()).filter(|moved: &BTreeMap<_, _>| !moved.is_empty())
    }

    /// The one with the fewest groups to lead.
    fn successor<'n>(&self, group: &Group, among: impl Iterator<Item = &'n NodeId>) -> Option<NodeId> {
        let well = among.filter(|node| Some(**node) != group.leader && self.cluster.is_well(group, **node));
        well.min_by_key(|node| (self.leaders.get(node), **node)).copied()
    }

    fn transfer(&mut self, from: NodeId, to: NodeId) -> Next {
        if self.transfers_left == 0 {
            return Next::Wait(Wait::Turn);
        }
        self.transfers_left -= 1;
        self.leaders.entry(from).and_modify(|count| *count = count.saturating_sub(1));
        *self.leaders.entry(to).or_default() += 1;
        Next::Do(Step::Transfer { to })
    }

    /// The next step of a group that is not where it is wanted.
    fn toward(&mut self, group: &Group, leader: NodeId, place: &BTreeSet<NodeId>) -> Next {
        let voters = group.current_voters();
        let new: Vec<NodeId> = place.difference(voters).copied().collect();
        let strangers = new.iter().filter(|node| !group.members.contains_key(node));
        let strangers: BTreeMap<_, _> =
            strangers.filter_map(|node| Some((*node, self.cluster.nodes.get(node)?.address.clone()))).collect();
        if !strangers.is_empty() {
            if !is_copying(group, place) && self.copies_left == 0 {
                return Next::Wait(Wait::Turn);
            }
            self.copies_left = self.copies_left.saturating_sub(usize::from(!is_copying(group, place)));
            return Next::Do(Step::Change(AddLearners(strangers)));
        }
        if let Some(to) = new.iter().find(|node| !self.cluster.is_well(group, **node)) {
            return Next::Wait(Wait::Copy { to: *to, behind: group.behind.get(to).copied() });
        }
        let target =
            if place.contains(&leader) { place.clone() } else { self.bridge(group, leader, new.first().copied()) };
        if target != *voters && self.cluster.has_majority(group, voters) && self.cluster.has_majority(group, &target) {
            Next::Do(Step::Change(SetVoters(target)))
        } else {
            Next::Wait(Wait::Health)
        }
    }

    /// The voters in between when nobody who stays can lead: one who comes votes first, then leads. Voters that are too
    /// many already make room before.
    fn bridge(&self, group: &Group, leader: NodeId, newcomer: Option<NodeId>) -> BTreeSet<NodeId> {
        let voters = group.current_voters();
        if voters.len() <= self.cluster.replication {
            return voters.iter().copied().chain(newcomer).collect();
        }
        let mut others: Vec<NodeId> = voters.iter().copied().filter(|voter| *voter != leader).collect();
        others.sort_by_key(|voter| (!self.cluster.is_well(group, *voter), *voter));
        others.into_iter().take(self.cluster.replication.saturating_sub(1)).chain([leader]).collect()
    }

    /// One leadership from the node that has the most to the one that has the fewest.
    fn balance(&self) -> Option<(GroupId, NodeId)> {
        let is_active = |node: &NodeId| {
            self.cluster.nodes.get(node).is_some_and(|node| node.wanted == Wanted::Active && node.is_reachable)
        };
        let count = |node: &NodeId| self.leaders.get(node).copied().unwrap_or(0);
        let moves = self.cluster.groups.iter().flat_map(|(id, group)| {
            let from = group.leader.filter(is_active);
            let voters = group.current_voters().iter().filter(|to| is_active(to) && self.cluster.is_well(group, **to));
            voters.filter_map(move |to| Some((count(&from?).checked_sub(count(to))?, *id, *to)))
        });
        // The hub group last: whoever drives is told of a wish to balance only once.
        let key = |(gain, id, to): &(usize, GroupId, NodeId)| (*id != GroupId::HUB, *gain, Reverse((*id, *to)));
        let best = moves.filter(|(gain, ..)| *gain >= 2).max_by_key(key);
        best.map(|(_, id, to)| (id, to))
    }
}

impl fmt::Display for Next {
    /// For people; empty when there is nothing to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => Ok(()),
            Self::Wait(Wait::Leader) => f.write_str("waits for a leader"),
            Self::Wait(Wait::Commit) => f.write_str("commits a change of its members"),
            Self::Wait(Wait::Copy { to, behind: Some(behind) }) => write!(f, "copies to {to}: {behind} entries to go"),
            Self::Wait(Wait::Copy { to, behind: None }) => write!(f, "copies to {to}"),
            Self::Wait(Wait::Turn) => f.write_str("waits for other groups"),
            Self::Wait(Wait::Health) => f.write_str("waits for a majority of its voters to be well"),
            Self::Wait(Wait::Nodes) => f.write_str("waits for another active node"),
            Self::Do(Step::Change(AddLearners(nodes))) => write!(f, "begins to copy to {}", list(nodes.keys())),
            Self::Do(Step::Change(SetVoters(nodes))) => write!(f, "makes {} its voters", list(nodes)),
            Self::Do(Step::Change(RemoveLearners(nodes))) => write!(f, "leaves {}", list(nodes)),
            Self::Do(Step::Change(SetAddresses(nodes))) => write!(f, "learns the addresses of {}", list(nodes.keys())),
            Self::Do(Step::Transfer { to }) => write!(f, "makes {to} its leader"),
            Self::Do(Step::Wipe { node }) => write!(f, "is wiped from {node}"),
        }
    }
}

fn list<'n>(nodes: impl IntoIterator<Item = &'n NodeId>) -> String {
    nodes.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
