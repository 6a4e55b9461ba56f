#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::collections::BTreeMap;

use super::*;
use crate::{
    apply::Applied,
    hub::{Group, HubError, HubState},
    plan::release,
    report::Report,
    resource::{Condition, IotHubStatus, NodeStatus},
};

/// A small world: a StatefulSet `hub-shard`, a hub, and the shards as they are wanted.
#[derive(Clone)]
struct World {
    observed: Observed,
    wanted: Wanted,
}

impl World {
    /// So many shards, all well, each with 7 replicas of 7 groups.
    fn of(size: u32) -> Self {
        let nodes = (0..size).map(|number| node(number, number + 11)).collect();
        let group =
            |number: u32| Group { group: number.to_string(), leader: Some("11".to_owned()), doing: String::new() };
        let cluster = Cluster { replication: 3, is_settled: true, nodes, groups: (0..7).map(group).collect() };
        let stateful_set = StatefulSetState {
            name: "hub-shard".to_owned(),
            size,
            ready: size,
            claim_template: "data".to_owned(),
            claims: claims(0..size),
            ..StatefulSetState::default()
        };
        let observed = Observed {
            now: model::Timestamp::default(),
            status: Default::default(),
            stateful_set: Some(stateful_set),
            secrets: BTreeMap::new(),
            hub: Ok(HubState { cluster, ..HubState::default() }),
        };
        Self { observed, wanted: Wanted { shards: Some(size), ..Wanted::default() } }
    }

    fn wanted(mut self, shards: impl Into<Option<u32>>) -> Self {
        self.wanted.shards = shards.into();
        self
    }

    fn cluster(mut self, change: impl FnOnce(&mut Cluster)) -> Self {
        change(&mut self.observed.hub.as_mut().unwrap().cluster);
        self
    }

    fn node(self, position: usize, change: impl FnOnce(&mut Node)) -> Self {
        self.cluster(|cluster| change(&mut cluster.nodes[position]))
    }

    fn set(mut self, change: impl FnOnce(&mut StatefulSetState)) -> Self {
        change(self.observed.stateful_set.as_mut().unwrap());
        self
    }

    fn silent(mut self) -> Self {
        self.observed.hub = Err(HubError::Unreachable { address: "hub:443".to_owned(), cause: "refused".to_owned() });
        self
    }

    /// Silent for so long, as the status says.
    fn silent_for(mut self, seconds: i64) -> Self {
        let since = jiff::Timestamp::UNIX_EPOCH.to_string();
        let unknown = Condition {
            type_: Condition::SETTINGS_APPLIED.to_owned(),
            status: "Unknown".to_owned(),
            last_transition_time: since,
            ..Condition::default()
        };
        self.observed.status.conditions = vec![unknown];
        self.observed.now = model::Timestamp::from_unix_milliseconds(seconds * 1000);
        self.silent()
    }

    fn plan(&self) -> Plan {
        let mut plan = Plan::default();
        super::plan(&mut plan, &self.wanted, &self.observed);
        plan
    }

    /// Each action as a few words.
    fn actions(&self) -> Vec<String> {
        self.plan().actions.iter().map(short).collect()
    }
}

fn node(number: u32, id: u32) -> Node {
    Node {
        node_id: id.to_string(),
        name: format!("hub-shard-{number}"),
        state: NodeState::Active,
        registered: format!("2026-01-01T00:00:{id}Z"),
        is_reachable: true,
        leaders: 1,
        replicas: 7,
        learners: 0,
    }
}

fn claims(numbers: std::ops::Range<u32>) -> BTreeMap<u32, String> {
    numbers.map(|number| (number, format!("claim-{number}"))).collect()
}

fn empty(node: &mut Node) {
    (node.state, node.leaders, node.replicas, node.learners) = (NodeState::Draining, 0, 0, 0);
}

fn removed(node: &mut Node) {
    empty(node);
    node.state = NodeState::Removed;
}

fn draining(node: &mut Node) {
    node.state = NodeState::Draining;
}

fn short(action: &Action) -> String {
    match action {
        Action::ActivateNode { node_id, .. } => format!("activate {node_id}"),
        Action::DrainNode { node_id, .. } => format!("drain {node_id}"),
        Action::RemoveNode { node_id, why: Removal::Replaced, .. } => format!("replace {node_id}"),
        Action::RemoveNode { node_id, why: Removal::Drained, .. } => format!("remove {node_id}"),
        Action::DeleteClaim { name, .. } => format!("delete {name}"),
        Action::Resize { from, to } => format!("{from} -> {to}"),
        Action::CallBack { from, to } => format!("back {from} -> {to}"),
        Action::SetReplication { replication } => format!("replication {replication}"),
        other => other.to_string(),
    }
}

#[test]
fn what_is_done_next() {
    let cases: Vec<(&str, World, &[&str])> = vec![
        ("nothing is left to do", World::of(3), &[]),
        ("more: the StatefulSet grows", World::of(3).wanted(5), &["3 -> 5"]),
        ("more, although the hub is silent", World::of(3).wanted(5).silent(), &["3 -> 5"]),
        ("fewer: the highest numbers are drained", World::of(5).wanted(3), &["drain 14", "drain 15"]),
        ("fewer, and the hub is silent", World::of(5).wanted(3).silent(), &[]),
        ("they have not moved yet", World::of(5).wanted(3).node(3, draining).node(4, draining), &[]),
        ("one has moved: it goes", World::of(5).wanted(3).node(3, draining).node(4, empty), &["remove 15"]),
        (
            "it has gone: its pod ends",
            World::of(5).wanted(3).node(3, draining).cluster(|cluster| drop(cluster.nodes.pop())),
            &["5 -> 4"],
        ),
        (
            "it went although it was given something meanwhile: that moves first",
            World::of(5).wanted(3).node(3, draining).node(4, |node| node.state = NodeState::Removed),
            &[],
        ),
        (
            "a lower one has moved, which ends after the higher one",
            World::of(5).wanted(3).node(3, empty).node(4, draining),
            &[],
        ),
        ("both have moved", World::of(5).wanted(3).node(3, empty).node(4, empty), &["remove 15", "remove 14"]),
        ("one was removed before the operator ended", World::of(5).wanted(4).node(4, removed), &["5 -> 4"]),
        ("its pod never registered", World::of(5).wanted(4).cluster(|cluster| drop(cluster.nodes.pop())), &["5 -> 4"]),
        (
            "a group has no leader, so nobody knows where its replicas are",
            World::of(5).wanted(4).node(4, empty).cluster(|cluster| cluster.groups[3].leader = None),
            &[],
        ),
        (
            "a hub without groups says nothing",
            World::of(5).wanted(4).node(4, empty).cluster(|cluster| cluster.groups.clear()),
            &[],
        ),
        (
            "a member that has not registered may be anybody",
            World::of(5).wanted(4).node(4, |node| node.name.clone_from(&node.node_id)),
            &[],
        ),
        (
            "a new node is being brought a group while it goes",
            World::of(4).wanted(3).node(3, |node| (empty(node), node.learners = 1).0),
            &[],
        ),
        ("fewer than copies", World::of(3).wanted(2), &[]),
        ("somebody ended pods behind the operator's back", World::of(5).set(|set| set.size = 3), &["3 -> 5"]),
        (
            "a pod that ended before it was drained comes back to hand over",
            World::of(5).wanted(3).set(|set| set.size = 3),
            &["back 3 -> 5", "drain 14", "drain 15"],
        ),
        (
            "the same, and fewer are wanted than copies",
            World::of(5).wanted(2).set(|set| set.size = 3),
            &["back 3 -> 5"],
        ),
        (
            "it seems to have nothing, but nobody who answers knows of one of the groups",
            World::of(4)
                .wanted(3)
                .set(|set| set.size = 3)
                .node(3, empty)
                .cluster(|cluster| cluster.groups[3].leader = None),
            &["back 3 -> 4"],
        ),
        (
            "a disk of a removed shard goes before others come back",
            World::of(6).wanted(5).set(|set| set.size = 3).node(3, removed),
            &["delete data-hub-shard-3", "drain 16"],
        ),
        (
            "unless its disk is gone",
            World::of(4).wanted(3).set(|set| (set.size, set.claims) = (3, claims(0..3))),
            &["drain 14"],
        ),
        ("one that has nothing goes", World::of(4).wanted(3).set(|set| set.size = 3).node(3, empty), &["remove 14"]),
        ("another mind: who drains stays", World::of(5).node(4, draining), &["activate 15"]),
        (
            "another mind, and one pod is gone",
            World::of(4).wanted(5).node(3, draining).set(|set| _ = set.claims.remove(&4)),
            &["4 -> 5", "activate 14"],
        ),
        (
            "a disk of a removed shard goes before its pod comes",
            World::of(3).wanted(5).set(|set| set.claims = claims(0..5)),
            &["delete data-hub-shard-3", "delete data-hub-shard-4"],
        ),
        ("a disk of a shard that was not removed stays", World::of(4).set(|set| set.size = 3), &["3 -> 4"]),
        (
            "a disk that nobody can ask about stays",
            World::of(3).wanted(5).set(|set| set.claims = claims(0..5)).silent(),
            &["3 -> 5"],
        ),
        ("nobody says how many", World::of(5).wanted(None).node(4, draining), &[]),
    ];
    for (name, world, expected) in cases {
        assert_eq!(world.actions(), expected, "{name}");
    }
}

#[test]
fn a_disk_that_is_new_takes_the_place_of_the_one_before() {
    let lost = |node: &mut Node| node.is_reachable = false;
    let world = World::of(3).node(2, lost);
    assert!(world.actions().is_empty(), "it may come back");
    let replaced = world.clone().cluster(|cluster| cluster.nodes.push(node(2, 20)));
    assert_eq!(replaced.actions(), ["replace 13"]);
    assert_eq!(replaced.clone().wanted(None).actions(), ["replace 13"], "whether or not sizes are looked after");
    assert!(replaced.clone().node(3, lost).actions().is_empty(), "the new one must be there");
    assert!(replaced.clone().node(2, |node| node.is_reachable = true).actions().is_empty(), "the old one is there");
    let twice = replaced.node(3, lost).cluster(|cluster| cluster.nodes.push(node(2, 21)));
    assert_eq!(twice.actions(), ["replace 13", "replace 20"]);
    // The order in which the hub lists them means nothing.
    let turned = twice.cluster(|cluster| cluster.nodes.reverse());
    assert_eq!(turned.actions(), ["replace 20", "replace 13"]);
}

#[test]
fn a_shard_that_leaves_with_two_disks_leaves_with_both() {
    let lost = |node: &mut Node| (node.is_reachable, node.state) = (false, NodeState::Draining);
    let world = World::of(4).wanted(3).node(3, lost).cluster(|cluster| cluster.nodes.push(node(3, 20)));
    assert_eq!(world.actions(), ["replace 14", "drain 20"]);
    let unreachable = world.node(4, |node| (empty(node), node.is_reachable = false).0);
    assert!(unreachable.actions().is_empty(), "the first one still carries groups");
    assert_eq!(unreachable.node(3, empty).actions(), ["remove 14", "remove 20"]);
}

#[test]
fn shards_are_drained_by_their_numbers() {
    let mut world = World::of(5);
    world.wanted.drained_shards = [1, 4].into();
    assert_eq!(world.actions(), ["drain 12", "drain 15"]);
    let drained = world.node(1, empty).node(4, empty);
    assert!(drained.actions().is_empty(), "they stay, and so do their pods");
    let mut again = drained;
    again.wanted.drained_shards = [4].into();
    assert_eq!(again.actions(), ["activate 12"]);
}

#[test]
fn copies_come_first() {
    let mut world = World::of(5).wanted(1);
    let plan = world.plan();
    assert!(plan.actions.is_empty() && plan.is_shrinking);
    assert!(plan.shards_problem.unwrap().contains("too few for the 3 copies"));
    world.wanted.replication = Some(1);
    assert_eq!(world.actions(), ["replication 1", "drain 12", "drain 13", "drain 14", "drain 15"]);
    let world = World::of(1);
    assert_eq!(world.plan(), Plan::default(), "a small hub is a hub");
}

#[test]
fn shrinking_lasts_until_the_last_one_is_gone() {
    assert!(!World::of(5).plan().is_shrinking);
    assert!(!World::of(5).wanted(7).plan().is_shrinking);
    assert!(World::of(5).wanted(4).plan().is_shrinking);
    assert!(World::of(5).wanted(4).set(|set| set.size = 4).plan().is_shrinking, "its node is still there");
    let gone = World::of(5).wanted(4).set(|set| set.size = 4).node(4, removed);
    assert!(!gone.plan().is_shrinking);
}

#[test]
fn a_resource_that_goes_calls_back_who_was_leaving() {
    let world = World::of(5).wanted(3).node(0, draining).node(3, draining).node(4, draining);
    let called = |world: &World| -> Vec<String> {
        let spec = crate::resource::IotHubSpec { shards: world.wanted.shards, ..Default::default() };
        release(&world.observed, &crate::resource::IotHub::new("hub", spec)).iter().map(short).collect()
    };
    assert_eq!(called(&world), ["activate 14", "activate 15"], "the other one was drained on purpose");
    assert_eq!(called(&world.clone().set(|set| set.size = 4)), ["activate 14"], "without a pod nobody comes back");
    assert!(called(&world.clone().wanted(None)).is_empty());
    assert!(called(&world.clone().silent()).is_empty());
    let mut half = world.wanted(4).node(4, removed);
    assert!(called(&half).is_empty(), "nobody knows who removed it");
    half.observed.status.shards.removing = vec![4];
    assert_eq!(called(&half), ["5 -> 4"], "it was on its way out: its disk is of no use any more");
}

#[test]
fn a_silent_hub_gets_back_what_it_may_be_waiting_for() {
    let of = |number: u32, replicas| NodeStatus { name: format!("hub-shard-{number}"), replicas, ..Default::default() };
    let mut world = World::of(1).wanted(5).silent().set(|set| set.claims = claims(0..4));
    assert_eq!(world.actions(), ["1 -> 5"], "nothing was ever known");
    world.observed.status.shards.nodes = vec![of(0, 7), of(1, 7), of(2, 7)];
    assert_eq!(world.actions(), ["1 -> 3"], "the fourth one's disk may be that of a shard that was removed");
    world.observed.status.shards.nodes.push(of(3, 0));
    assert_eq!(world.actions(), ["1 -> 3"], "nobody waits for it");
    let world = world.set(|set| set.size = 3);
    assert!(world.actions().is_empty());
    assert_eq!(world.set(|set| _ = set.claims.remove(&3)).actions(), ["3 -> 5"]);
}

/// A release that was installed again with fewer shards: the hub has no majority, and the resource is a new one.
#[test]
fn a_hub_that_stays_silent_gets_back_what_was_left_behind() {
    let of = |number: u32, replicas| NodeStatus { name: format!("hub-shard-{number}"), replicas, ..Default::default() };
    let world = World::of(3).set(|set| set.claims = claims(0..5));
    assert!(world.clone().silent_for(59).actions().is_empty(), "it may only be starting");
    assert_eq!(world.clone().silent_for(59).plan().left_behind, [3, 4], "but people are told");
    assert_eq!(world.clone().silent_for(60).actions(), ["back 3 -> 5"]);
    assert!(World::of(3).silent_for(60).actions().is_empty(), "nothing was left behind");
    let untouched = world.clone().wanted(None).silent_for(60);
    assert_eq!((untouched.actions(), untouched.plan().left_behind), (vec![], vec![3, 4]), "nobody says how many");

    // What was seen before decides.
    let mut seen = world.clone().silent_for(60);
    seen.observed.status.shards.nodes = (0..3).map(|number| of(number, 7)).collect();
    assert!(seen.actions().is_empty(), "the others were removed");
    seen.observed.status.shards.nodes.push(of(3, 7));
    assert_eq!(seen.actions(), ["back 3 -> 4"]);

    // A hub that answers, or refuses the keys, waits for nobody.
    let mut locked = world.clone().silent_for(60);
    locked.observed.hub = Err(HubError::Unauthorized { policy: "owner".to_owned(), text: "no".to_owned() });
    assert_eq!((locked.actions(), locked.plan().left_behind), (vec![], vec![]));
    assert!(world.actions().is_empty(), "these disks are those of shards that were removed");
}

#[test]
fn what_was_removed_ends_whatever_is_wanted_by_then() {
    let mut world = World::of(5).node(4, removed);
    assert!(world.actions().is_empty(), "it may be about to register");
    world.observed.status.shards.removing = vec![4];
    assert_eq!(world.actions(), ["5 -> 4"], "the one before has removed it and ended");
    assert_eq!(world.clone().wanted(7).actions(), ["5 -> 4"]);
    assert_eq!(world.plan().removing, [4], "kept");
    let ended = world.clone().wanted(7).set(|set| set.size = 4);
    assert_eq!((ended.actions(), ended.plan().removing), (vec!["delete data-hub-shard-4".to_owned()], vec![]));
    let renewed = world.cluster(|cluster| cluster.nodes.push(node(4, 30)));
    assert_eq!((renewed.actions(), renewed.plan().removing), (vec![], vec![]), "somebody gave it another disk");
    let begun = World::of(5).wanted(4).node(4, empty).plan();
    assert_eq!(begun.removing, [4], "written down before");
}

#[test]
fn a_pod_on_a_disk_that_was_removed_ends_and_comes_with_another() {
    let of_age =
        |seconds| move |set: &mut StatefulSetState| set.running_seconds = (0..5).map(|it| (it, seconds)).collect();
    let world = World::of(5).node(4, removed).node(3, removed);
    assert!(world.clone().set(of_age(60)).actions().is_empty(), "they may be about to register");
    let strangers = world.set(of_age(121));
    assert_eq!((strangers.actions(), strangers.plan().removing), (vec!["5 -> 3".to_owned()], vec![4, 3]));
    let ended = strangers.clone().set(|set| set.size = 3);
    assert_eq!(ended.actions(), ["delete data-hub-shard-3", "delete data-hub-shard-4"]);
    assert!(strangers.clone().silent().actions().is_empty());
    assert_eq!(strangers.clone().wanted(None).plan(), Plan::default(), "nobody says how many");
    assert!(strangers.clone().cluster(|cluster| cluster.groups[0].leader = None).actions().is_empty());
    assert!(strangers.clone().node(0, removed).actions().is_empty(), "one of the others is not known either");
    let renamed =
        |cluster: &mut Cluster| cluster.nodes.iter_mut().for_each(|node| node.name = format!("my-{}", node.name));
    assert!(strangers.cluster(renamed).actions().is_empty());
}

/// Whatever happens in between: until the shards are as few as wanted, one look after the other, and nothing is lost.
#[test]
fn from_five_to_three_in_steps() {
    let mut world = World::of(5).wanted(3);
    let mut steps = Vec::new();
    for _ in 0..20 {
        let plan = world.plan();
        for action in plan.actions {
            steps.push(short(&action));
            carry_out(&mut world, &action);
        }
        let cluster = &mut world.observed.hub.as_mut().unwrap().cluster;
        // One replica moves between two looks.
        if let Some(node) = cluster.nodes.iter_mut().find(|node| node.state == NodeState::Draining && node.replicas > 0)
        {
            (node.replicas, node.leaders) = (node.replicas - 1, 0);
        }
    }
    assert_eq!(steps, ["drain 14", "drain 15", "remove 15", "remove 14", "5 -> 3"]);
    assert_eq!(world.plan(), Plan::default());
}

fn carry_out(world: &mut World, action: &Action) {
    let set = world.observed.stateful_set.as_mut().unwrap();
    let nodes = &mut world.observed.hub.as_mut().unwrap().cluster.nodes;
    let mut change = |node_id: &str, state| {
        let node = nodes.iter_mut().find(|node| node.node_id == node_id).unwrap();
        assert!(state != NodeState::Removed || node.is_empty(), "{node_id} still carries something");
        node.state = state;
    };
    match action {
        Action::DrainNode { node_id, .. } => change(node_id, NodeState::Draining),
        Action::RemoveNode { node_id, .. } => change(node_id, NodeState::Removed),
        Action::Resize { to, .. } => {
            set.size = *to;
            let ended = |node: &Node| set.number_of(&node.name).unwrap() >= *to;
            assert!(nodes.iter().filter(|node| ended(node)).all(|node| node.state == NodeState::Removed));
        }
        other => panic!("{other}"),
    }
}

/// Looks that end anywhere, a hub that is silent now and then, minds that change, disks that are lost, releases that are
/// installed again with fewer shards: no pod ends while its node carries something, and in the end everything is as it is
/// wanted.
#[test]
fn it_ends_well_whatever_happens() {
    for seed in 1..=400 {
        let mut fate = Fate(seed);
        let mut world = Simulation::new();
        for _ in 0..60 {
            world.happen(&mut fate);
            world.look(&mut fate, true);
            world.tick();
        }
        world.world.wanted.shards = Some(3 + fate.below(4));
        for _ in 0..200 {
            world.look(&mut fate, false);
            world.tick();
        }
        world.check(seed);
    }
}

fn status(seen: &World, plan: &Plan) -> IotHubStatus {
    let World { observed, wanted } = seen;
    let applied = &Applied::default();
    Report { generation: 1, observed, wanted, problems: &[], plan, owner_policy: "iothubowner" }.status(applied)
}

/// A small generator of numbers (xorshift).
struct Fate(u64);

impl Fate {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from((self.0 >> 33) % u64::from(limit)).unwrap()
    }
}

/// A hub and a StatefulSet that do what they are told.
struct Simulation {
    world: World,
    /// The node of each disk, by the number of its pod.
    disks: BTreeMap<u32, String>,
    next_id: u32,
}

impl Simulation {
    fn new() -> Self {
        let disks = (0..3).map(|number| (number, (number + 11).to_string())).collect();
        Self { world: World::of(3), disks, next_id: 20 }
    }

    fn cluster(&mut self) -> &mut Cluster {
        &mut self.world.observed.hub.as_mut().unwrap().cluster
    }

    fn happen(&mut self, fate: &mut Fate) {
        match fate.below(8) {
            0 => self.world.wanted.shards = Some(3 + fate.below(4)),
            1 => {
                // A disk is lost; its pod gets another one.
                let number = fate.below(self.set().size);
                self.disks.remove(&number);
            }
            2 => {
                let set = self.world.observed.stateful_set.as_mut().unwrap();
                set.size = set.size.min(3);
                self.world.observed.status = IotHubStatus::default();
            }
            _ => {}
        }
    }

    /// A look, some of whose steps may not be taken.
    fn look(&mut self, fate: &mut Fate, is_troubled: bool) {
        let seen = match self.has_no_majority() || is_troubled && fate.below(5) == 0 {
            true => self.world.clone().silent(),
            false => self.world.clone(),
        };
        let plan = seen.plan();
        self.world.observed.status = status(&seen, &plan);
        let now = &mut self.world.observed.now;
        *now = model::Timestamp::from_unix_milliseconds((now.unix_seconds() + 30) * 1000);
        let taken = if is_troubled { fate.below(6) as usize } else { plan.actions.len() };
        for action in plan.actions.iter().take(taken) {
            self.take(action);
        }
    }

    fn take(&mut self, action: &Action) {
        match action {
            Action::Resize { to, .. } | Action::CallBack { to, .. } => {
                let set = self.set().clone();
                let ends =
                    |node: &Node| set.number_of(&node.name).is_some_and(|number| (*to..set.size).contains(&number));
                let carries = |node: &&Node| ends(node) && !node.is_empty();
                let lost: Vec<_> = self.cluster().nodes.iter().filter(carries).cloned().collect();
                // One that came after the look has nothing yet.
                assert!(lost.iter().all(|node| !node.is_reachable), "ended while it carries: {lost:?}");
                self.world.observed.stateful_set.as_mut().unwrap().size = *to;
            }
            Action::DeleteClaim { name, uid } => {
                let number = name.rsplit('-').next().unwrap().parse().unwrap();
                let node_id = self.disks.remove(&number);
                assert_eq!(node_id.as_ref(), Some(uid));
                let mut nodes = self.cluster().nodes.iter();
                let is_node = |node: &Node| Some(&node.node_id) == node_id.as_ref() && node.state != NodeState::Removed;
                assert!(!nodes.any(is_node), "the disk of a node is deleted");
            }
            Action::ActivateNode { node_id, .. } => self.set_state(node_id, NodeState::Active),
            Action::DrainNode { node_id, .. } => self.set_state(node_id, NodeState::Draining),
            Action::RemoveNode { node_id, .. } => self.set_state(node_id, NodeState::Removed),
            other => panic!("{other}"),
        }
    }

    fn set_state(&mut self, node_id: &str, state: NodeState) {
        let node = self.cluster().nodes.iter_mut().find(|node| node.node_id == node_id).unwrap();
        if node.state != NodeState::Removed {
            node.state = state;
        }
    }

    fn set(&self) -> &StatefulSetState {
        self.world.observed.stateful_set.as_ref().unwrap()
    }

    /// Some group of three has two shards that carry something and whose pods do not run: say, that of the settings.
    fn has_no_majority(&self) -> bool {
        let away = self.disks.range(self.set().size..).filter(|(_, disk)| {
            let nodes = &self.world.observed.hub.as_ref().unwrap().cluster.nodes;
            nodes.iter().any(|node| node.node_id == **disk && node.replicas > 0)
        });
        away.count() >= 2
    }

    /// Pods start, nodes register, a few replicas move.
    fn tick(&mut self) {
        let has_majority = !self.has_no_majority();
        for number in 0..self.set().size {
            if has_majority && !self.disks.contains_key(&number) {
                self.next_id += 1;
                let node = Node { replicas: 0, leaders: 0, ..node(number, self.next_id) };
                let registered = format!("2026-01-01T01:{:05}Z", self.next_id);
                self.disks.insert(number, node.node_id.clone());
                self.cluster().nodes.push(Node { registered, ..node });
            }
        }
        let (size, disks) = (self.set().size, self.disks.clone());
        let set = self.world.observed.stateful_set.as_mut().unwrap();
        set.claims = disks.clone();
        set.running_seconds = (0..size).map(|number| (number, 600)).collect();
        let runs = |node: &Node| disks.range(..size).any(|(_, disk)| *disk == node.node_id);
        for node in &mut self.cluster().nodes {
            node.is_reachable = runs(node);
        }
        for _ in 0..if has_majority { 4 } else { 0 } {
            self.move_replica();
        }
        // One that was removed is forgotten once nothing of it is left.
        self.cluster().nodes.retain(|node| node.state != NodeState::Removed || !node.is_empty());
    }

    fn move_replica(&mut self) {
        let nodes = &mut self.cluster().nodes;
        let leaves = |node: &Node| node.state != NodeState::Active && node.replicas > 0;
        let from = nodes.iter().position(leaves);
        let is_open = |node: &Node| node.state == NodeState::Active && node.is_reachable;
        let open = nodes.iter().enumerate().filter(|(_, node)| is_open(node));
        let Some(to) = open.min_by_key(|(_, node)| node.replicas).map(|(position, _)| position) else { return };
        let from = from.or_else(|| {
            let most = (0..nodes.len()).filter(|it| is_open(&nodes[*it])).max_by_key(|it| nodes[*it].replicas)?;
            (nodes[most].replicas > nodes[to].replicas + 1).then_some(most)
        });
        if let Some(from) = from {
            nodes[from].replicas -= 1;
            nodes[from].leaders = 0;
            nodes[to].replicas += 1;
        }
    }

    fn check(&mut self, seed: u64) {
        let wanted = self.world.wanted.shards.unwrap();
        assert_eq!(self.set().size, wanted, "seed {seed}");
        assert_eq!(self.world.plan(), Plan::default(), "seed {seed}");
        let mut names: Vec<_> = self.cluster().nodes.iter().map(|node| (node.name.clone(), node.state)).collect();
        names.sort_by(|(one, _), (other, _)| one.cmp(other));
        let expected: Vec<_> = (0..wanted).map(|number| (format!("hub-shard-{number}"), NodeState::Active)).collect();
        assert_eq!(names, expected, "seed {seed}");
    }
}
