//! Which nodes each group belongs on: as many as replicas are wanted, every node about as many groups, and no more moves
//! than that takes. Pure, and the same for as long as nothing but the moves it asks for happens.

use std::collections::{BTreeMap, BTreeSet};

use model::GroupId;

use super::plan::{Cluster, Group, Wanted};
use crate::raft::NodeId;

type Places = BTreeMap<GroupId, BTreeSet<NodeId>>;

/// The voters that every group should have.
pub fn place(cluster: &Cluster) -> Places {
    let mut placement = Placement::of(cluster);
    for (id, group) in &cluster.groups {
        placement.fill(*id, group);
    }
    while placement.even_out() {}
    placement.places
}

struct Placement<'c> {
    cluster: &'c Cluster,
    places: Places,
    /// Groups of each node.
    loads: BTreeMap<NodeId, usize>,
}

impl<'c> Placement<'c> {
    /// Everybody stays who may.
    fn of(cluster: &'c Cluster) -> Self {
        let mut placement = Self { cluster, places: Places::new(), loads: BTreeMap::new() };
        for (id, group) in &cluster.groups {
            let stay: BTreeSet<_> =
                group.current_voters().iter().filter(|node| placement.is_active(node)).copied().collect();
            for node in &stay {
                *placement.loads.entry(*node).or_default() += 1;
            }
            placement.places.insert(*id, stay);
        }
        placement
    }

    /// Whether it may keep what it has. A voter that has not registered yet may.
    fn is_active(&self, node: &NodeId) -> bool {
        self.cluster.nodes.get(node).is_none_or(|node| node.wanted == Wanted::Active)
    }

    /// Whether the node may get what it does not have.
    fn is_open(&self, node: &NodeId) -> bool {
        self.is_active(node) && self.cluster.nodes.get(node).is_some_and(|node| node.is_reachable)
    }

    fn load(&self, node: NodeId) -> usize {
        self.loads.get(&node).copied().unwrap_or(0)
    }

    /// How many voters the group should have. An odd number: with two, either can stop the group, and one that is gone
    /// for good cannot be removed. It does not get fewer because nodes are missing, only when fewer are wanted.
    fn size(&self, group: &Group) -> usize {
        let voters = group.current_voters();
        let open = self.cluster.nodes.keys().filter(|node| self.is_open(node)).count();
        let possible = open + voters.iter().filter(|node| self.is_active(node) && !self.is_open(node)).count();
        let size = largest_odd(self.cluster.replication.min(possible)).max(1);
        if voters.len() <= self.cluster.replication { size.max(voters.len()) } else { size }
    }

    /// Adds to the group's nodes what is missing, and takes away what is too much.
    fn fill(&mut self, id: GroupId, group: &Group) {
        let size = self.size(group);
        while self.count(id) > size {
            let most = self.places[&id].iter().max_by_key(|node| {
                let is_well = self.cluster.is_well(group, **node);
                (!is_well, Some(**node) != group.leader, self.load(**node), **node)
            });
            let Some(most) = most.copied() else { return };
            self.remove(id, most);
        }
        while self.count(id) < size {
            let Some(node) = self.newcomer(id, group).or_else(|| self.leaver(id, group)) else { return };
            self.add(id, node);
        }
    }

    /// Another node for the group; one that it is being copied to already before others.
    fn newcomer(&self, id: GroupId, group: &Group) -> Option<NodeId> {
        let open = self.cluster.nodes.keys().filter(|node| self.is_open(node) && !self.places[&id].contains(node));
        open.min_by_key(|node| (!group.members.contains_key(node), self.load(**node), **node)).copied()
    }

    /// Without another node, who was to leave stays.
    fn leaver(&self, id: GroupId, group: &Group) -> Option<NodeId> {
        let voters = group.current_voters().iter().filter(|node| !self.places[&id].contains(node));
        voters.min_by_key(|node| (!self.cluster.is_well(group, **node), Some(**node) != group.leader, **node)).copied()
    }

    /// Moves one replica from a node that has two or more groups more than another; false when there is none.
    fn even_out(&mut self) -> bool {
        let mut open: Vec<NodeId> = self.cluster.nodes.keys().copied().filter(|node| self.is_open(node)).collect();
        open.sort_by_key(|node| (self.load(*node), *node));
        for from in open.iter().rev() {
            for to in open.iter().take_while(|to| self.load(**to) + 2 <= self.load(*from)) {
                if let Some(id) = self.movable(*from, *to) {
                    self.remove(id, *from);
                    self.add(id, *to);
                    return true;
                }
            }
        }
        false
    }

    /// A group that is well and can go from one node to the other: best one that is on its way, then one that need not
    /// change its leader.
    fn movable(&self, from: NodeId, to: NodeId) -> Option<GroupId> {
        let candidates = self.cluster.groups.iter().filter(|(id, group)| {
            let place = &self.places[id];
            let is_well = group.leader.is_some()
                && place
                    .iter()
                    .all(|node| self.cluster.is_well(group, *node) || !group.current_voters().contains(node));
            place.contains(&from) && !place.contains(&to) && is_well
        });
        let best = candidates.min_by_key(|(id, group)| {
            let is_on_its_way = group.members.contains_key(&to);
            (!is_on_its_way, group.leader == Some(from), **id)
        });
        best.map(|(id, _)| *id)
    }

    fn count(&self, id: GroupId) -> usize {
        self.places.get(&id).map_or(0, BTreeSet::len)
    }

    fn add(&mut self, id: GroupId, node: NodeId) {
        self.places.entry(id).or_default().insert(node);
        *self.loads.entry(node).or_default() += 1;
    }

    fn remove(&mut self, id: GroupId, node: NodeId) {
        self.places.entry(id).or_default().remove(&node);
        self.loads.entry(node).and_modify(|load| *load = load.saturating_sub(1));
    }
}

fn largest_odd(number: usize) -> usize {
    if number.is_multiple_of(2) { number.saturating_sub(1) } else { number }
}
