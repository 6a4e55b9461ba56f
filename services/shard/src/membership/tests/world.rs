//! A world whose groups do what steps say, at once or later.

use std::collections::{BTreeMap, BTreeSet};

use model::GroupId;
use openraft::CommittedLeaderId;
use proptest::prelude::*;

use crate::{
    group::MemberChange,
    membership::plan::{Cluster, Group, Limits, Next, Node, Step, Wanted, plan},
    raft::{LogId, NodeId},
};

const LIMITS: Limits = Limits { copies: 2, transfers: 1, balances_leaders: true };
/// Far more than the rounds that any change takes.
const ROUNDS_MAX: usize = 400;

pub struct World {
    pub cluster: Cluster,
    index: u64,
}

fn log_id(index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(1, 0), index)
}

fn address(node: NodeId) -> String {
    format!("http://{node}")
}

impl World {
    /// One node that carries all groups.
    pub fn new(groups: u32, replication: usize) -> Self {
        let mut world = Self { cluster: Cluster { replication, ..Cluster::default() }, index: 0 };
        world.join(1);
        for id in 0..groups {
            let group = Group {
                leader: Some(1),
                membership: log_id(0),
                is_committed: true,
                voters: vec![[1].into()],
                members: [(1, address(1))].into(),
                behind: BTreeMap::new(),
                leftovers: BTreeSet::new(),
            };
            world.cluster.groups.insert(GroupId(id), group);
        }
        world
    }

    pub fn join(&mut self, node: NodeId) {
        let joined = Node { wanted: Wanted::Active, address: address(node), is_reachable: true };
        self.cluster.nodes.entry(node).or_insert(joined);
    }

    pub fn leave(&mut self, node: NodeId) {
        let active = self.active().count();
        if let Some(node) =
            self.cluster.nodes.get_mut(&node).filter(|node| node.wanted == Wanted::Leaving || active > 1)
        {
            node.wanted = Wanted::Leaving;
        }
    }

    pub fn active(&self) -> impl Iterator<Item = NodeId> {
        self.cluster.nodes.iter().filter(|(_, node)| node.wanted == Wanted::Active).map(|(id, _)| *id)
    }

    fn is_up(&self, node: NodeId) -> bool {
        self.cluster.nodes.get(&node).is_some_and(|node| node.is_reachable)
    }

    /// The node goes away or comes back. Groups that have a majority elect.
    pub fn reach(&mut self, node: NodeId, is_reachable: bool) {
        let Some(reached) = self.cluster.nodes.get_mut(&node) else { return };
        reached.is_reachable = is_reachable;
        let nodes = self.cluster.nodes.clone();
        let is_up = |node: &NodeId| nodes.get(node).is_some_and(|node| node.is_reachable);
        for group in self.cluster.groups.values_mut() {
            let has_majority =
                group.voters.iter().all(|set| 2 * set.iter().filter(|node| is_up(node)).count() > set.len());
            if !has_majority {
                group.leader = None;
            } else if group.leader.is_none_or(|leader| !is_up(&leader)) {
                group.leader = group.current_voters().iter().find(|node| is_up(node)).copied();
            }
        }
    }

    /// What was sent has arrived at whoever is there.
    pub fn replicate(&mut self) {
        let nodes = self.cluster.nodes.clone();
        let is_up = |node: &NodeId| nodes.get(node).is_some_and(|node| node.is_reachable);
        for group in self.cluster.groups.values_mut().filter(|group| group.leader.is_some()) {
            group.behind = group.members.keys().filter(|node| is_up(node)).map(|node| (*node, 0)).collect();
        }
    }

    pub fn next(&self) -> BTreeMap<GroupId, Next> {
        plan(&self.cluster, LIMITS)
    }

    /// Takes a step; half a change of voters when `is_cut_off`. Whatever may not happen is an error.
    pub fn take(&mut self, id: GroupId, step: &Step, is_cut_off: bool) -> Result<(), String> {
        self.index += 1;
        let (index, replication) = (self.index, self.cluster.replication);
        let up: BTreeSet<NodeId> = self.cluster.nodes.keys().copied().filter(|node| self.is_up(*node)).collect();
        let group = self.cluster.groups.get_mut(&id).ok_or("no such group")?;
        let leader = group.leader.ok_or("nobody leads")?;
        let well = |group: &Group, set: &BTreeSet<NodeId>| {
            2 * set
                .iter()
                .filter(|node| {
                    up.contains(node) && group.behind.get(node).is_some_and(|it| *it == 0) || **node == leader
                })
                .count()
                > set.len()
        };
        let is_joint = group.voters.len() > 1;
        match step {
            Step::Change(change) => {
                group.membership = log_id(index);
                match change {
                    MemberChange::AddLearners(learners) => group.members.extend(learners.clone()),
                    MemberChange::SetVoters(voters) => {
                        let before = group.current_voters().clone();
                        if !well(group, &before) && !is_joint || !well(group, voters) {
                            return Err(format!("{id} has no majority of {before:?} or {voters:?}"));
                        }
                        // Fewer may be wanted meanwhile, but nobody is added to more.
                        if voters.len() > replication + 1 && !voters.is_subset(&before) && !is_joint {
                            return Err(format!("{id} gets {} voters", voters.len()));
                        }
                        if !voters.contains(&leader) {
                            return Err(format!("{id} loses its leader"));
                        }
                        group.voters =
                            if is_cut_off && !is_joint { vec![before, voters.clone()] } else { vec![voters.clone()] };
                    }
                    MemberChange::RemoveLearners(learners) => {
                        if learners.iter().any(|node| group.voters.iter().any(|set| set.contains(node))) {
                            return Err(format!("{id} loses a voter"));
                        }
                        group.members.retain(|node, _| !learners.contains(node));
                        group.behind.retain(|node, _| !learners.contains(node));
                        group.leftovers.extend(learners);
                    }
                    MemberChange::SetAddresses(moved) => group.members.extend(moved.clone()),
                }
                group.leftovers.retain(|node| !group.members.contains_key(node));
            }
            Step::Transfer { to } => {
                if !group.current_voters().contains(to) || !up.contains(to) {
                    return Err(format!("{id} cannot be led by {to}"));
                }
                group.leader = Some(*to);
            }
            Step::Wipe { node } => {
                if group.members.contains_key(node) || !group.leftovers.remove(node) {
                    return Err(format!("{id} is wiped from {node}"));
                }
            }
        }
        Ok(())
    }

    /// Takes all steps until none is left; how many replicas were copied.
    pub fn settle(&mut self) -> Result<usize, String> {
        let mut copied = 0;
        for _ in 0..ROUNDS_MAX {
            self.replicate();
            let next = self.next();
            let steps: Vec<_> = next
                .iter()
                .filter_map(|(id, next)| match next {
                    Next::Do(step) => Some((*id, step.clone())),
                    _ => None,
                })
                .collect();
            if steps.is_empty() {
                return Ok(copied);
            }
            for (id, step) in steps {
                if let Step::Change(MemberChange::AddLearners(learners)) = &step {
                    copied += learners.len();
                }
                self.take(id, &step, false)?;
            }
        }
        Err(format!("no end: {:?}", self.next()))
    }

    /// Groups that each node votes in, and leads.
    pub fn loads(&self) -> BTreeMap<NodeId, (usize, usize)> {
        let groups = || self.cluster.groups.values();
        let of = |node: NodeId| {
            let votes = groups().filter(|group| group.current_voters().contains(&node)).count();
            (votes, groups().filter(|group| group.leader == Some(node)).count())
        };
        self.cluster.nodes.keys().map(|node| (*node, of(*node))).collect()
    }
}

#[derive(Clone, Debug)]
enum Event {
    Join(NodeId),
    Leave(NodeId),
    Gone(NodeId),
    Back(NodeId),
    Replication(usize),
    Replicate,
    /// A round; the bits say which steps fail and which are cut off half way.
    Round {
        fail: u64,
        cut: u64,
    },
}

fn event() -> impl Strategy<Value = Event> {
    let node = 1..8_u64;
    prop_oneof![
        1 => node.clone().prop_map(Event::Join),
        1 => node.clone().prop_map(Event::Leave),
        1 => node.clone().prop_map(Event::Gone),
        1 => node.prop_map(Event::Back),
        1 => prop_oneof![Just(1), Just(3), Just(5)].prop_map(Event::Replication),
        4 => Just(Event::Replicate),
        8 => (any::<u64>(), any::<u64>()).prop_map(|(fail, cut)| Event::Round { fail, cut }),
    ]
}

fn happen(world: &mut World, event: &Event) -> Result<(), String> {
    match event {
        Event::Join(node) => world.join(*node),
        Event::Leave(node) => world.leave(*node),
        Event::Gone(node) => world.reach(*node, false),
        Event::Back(node) => world.reach(*node, true),
        Event::Replication(replication) => world.cluster.replication = *replication,
        Event::Replicate => world.replicate(),
        Event::Round { fail, cut } => {
            for (bit, (id, next)) in world.next().into_iter().enumerate() {
                if let Next::Do(step) = next
                    && fail >> (bit % 64) & 1 == 0
                {
                    world.take(id, &step, cut >> (bit % 64) & 1 == 1)?;
                }
            }
        }
    }
    Ok(())
}

fn check_settled(world: &World) -> Result<(), TestCaseError> {
    let active: Vec<_> = world.active().collect();
    let possible = world.cluster.replication.min(active.len());
    let odd = if possible.is_multiple_of(2) { possible - 1 } else { possible };
    for (id, group) in &world.cluster.groups {
        let voters = group.current_voters();
        let waits = voters.iter().any(|node| !active.contains(node));
        prop_assert_eq!(group.members.len(), voters.len(), "{} has learners", id);
        prop_assert!(group.leftovers.is_empty(), "{} was left somewhere", id);
        prop_assert!(group.leader.is_some_and(|leader| voters.contains(&leader)));
        if waits {
            prop_assert!(active.len() < voters.len(), "{} has {:?} and could have {:?}", id, voters, active);
        } else {
            let is_kept = voters.len() > odd && voters.len() <= world.cluster.replication;
            prop_assert!(voters.len() == odd || is_kept, "{} has {:?} of {:?}", id, voters, active);
        }
    }
    let loads = world.loads();
    let of_active: Vec<_> = active.iter().filter_map(|node| loads.get(node)).collect();
    let (most, fewest) = (of_active.iter().map(|it| it.0).max(), of_active.iter().map(|it| it.0).min());
    prop_assert!(most.unwrap_or(0) - fewest.unwrap_or(0) <= 1, "{loads:?}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever happens on the way, no step may do harm, and once everybody is there it ends where it should.
    #[test]
    fn every_history_ends_well(
        groups in 1..9_u32,
        replication in prop_oneof![Just(1_usize), Just(3), Just(5)],
        history in proptest::collection::vec(event(), 0..80),
    ) {
        let mut world = World::new(groups, replication);
        for event in &history {
            happen(&mut world, event).map_err(TestCaseError::fail)?;
        }
        let nodes: Vec<_> = world.cluster.nodes.keys().copied().collect();
        nodes.iter().for_each(|node| world.reach(*node, true));
        world.settle().map_err(TestCaseError::fail)?;
        check_settled(&world)?;
        // Nothing moves any more.
        prop_assert!(world.next().values().all(|next| !matches!(next, Next::Do(_))));
    }

    /// A node more takes its share and no group moves between others.
    #[test]
    fn growth_moves_no_more_than_it_must(groups in 1..20_u32, nodes in 3..7_u64) {
        let mut world = World::new(groups, 3);
        (2..=nodes).for_each(|node| world.join(node));
        world.settle().map_err(TestCaseError::fail)?;
        world.join(nodes + 1);
        let copied = world.settle().map_err(TestCaseError::fail)?;
        let share = 3 * groups as usize / (nodes as usize + 1);
        prop_assert!(copied <= share + 1, "{} copies for a share of {}", copied, share);
        check_settled(&world)?;
    }
}
