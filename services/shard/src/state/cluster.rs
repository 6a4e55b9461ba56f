//! The nodes of the hub and what is wanted of them; they live in the hub group only. Who drives the groups there is
//! [`crate::membership`].

use proto::shard::v1::{
    ChangeNode, ClusterNode, ClusterSettings, NodeState, RegisterNode, SetReplication, command_error::Code,
    command_result::Outcome,
};

use super::{
    Effect, keys,
    rows::{DONE, Entry, Failure, decode, get, invalid},
};
use crate::store::{Rows, StoreError};

/// Node ids that are remembered, removed ones included: every lost disk uses one up.
const NODES_MAX: usize = 10_000;
/// Longest name or address, bytes.
const TEXT_BYTES_MAX: usize = 512;
const REPLICATION_DEFAULT: u32 = 3;
const REPLICATIONS: [u32; 3] = [1, 3, 5];

/// What is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Replicas of each group.
    pub replication: u32,
    /// In the order of their ids, removed ones included.
    pub nodes: Vec<ClusterNode>,
}

/// What is wanted of the cluster.
pub fn cluster(rows: &impl Rows) -> Result<Cluster, StoreError> {
    let settings: Option<ClusterSettings> = get(rows, &keys::cluster_settings())?;
    let range = keys::cluster_nodes();
    let nodes = rows.scan(&range.from, &range.to, NODES_MAX)?;
    let nodes = nodes.iter().map(|(_, value)| decode(value)).collect::<Result<_, _>>()?;
    Ok(Cluster { replication: settings.map_or(REPLICATION_DEFAULT, |settings| settings.replication), nodes })
}

/// Takes a node into the hub, or its new address. One that was removed never comes back: its id names a disk that others
/// go on without.
pub fn register(entry: &mut Entry<'_, '_>, command: RegisterNode) -> Result<Outcome, Failure> {
    if command.address.len().max(command.name.len()) > TEXT_BYTES_MAX {
        return Err(invalid(format!("an address and a name have at most {TEXT_BYTES_MAX} bytes")));
    }
    let key = keys::cluster_node(command.node_id);
    let node = match get::<ClusterNode>(entry.rows, &key)? {
        Some(node) if node.state() == NodeState::Removed => return Err(Code::NodeRemoved.into()),
        Some(node) => ClusterNode { address: command.address, name: command.name, ..node },
        None if !has_room(entry)? => {
            return Err(Failure::Refused(Code::QuotaExceeded, format!("{NODES_MAX} nodes have been registered")));
        }
        None => ClusterNode {
            node_id: command.node_id,
            address: command.address,
            name: command.name,
            state: NodeState::Active as i32,
            registered: entry.time,
        },
    };
    store(entry, &key, &node)
}

/// Changes what is wanted of a node. The groups have to be somewhere, so the last active one stays. One that has never
/// registered can be removed: a member from the beginning may have died before.
pub fn change_node(entry: &mut Entry<'_, '_>, command: &ChangeNode) -> Result<Outcome, Failure> {
    let key = keys::cluster_node(command.node_id);
    let node = match get::<ClusterNode>(entry.rows, &key)? {
        Some(node) => node,
        None if command.state() == NodeState::Removed && has_room(entry)? => {
            ClusterNode { node_id: command.node_id, registered: entry.time, ..ClusterNode::default() }
        }
        None => return Err(Code::NodeNotFound.into()),
    };
    if command.state() == NodeState::Unspecified {
        return Err(invalid("state"));
    }
    if node.state() == NodeState::Removed && command.state() != NodeState::Removed {
        return Err(Code::NodeRemoved.into());
    }
    let is_active = |node: &ClusterNode| node.state() == NodeState::Active;
    let others = cluster(entry.rows)?.nodes;
    let has_others = others.iter().any(|other| other.node_id != node.node_id && is_active(other));
    if is_active(&node) && command.state() != NodeState::Active && !has_others {
        return Err(Code::LastActiveNode.into());
    }
    store(entry, &key, &ClusterNode { state: command.state, ..node })
}

fn has_room(entry: &Entry<'_, '_>) -> Result<bool, StoreError> {
    Ok(cluster(entry.rows)?.nodes.len() < NODES_MAX)
}

/// Changes how many replicas each group has.
pub fn set_replication(entry: &mut Entry<'_, '_>, command: &SetReplication) -> Result<Outcome, Failure> {
    if !REPLICATIONS.contains(&command.replication) {
        return Err(invalid("the replication is 1, 3 or 5"));
    }
    store(entry, &keys::cluster_settings(), &ClusterSettings { replication: command.replication })
}

fn store(entry: &mut Entry<'_, '_>, key: &[u8], row: &impl prost::Message) -> Result<Outcome, Failure> {
    entry.put(key, row);
    entry.effects.push(Effect::ClusterChanged);
    Ok(DONE)
}
