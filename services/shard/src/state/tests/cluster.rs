use proto::shard::v1::{ChangeNode, NodeState, RegisterNode, SetReplication};

use super::*;
use crate::state::{Cluster, cluster};

fn register(node_id: u64, address: &str) -> Kind {
    Kind::RegisterNode(RegisterNode { node_id, address: address.into(), name: format!("shard-{node_id}") })
}

fn change(node_id: u64, state: NodeState) -> Operation {
    Operation::ChangeNode(ChangeNode { node_id, state: state as i32 })
}

fn states(group: &Group) -> Result<Vec<(u64, NodeState)>, StoreError> {
    Ok(cluster(&group.rows)?.nodes.iter().map(|node| (node.node_id, node.state())).collect())
}

#[test]
fn a_node_registers_once_and_moves() -> Tested {
    let mut group = Group::default();
    assert_eq!(cluster(&group.rows)?, Cluster { replication: 3, nodes: vec![] });
    assert_eq!(group.kind(register(7, "http://a"))?, DONE);
    let first = cluster(&group.rows)?.nodes;
    assert_eq!((first[0].state(), first[0].registered, first.len()), (NodeState::Active, group.time, 1));
    assert_eq!(group.command(change(7, NodeState::Active))?, DONE);
    assert_eq!(group.kind(register(3, "http://b"))?, DONE);
    assert_eq!(group.command(change(7, NodeState::Draining))?, DONE);
    assert_eq!(group.kind(register(7, "http://c"))?, DONE);
    let moved = cluster(&group.rows)?.nodes;
    assert_eq!((moved[1].address.as_str(), moved[1].registered), ("http://c", first[0].registered));
    assert_eq!(states(&group)?, [(3, NodeState::Active), (7, NodeState::Draining)]);
    assert!(group.effects.iter().all(|effect| *effect == Effect::ClusterChanged));
    Ok(())
}

#[test]
fn a_removed_node_never_comes_back() -> Tested {
    let mut group = Group::default();
    group.kind(register(1, "http://a"))?;
    group.kind(register(2, "http://b"))?;
    assert_eq!(group.command(change(2, NodeState::Removed))?, DONE);
    assert_eq!(group.command(change(2, NodeState::Removed))?, DONE, "it is what was asked for");
    assert_eq!(code(group.kind(register(2, "http://b"))?), Some(Code::NodeRemoved));
    assert_eq!(code(group.command(change(2, NodeState::Active))?), Some(Code::NodeRemoved));
    assert_eq!(group.command(change(3, NodeState::Removed))?, DONE, "it died before it could register");
    assert_eq!(code(group.kind(register(3, "http://c"))?), Some(Code::NodeRemoved));
    assert_eq!(states(&group)?, [(1, NodeState::Active), (2, NodeState::Removed), (3, NodeState::Removed)]);
    Ok(())
}

#[test]
fn the_last_active_node_stays() -> Tested {
    let mut group = Group::default();
    group.kind(register(1, "http://a"))?;
    group.kind(register(2, "http://b"))?;
    assert_eq!(group.command(change(1, NodeState::Draining))?, DONE);
    for state in [NodeState::Draining, NodeState::Removed] {
        assert_eq!(code(group.command(change(2, state))?), Some(Code::LastActiveNode));
    }
    assert_eq!(group.command(change(1, NodeState::Removed))?, DONE, "it was not active");
    assert_eq!(code(group.command(change(9, NodeState::Draining))?), Some(Code::NodeNotFound));
    assert_eq!(code(group.command(change(2, NodeState::Unspecified))?), Some(Code::Invalid));
    Ok(())
}

#[test]
fn the_replication_is_odd_and_bounded() -> Tested {
    let mut group = Group::default();
    for replication in [0, 2, 4, 6, 7] {
        let refused = group.command(Operation::SetReplication(SetReplication { replication }))?;
        assert_eq!(code(refused), Some(Code::Invalid), "{replication}");
    }
    for replication in [1, 3, 5] {
        assert_eq!(group.command(Operation::SetReplication(SetReplication { replication }))?, DONE);
        assert_eq!(cluster(&group.rows)?.replication, replication);
    }
    let long = RegisterNode { node_id: 1, address: "x".repeat(513), name: String::new() };
    assert_eq!(code(group.kind(Kind::RegisterNode(long))?), Some(Code::Invalid));
    Ok(())
}
