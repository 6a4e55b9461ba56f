//! Three shard nodes and two gateways' clients over real gRPC and real disks: a history of what was acknowledged, held
//! against what is there in the end.

use std::time::{Duration, Instant};

use ironhub_tests::{Cluster, TestResult, eventually};
use model::{
    Authentication, ConnectionId, Credentials, DeviceId, DeviceIdentity, DeviceStatus, GroupId, Principal,
    SymmetricKey, SymmetricKeys, group_of,
};
use shard_client::{NewAttachment, Precondition, SessionEvent, ShardClient};
use tokio::task::JoinSet;

const GROUPS: u32 = 2;

fn identity(id: &str, generation_id: &str) -> DeviceIdentity {
    let key = || SymmetricKey::from_bytes(&[7; 32]);
    let keys = SymmetricKeys { primary: key(), secondary: key() };
    let mut identity = DeviceIdentity::new(id.parse().unwrap(), Authentication::Sas(keys));
    identity.generation_id = generation_id.into();
    identity
}

/// Short logs, so that a node that was away needs a snapshot.
fn short_log(config: shard::Config) -> shard::Config {
    shard::Config { log_entries_max: 60, log_entries_kept: 20, disk_reserve_bytes: 0, ..config }
}

/// What one writer was told.
#[derive(Default)]
struct History {
    /// Devices that it created.
    created: Vec<DeviceId>,
    /// How often its own device was updated, by acknowledged answers; and the version in each of them.
    versions: Vec<u64>,
    /// Calls whose outcome it does not know.
    unknown: usize,
}

/// Creates devices and updates one of its own, until told to stop.
async fn write(client: ShardClient, name: String, until: Instant) -> TestResult<History> {
    let mut history = History::default();
    let own = identity(&format!("{name}-own"), "1");
    let first = client.put_device(&own, Precondition::Absent).await?;
    history.versions.push(first.etag.0);
    let mut number = 0;
    while Instant::now() < until {
        let device = identity(&format!("{name}-{number}"), "1");
        match client.put_device(&device, Precondition::Absent).await {
            Ok(_) => history.created.push(device.device_id.clone()),
            Err(shard_client::RegistryError::Unavailable(_)) => history.unknown += 1,
            Err(error) => anyhow::bail!("{name} {number}: {error}: was it applied twice?"),
        }
        match client.put_device(&own, Precondition::Present).await {
            Ok(updated) => history.versions.push(updated.etag.0),
            Err(shard_client::RegistryError::Unavailable(_)) => history.unknown += 1,
            Err(error) => anyhow::bail!("{name}: {error}"),
        }
        number += 1;
    }
    Ok(history)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_or_applied_twice_when_nodes_come_and_go() -> TestResult {
    const WRITERS: usize = 8;
    let mut cluster = Cluster::start(short_log).await?;
    let gateways = [cluster.client().await?, cluster.client().await?];
    let until = Instant::now() + Duration::from_secs(14);
    let mut writers = JoinSet::new();
    for number in 0..WRITERS {
        writers.spawn(write(gateways[number % 2].clone(), format!("w{number}"), until));
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let leader = cluster.leader(GroupId(1)).await?;
    cluster.kill(leader)?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    cluster.start_node(leader).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let follower = (0..3).find(|position| cluster.node(*position).is_ok() && *position != leader).unwrap();
    cluster.kill(follower)?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    cluster.start_node(follower).await?;
    let mut histories = Vec::new();
    while let Some(history) = writers.join_next().await {
        histories.push(history??);
    }
    let created: usize = histories.iter().map(|history| history.created.len()).sum();
    let unknown: usize = histories.iter().map(|history| history.unknown).sum();
    println!("{created} devices created, {unknown} calls with an unknown outcome");
    assert!(created > 500, "writes went on: {created}");
    for (history, reader) in histories.iter().zip(gateways.iter().cycle()) {
        for id in &history.created {
            assert!(reader.get_device(id).await?.is_some(), "{id} was acknowledged and is lost");
        }
        let versions = &history.versions;
        assert!(versions.is_sorted_by(|older, newer| older < newer), "an answer was not the newest: {versions:?}");
    }
    // An etag counts the identity writes of its group: one more write tells how many there were.
    let mut applied = 0;
    for group in GroupId::devices(GROUPS) {
        let names = (0..).map(|number| identity(&format!("count-{number}"), "1"));
        let last = names.into_iter().find(|device| model::group_of(&device.device_id, GROUPS) == group).unwrap();
        applied += gateways[0].put_device(&last, Precondition::Absent).await?.etag.0 - 1;
    }
    let updated: usize = histories.iter().map(|history| history.versions.len()).sum();
    let acknowledged = (created + updated) as u64;
    let most = acknowledged + unknown as u64;
    assert!((acknowledged..=most).contains(&applied), "{acknowledged} to {most} expected, {applied} applied");
    everyone_has(&cluster, &histories).await
}

/// Every replica ends with every device, the one that came back by a snapshot included.
async fn everyone_has(cluster: &Cluster, histories: &[History]) -> TestResult {
    for position in 0..3 {
        for group in GroupId::devices(GROUPS) {
            let node = cluster.node(position)?.node();
            let group = node.group(group).unwrap().clone();
            eventually("a replica caught up", async || {
                let view = group.view()?;
                let mut own = histories
                    .iter()
                    .flat_map(|history| &history.created)
                    .filter(|id| group_of(id, GROUPS) == group.id());
                Ok(own.all(|id| has_device(&view, id)))
            })
            .await?;
        }
    }
    Ok(())
}

fn has_device(view: &shard::store::View, id: &DeviceId) -> bool {
    let principal = Principal { device_id: id.clone(), module_id: None };
    shard::state::credentials(view, &principal).is_ok_and(|found| found.is_some())
}

async fn attach(gateway: &ShardClient, credentials: &Credentials) -> TestResult<shard_client::Attachment> {
    let principal = Principal { device_id: credentials.device.device_id.clone(), module_id: None };
    let attach = NewAttachment { principal, credentials: credentials.clone(), clean_session: true, model_id: None };
    Ok(gateway.attach(attach).await?)
}

async fn new_credentials(gateway: &ShardClient, id: &str) -> TestResult<Credentials> {
    let device = gateway.put_device(&identity(id, "1"), Precondition::Absent).await?;
    Ok(Credentials { device, module: None })
}

async fn next(attachment: &shard_client::Attachment) -> TestResult<SessionEvent> {
    Ok(tokio::time::timeout(ironhub_tests::PATIENCE, attachment.mailbox.next()).await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_connection_wins_across_gateways_and_changes_of_leader() -> TestResult {
    let mut cluster = Cluster::start(short_log).await?;
    let (first, second) = (cluster.client().await?, cluster.client().await?);
    let credentials = new_credentials(&first, "roaming").await?;
    let group = group_of(&credentials.device.device_id, GROUPS);
    let principal = Principal { device_id: credentials.device.device_id.clone(), module_id: None };

    let older = attach(&first, &credentials).await?;
    let newer = attach(&second, &credentials).await?;
    assert!(newer.connection_id > older.connection_id);
    assert_eq!(next(&older).await?, SessionEvent::Replaced);
    // A late goodbye of the older one changes nothing.
    first.detach(&principal, older.connection_id);

    let leader = cluster.leader(group).await?;
    cluster.kill(leader)?;
    let new_leader = cluster.leader(group).await?;
    assert_ne!(new_leader, leader);
    // The connection was attached again by itself: the new leader pushes changes of the identity to it.
    let mut changed = credentials.device.clone();
    changed.status = DeviceStatus::Disabled;
    first.put_device(&changed, Precondition::Present).await?;
    match next(&newer).await? {
        SessionEvent::IdentityChanged(Some(seen)) => assert_eq!(seen.device.status, DeviceStatus::Disabled),
        other => anyhow::bail!("{other:?}"),
    }
    let changed = first.get_device(&credentials.device.device_id).await?.unwrap();
    let credentials = Credentials { device: changed, module: None };
    let newest = attach(&first, &credentials).await?;
    assert!(newest.connection_id > newer.connection_id, "ids grow over leaderships");
    assert!(newest.connection_id.leadership > older.connection_id.leadership);
    assert_eq!(next(&newer).await?, SessionEvent::Replaced);
    first.delete_device(&credentials.device.device_id, Precondition::Present).await?;
    assert_eq!(next(&newest).await?, SessionEvent::Deleted);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_connections_come_back_after_a_change_of_leader() -> TestResult {
    const DEVICES: usize = 200;
    let mut cluster = Cluster::start(short_log).await?;
    let gateway = cluster.client().await?;
    let mut attached: Vec<(Credentials, shard_client::Attachment)> = Vec::new();
    for number in 0..DEVICES {
        let credentials = new_credentials(&gateway, &format!("d{number}")).await?;
        let attachment = attach(&gateway, &credentials).await?;
        attached.push((credentials, attachment));
    }
    let ids = |attached: &[(Credentials, shard_client::Attachment)]| -> Vec<ConnectionId> {
        attached.iter().map(|(_, attachment)| attachment.connection_id).collect()
    };
    assert!(ids(&attached).iter().collect::<std::collections::BTreeSet<_>>().len() > DEVICES / 4, "ids are told apart");
    let connected = async || anyhow::Ok(gateway.statistics().await?.connected_device_count as usize);
    eventually("all are connected", async || Ok::<_, anyhow::Error>(connected().await? == DEVICES)).await?;
    for group in GroupId::devices(GROUPS) {
        let leader = cluster.leader(group).await?;
        cluster.kill(leader)?;
        cluster.leader(group).await?;
        cluster.start_node(leader).await?;
    }
    for (credentials, attachment) in &attached {
        let mut changed = credentials.device.clone();
        changed.status = DeviceStatus::Disabled;
        gateway.put_device(&changed, Precondition::Present).await?;
        assert!(matches!(next(attachment).await?, SessionEvent::IdentityChanged(Some(_))));
    }
    eventually("all are still connected", async || Ok::<_, anyhow::Error>(connected().await? == DEVICES)).await
}
