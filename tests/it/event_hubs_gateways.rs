//! Readers of events through two gateways: a partition has one owner, whichever gateway it came by (amqp §8.4).

use std::time::Duration;

use amqp::{Attach, LinkId, condition};
use ironhub_tests::{
    Amqp, CLUSTER_HOST, Cluster, ClusterGateway, PATIENCE, TestResult, cluster_keys, eventually, token,
};
use model::{ETag, GroupId, HubSettings, Right, Rights, SharedAccessPolicy};

use crate::event_hubs::receiver;

const PARTITION: &str = "events/ConsumerGroups/$Default/Partitions/1";
/// Receivers without epoch of one partition and consumer group.
const SHARED_MAX: usize = 5;

pub async fn start() -> TestResult<(Cluster, ClusterGateway, ClusterGateway)> {
    let cluster = Cluster::start(|config| shard::Config { disk_reserve_bytes: 0, ..config }).await?;
    let (first, second) = (ClusterGateway::start(&cluster).await?, ClusterGateway::start(&cluster).await?);
    let service = SharedAccessPolicy {
        name: "service".into(),
        keys: cluster_keys(10),
        rights: Rights::of(&[Right::ServiceConnect]),
        etag: ETag(1),
    };
    let settings = HubSettings { groups: 2, policies: vec![service], ..HubSettings::default() };
    first.client.initialize_hub(&settings).await?;
    Ok((cluster, first, second))
}

/// A back end's connection, once the gateway has the settings.
pub async fn back_end(gateway: &ClusterGateway) -> TestResult<Amqp> {
    let token = token(CLUSTER_HOST, &cluster_keys(10).primary, Some("service"));
    let mut connected = None;
    eventually("the settings", async || {
        let mut client = gateway.amqp().await?;
        if client.authenticate(&token).await.is_ok() {
            connected = Some(client);
        }
        Ok(connected.is_some())
    })
    .await?;
    connected.ok_or_else(|| anyhow::anyhow!("not connected"))
}

/// The link, or the condition and the words of the refusal.
async fn read(client: &mut Amqp, epoch: Option<i64>) -> TestResult<Result<LinkId, (String, String)>> {
    let attach: Attach = receiver(client, PARTITION, epoch);
    Ok(match client.attach(attach, 10).await? {
        Ok((link, _)) => Ok(link),
        Err(refused) => Err((refused.condition.to_string(), refused.description.unwrap_or_default().to_string())),
    })
}

async fn stolen(client: &mut Amqp, link: LinkId) -> TestResult {
    assert_eq!(&*client.detached(link).await?.condition, condition::LINK_STOLEN);
    Ok(())
}

async fn keeps(client: &mut Amqp, link: LinkId) -> TestResult {
    let lost = tokio::time::timeout(Duration::from_millis(500), client.detached(link)).await;
    anyhow::ensure!(lost.is_err(), "it lost its place: {lost:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_is_taken_over_through_the_other_gateway() -> TestResult {
    let (cluster, first, second) = start().await?;
    let (mut a, mut b) = (back_end(&first).await?, back_end(&second).await?);
    let owner = read(&mut a, Some(0)).await?.unwrap();
    let equal = read(&mut b, Some(0)).await?.unwrap();
    stolen(&mut a, owner).await?;
    let higher = read(&mut a, Some(7)).await?.unwrap();
    stolen(&mut b, equal).await?;
    for epoch in [Some(6), None] {
        let (refused, words) = read(&mut b, epoch).await?.unwrap_err();
        assert_eq!(refused, condition::LINK_STOLEN, "{epoch:?}");
        assert!(words.contains('7'), "{words}");
    }
    keeps(&mut a, higher).await?;
    // Without it the epoch is forgotten.
    drop(a);
    eventually("the place is free", async || Ok(read(&mut b, None).await?.is_ok())).await?;
    drop(cluster);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sixth_reader_without_an_epoch_is_refused_whichever_gateway_it_asks() -> TestResult {
    let (cluster, first, second) = start().await?;
    let mut clients = [back_end(&first).await?, back_end(&second).await?];
    let mut links = Vec::new();
    for number in 0..SHARED_MAX {
        links.push(read(&mut clients[number % 2], None).await?.unwrap());
    }
    for client in &mut clients {
        let (refused, words) = read(client, None).await?.unwrap_err();
        assert_eq!(refused, condition::RESOURCE_LIMIT_EXCEEDED);
        assert!(words.starts_with("Exceeded the maximum number of allowed receivers"), "{words}");
    }
    // One with an epoch sends all of them away.
    let mut alone = back_end(&first).await?;
    let owner = read(&mut alone, Some(0)).await?.unwrap();
    for (number, link) in links.into_iter().enumerate() {
        stolen(&mut clients[number % 2], link).await?;
    }
    keeps(&mut alone, owner).await?;
    drop(cluster);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_outlives_the_leader_that_gave_it() -> TestResult {
    let (mut cluster, first, second) = start().await?;
    let (mut a, mut b) = (back_end(&first).await?, back_end(&second).await?);
    let owner = read(&mut a, Some(5)).await?.unwrap();
    let leader = cluster.leader(GroupId::HUB).await?;
    cluster.kill(leader)?;
    // As long as nobody leads, nobody is admitted; then those of before come first.
    let refused = tokio::time::timeout(2 * PATIENCE, async {
        loop {
            match read(&mut b, Some(4)).await? {
                Err((refused, _)) if refused == condition::LINK_STOLEN => return anyhow::Ok(()),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                Ok(_) => anyhow::bail!("a lower epoch is admitted"),
            }
        }
    });
    refused.await??;
    keeps(&mut a, owner).await?;
    let thief = read(&mut b, Some(5)).await?.unwrap();
    stolen(&mut a, owner).await?;
    keeps(&mut b, thief).await
}

/// Those that wait for their place count: here all of them do, because nobody leads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_has_a_limit_of_readers() -> TestResult {
    const READERS_MAX: usize = 1024;
    let (mut cluster, first, _second) = start().await?;
    let mut client = back_end(&first).await?;
    let leader = cluster.leader(GroupId::HUB).await?;
    cluster.kill(leader)?;
    let mut links = Vec::new();
    for _ in 0..READERS_MAX + 3 {
        let attach = receiver(&mut client, PARTITION, Some(0));
        links.push(client.attach_only(attach, 1)?);
    }
    for link in links.split_off(READERS_MAX) {
        assert_eq!(&*client.detached(link).await?.condition, condition::RESOURCE_LIMIT_EXCEEDED);
    }
    Ok(())
}
