//! Who looks after the nodes: takes out those whose disks are gone, and drains some for a while.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use shard_client::{ClusterDescription, ClusterError, NodeState, ShardClient};
use tokio::time::sleep;

use crate::{
    hub::{GROUPS, SHARDS},
    random::Random,
    run::{Phase, Shared},
};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// For all groups to be where they should, once nothing fails any more.
const SETTLED_WITHIN: Duration = Duration::from_secs(120);
const REPLICATION: usize = 3;

/// For as long as its host lives. What it wants of nodes is the hub's to remember: it looks.
pub async fn operate(client: ShardClient, shared: Arc<Shared>, mut random: Random) {
    loop {
        sleep(LOOK_EVERY).await;
        let Ok(cluster) = client.describe_cluster().await else { continue };
        take_out_lost(&client, &shared, &cluster).await;
        let is_working = shared.phase() == Phase::Working;
        let drained = cluster.nodes.iter().find(|node| node.state == NodeState::Draining);
        let change = match drained {
            Some(node) if !is_working || random.percent(30) => Some((node.node_id, NodeState::Active)),
            None if is_working && random.percent(15) => {
                Some((random.pick(&cluster.nodes).node_id, NodeState::Draining))
            }
            _ => None,
        };
        if let Some((node_id, state)) = change {
            shared.oracle.lock().note(|| format!("operator: node {node_id} is to be {state:?}"));
            // It looks again.
            let _ = client.change_node(node_id, state).await;
        }
    }
}

/// A lost node is taken out, and others may be lost once its place is taken.
async fn take_out_lost(client: &ShardClient, shared: &Shared, cluster: &ClusterDescription) {
    let Some(lost) = shared.lost_nodes.lock().first().copied() else { return };
    let node = cluster.nodes.iter().find(|node| node.node_id == lost);
    match node {
        Some(node) if node.state != NodeState::Removed => {
            shared.oracle.lock().note(|| format!("operator: node {lost} is taken out"));
            let _ = client.change_node(lost, NodeState::Removed).await;
        }
        // Nothing of it is left in any group; one that never registered had nothing.
        None if cluster.is_settled && has_all_groups(cluster) => {
            let never_registered = client.change_node(lost, NodeState::Removed).await;
            if matches!(never_registered, Ok(()) | Err(ClusterError::NodeNotFound)) {
                shared.lost_nodes.lock().clear();
            }
        }
        _ => {}
    }
}

fn has_all_groups(cluster: &ClusterDescription) -> bool {
    cluster.groups.len() == GROUPS as usize + 1
}

/// Waits until every group has its replicas on nodes that are there, and says so when that does not come.
pub async fn check(client: &ShardClient, shared: &Shared) {
    let until = Instant::now() + SETTLED_WITHIN;
    let mut last = None;
    while Instant::now() < until {
        last = client.describe_cluster().await.ok().or(last);
        if last.as_ref().is_some_and(is_well) {
            return;
        }
        sleep(LOOK_EVERY).await;
    }
    shared.oracle.lock().violation(&format!("the healed hub does not bring its groups where they belong: {last:?}"));
}

fn is_well(cluster: &ClusterDescription) -> bool {
    let is_there = |node_id: u64| {
        let node = cluster.nodes.iter().find(|node| node.node_id == node_id);
        node.is_some_and(|node| node.state == NodeState::Active && node.is_reachable)
    };
    let is_whole = cluster.groups.iter().all(|group| {
        group.replicas.len() == REPLICATION && group.replicas.iter().all(|it| it.is_voter && is_there(it.node_id))
    });
    cluster.is_settled && is_whole && has_all_groups(cluster) && cluster.nodes.len() == SHARDS.len()
}
