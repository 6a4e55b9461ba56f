//! Nodes come, go and lose their disks, while devices are created all the time: nothing that was acknowledged is lost.

use std::time::Duration;

use model::GroupId;
use shard::Config;
use shard_client::{ClusterError, NodeState};

mod growing_cluster;

use growing_cluster::{Cluster, Failure, GROUPS, Writer, is_spread, loads, settled};

fn unchanged(config: Config) -> Config {
    config
}

/// Newcomers are so far behind that they get the state instead of the log.
fn short_log(config: Config) -> Config {
    Config { log_entries_max: 40, log_entries_kept: 10, ..config }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_grows_and_shrinks_under_writes() -> Result<(), Failure> {
    let mut cluster = Cluster::start(short_log).await?;
    let client = cluster.client().await?;
    settled(&client, |now| is_spread(now, 1, 1)).await?;
    let writer = Writer::start(client.clone(), "grow");

    for node_id in 2..=3 {
        cluster.join(node_id).await?;
    }
    settled(&client, |now| is_spread(now, 3, 3)).await?;
    client.set_replication(5).await?;
    for node_id in 4..=5 {
        cluster.join(node_id).await?;
    }
    settled(&client, |now| is_spread(now, 5, 5)).await?;
    client.balance_leaders().await?;
    let balanced = settled(&client, |now| now.nodes.iter().all(|node| node.leaders <= 1)).await?;
    println!("five nodes: {:?}", loads(&balanced));

    client.set_replication(3).await?;
    let spread = settled(&client, |now| is_spread(now, 5, 3)).await?;
    println!("three replicas on five nodes: {:?}", loads(&spread));
    let all = 3 * (GROUPS + 1);
    assert!(spread.nodes.iter().all(|node| node.replicas.abs_diff(all / 5) <= 1), "{:?}", loads(&spread));

    // Drained, the nodes carry nothing, and their processes may end.
    for node_id in [1, 2] {
        client.change_node(node_id, NodeState::Draining).await?;
    }
    let drained = settled(&client, |now| is_spread(now, 5, 3)).await?;
    for (node_id, replicas, leaders) in loads(&drained) {
        assert_eq!((replicas, leaders) == (0, 0), node_id <= 2, "{:?}", loads(&drained));
    }
    for node_id in [1, 2] {
        client.change_node(node_id, NodeState::Removed).await?;
        cluster.stop(node_id).await?;
    }
    settled(&client, |now| is_spread(now, 3, 3)).await?;
    writer.check(&client).await?;
    cluster.finish().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_disk_is_replaced_by_an_empty_one() -> Result<(), Failure> {
    let mut cluster = Cluster::start(unchanged).await?;
    for node_id in 2..=3 {
        cluster.join(node_id).await?;
    }
    let client = cluster.client().await?;
    settled(&client, |now| is_spread(now, 3, 3)).await?;
    let writer = Writer::start(client.clone(), "disk");
    tokio::time::sleep(Duration::from_millis(300)).await;

    // The disk of whoever leads the hub group, the driver, is gone.
    let lost = cluster.leader(GroupId::HUB).ok_or("nobody leads")?;
    cluster.stop(lost).await?;
    std::fs::remove_dir_all(cluster.folder(lost))?;
    cluster.join(4).await?;
    let waiting = settled(&client, |now| is_spread(now, 4, 3)).await?;
    let newcomer = waiting.nodes.iter().find(|node| node.node_id == 4).ok_or("not registered")?;
    assert_eq!((newcomer.replicas, newcomer.learners), (0, 0), "nobody said that the other is gone for good");

    client.change_node(lost, NodeState::Removed).await?;
    let replaced = settled(&client, |now| is_spread(now, 3, 3)).await?;
    assert!(replaced.nodes.iter().all(|node| node.node_id != lost && node.replicas == GROUPS + 1), "{replaced:?}");
    assert_eq!(client.change_node(lost, NodeState::Active).await, Err(ClusterError::NodeRemoved));
    writer.check(&client).await?;
    cluster.finish().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_drives_next_goes_on() -> Result<(), Failure> {
    let mut cluster = Cluster::start(short_log).await?;
    for node_id in 2..=4 {
        cluster.join(node_id).await?;
    }
    let client = cluster.client().await?;
    settled(&client, |now| is_spread(now, 4, 3)).await?;
    let writer = Writer::start(client.clone(), "drive");
    // The driver goes in the middle of it, again and again; each time at another step.
    for round in 0..6_u64 {
        let state = if round % 2 == 0 { NodeState::Draining } else { NodeState::Active };
        let driver = cluster.leader(GroupId::HUB).ok_or("nobody drives")?;
        let drained = driver % 4 + 1;
        client.change_node(drained, state).await?;
        tokio::time::sleep(Duration::from_millis(70 * round + 10)).await;
        if let Some(driver) = cluster.leader(GroupId::HUB) {
            cluster.stop(driver).await?;
            tokio::time::sleep(Duration::from_millis(300)).await;
            cluster.join(driver).await?;
        }
        client.change_node(drained, NodeState::Active).await?;
    }
    let after = settled(&client, |now| is_spread(now, 4, 3)).await?;
    assert!(after.nodes.iter().all(|node| node.replicas == 3), "{:?}", loads(&after));
    writer.check(&client).await?;
    cluster.finish().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_wiped_joins_again() -> Result<(), Failure> {
    let mut cluster = Cluster::start(short_log).await?;
    for node_id in 2..=4 {
        cluster.join(node_id).await?;
    }
    let client = cluster.client().await?;
    settled(&client, |now| is_spread(now, 4, 3)).await?;
    let writer = Writer::start(client.clone(), "wipe");
    for _ in 0..2 {
        client.change_node(2, NodeState::Draining).await?;
        let drained = settled(&client, |now| is_spread(now, 4, 3)).await?;
        assert!(drained.nodes.iter().any(|node| (node.node_id, node.replicas) == (2, 0)), "{:?}", loads(&drained));
        let shard = cluster.shards.get(&2).ok_or("gone")?;
        for group in shard.node().groups() {
            let left = group.describe().await;
            assert!(!left.has_data, "group {} is still there", group.id());
            assert_eq!(group.view()?.applied()?.log_id, None, "rows of group {} are still there", group.id());
        }
        assert!(shard.health().leaderless_groups.is_empty(), "what it does not carry is not missing");
        client.change_node(2, NodeState::Active).await?;
        let back = settled(&client, |now| is_spread(now, 4, 3)).await?;
        assert!(back.nodes.iter().any(|node| (node.node_id, node.replicas) == (2, 3)), "{:?}", loads(&back));
    }
    // What it took over anew survives its next start.
    cluster.stop(2).await?;
    cluster.join(2).await?;
    settled(&client, |now| now.nodes.iter().all(|node| node.is_reachable)).await?;
    writer.check(&client).await?;
    cluster.finish().await;
    Ok(())
}
