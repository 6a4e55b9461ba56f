use std::collections::BTreeSet;

use model::GroupId;

use super::world::World;
use crate::{
    group::MemberChange::{AddLearners, RemoveLearners, SetAddresses, SetVoters},
    membership::plan::{Next, Step, Wait},
    raft::NodeId,
};

type Tested = Result<(), String>;

const GROUP: GroupId = GroupId(0);

fn voters(world: &World) -> BTreeSet<NodeId> {
    world.cluster.groups[&GROUP].current_voters().clone()
}

fn set(nodes: &[NodeId]) -> BTreeSet<NodeId> {
    nodes.iter().copied().collect()
}

fn next(world: &World) -> Option<Next> {
    world.next().remove(&GROUP)
}

fn take(world: &mut World) -> Result<Step, String> {
    match next(world) {
        Some(Next::Do(step)) => world.take(GROUP, &step, false).map(|()| step),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn one_becomes_three_at_once() -> Tested {
    let mut world = World::new(1, 3);
    assert_eq!(next(&world), Some(Next::Nothing));
    world.join(2);
    assert_eq!(next(&world), Some(Next::Nothing), "two voters are worse than one");
    world.join(3);
    let added = take(&mut world)?;
    assert!(matches!(&added, Step::Change(AddLearners(nodes)) if nodes.keys().eq([&2, &3])), "{added:?}");
    assert_eq!(next(&world), Some(Next::Wait(Wait::Copy { to: 2, behind: None })));
    world.replicate();
    assert_eq!(take(&mut world)?, Step::Change(SetVoters(set(&[1, 2, 3]))));
    assert_eq!(next(&world), Some(Next::Nothing));
    Ok(())
}

#[test]
fn a_leader_goes_before_its_replica() -> Tested {
    let mut world = World::new(1, 3);
    (2..=4).for_each(|node| world.join(node));
    world.settle()?;
    world.leave(1);
    assert!(matches!(take(&mut world)?, Step::Transfer { .. }));
    world.settle()?;
    assert_eq!(voters(&world), set(&[2, 3, 4]));
    Ok(())
}

#[test]
fn a_lone_replica_moves_over_two_voters() -> Tested {
    let mut world = World::new(1, 1);
    world.join(2);
    world.leave(1);
    assert!(matches!(take(&mut world)?, Step::Change(AddLearners(_))));
    world.replicate();
    assert_eq!(take(&mut world)?, Step::Change(SetVoters(set(&[1, 2]))));
    assert_eq!(take(&mut world)?, Step::Transfer { to: 2 });
    assert_eq!(take(&mut world)?, Step::Change(SetVoters(set(&[2]))));
    assert_eq!(take(&mut world)?, Step::Change(RemoveLearners(set(&[1]))));
    assert_eq!(take(&mut world)?, Step::Wipe { node: 1 });
    assert_eq!(next(&world), Some(Next::Nothing));
    Ok(())
}

/// Found by chance: two voters, one of them the leader, and both had to go.
#[test]
fn voters_that_are_too_many_make_room_first() -> Tested {
    let mut world = World::new(1, 1);
    world.join(2);
    world.leave(1);
    take(&mut world)?;
    world.replicate();
    take(&mut world)?;
    assert_eq!(voters(&world), set(&[1, 2]));
    world.join(3);
    world.leave(2);
    world.replicate();
    world.settle()?;
    assert_eq!(voters(&world), set(&[3]));
    Ok(())
}

#[test]
fn a_dead_node_keeps_its_replica_until_it_is_removed_and_another_is_there() -> Tested {
    let mut world = World::new(1, 3);
    (2..=3).for_each(|node| world.join(node));
    world.settle()?;
    world.reach(3, false);
    world.join(4);
    world.settle()?;
    assert_eq!(voters(&world), set(&[1, 2, 3]), "it may come back");
    world.leave(4);
    world.settle()?;
    world.leave(3);
    world.settle()?;
    assert_eq!(voters(&world), set(&[1, 2, 3]), "nobody takes its place");
    assert_eq!(next(&world), Some(Next::Wait(Wait::Nodes)));
    world.join(5);
    world.settle()?;
    assert_eq!(voters(&world), set(&[1, 2, 5]));
    Ok(())
}

#[test]
fn nothing_is_changed_that_would_cost_the_majority() -> Tested {
    let mut world = World::new(1, 3);
    (2..=3).for_each(|node| world.join(node));
    world.settle()?;
    world.reach(2, false);
    world.reach(3, false);
    world.leave(3);
    world.join(4);
    assert_eq!(next(&world), Some(Next::Wait(Wait::Leader)));
    world.reach(2, true);
    world.settle()?;
    assert_eq!(voters(&world), set(&[1, 2, 4]));
    Ok(())
}

#[test]
fn half_a_change_is_finished() -> Tested {
    let mut world = World::new(1, 3);
    (2..=3).for_each(|node| world.join(node));
    take(&mut world)?;
    world.replicate();
    let Some(Next::Do(step)) = next(&world) else { return Err("no step".into()) };
    world.take(GROUP, &step, true)?;
    assert_eq!(world.cluster.groups[&GROUP].voters.len(), 2);
    assert_eq!(take(&mut world)?, step);
    assert_eq!(voters(&world), set(&[1, 2, 3]));
    Ok(())
}

#[test]
fn a_node_that_moved_is_found_again() -> Tested {
    let mut world = World::new(1, 1);
    world.cluster.nodes.get_mut(&1).ok_or("no node")?.address = "http://elsewhere".into();
    let moved = take(&mut world)?;
    assert!(matches!(&moved, Step::Change(SetAddresses(nodes)) if nodes.keys().eq([&1])), "{moved:?}");
    assert_eq!(next(&world), Some(Next::Nothing));
    Ok(())
}

#[test]
fn leaders_are_spread_when_all_else_is_done() -> Tested {
    let mut world = World::new(9, 3);
    (2..=3).for_each(|node| world.join(node));
    world.settle()?;
    let loads = world.loads();
    assert!(loads.values().all(|load| *load == (9, 3)), "{loads:?}");
    Ok(())
}
