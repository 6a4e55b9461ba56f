//! The hub under test: real shard nodes and real clients of them, as gateways have; only disks and links are pretended.

use std::{net::SocketAddr, ops::Range, sync::Arc, time::Duration};

use eventlog::Topic;
use futures::{Stream, StreamExt};
use gateway::{Dependencies, Gateway, TicketSecret};
use model::{Authentication, DeviceId, DeviceIdentity, HubSettings, SymmetricKey, SymmetricKeys};
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use shard::{
    Config, Shard,
    group::{Environment, Member},
    store::MemoryStore,
};
use shard_client::{Node, Precondition, RegistryError, ShardClient};
use tonic::transport::Uri;

use crate::{
    network::{self, HostId, Network, address},
    random::Random,
    run::{Phase, Shared},
    workload,
};

/// Hosts with a disk.
pub const SHARDS: Range<HostId> = 0..4;
/// Those that the hub begins with; the others join it.
const FOUNDERS: Range<HostId> = 0..3;
/// Hosts that devices and back ends are connected to.
pub const GATEWAYS: Range<HostId> = 4..6;
/// The host of all devices that speak MQTT.
pub const DEVICES: HostId = 6;
/// Topic of telemetry, of which none is sent: the event log of a cluster is Kafka's.
pub const EVENTS: &str = "events";
/// The name of the hub in tokens.
pub const HOST_NAME: &str = "hub.example";
/// Device groups.
pub const GROUPS: u32 = 2;

/// Devices whose connections are held at gateways without a protocol: some in each group.
pub fn device_ids() -> impl Iterator<Item = DeviceId> {
    ["a", "b"].into_iter().filter_map(|id| id.parse().ok())
}

/// Devices that speak MQTT: some in each group.
pub fn mqtt_device_ids() -> impl Iterator<Item = DeviceId> {
    ["c", "d"].into_iter().filter_map(|id| id.parse().ok())
}

/// The key of every device.
pub fn key() -> SymmetricKey {
    SymmetricKey::from_bytes(&[7; 32])
}

/// The node that a host is with its first disk, its second one and so on.
pub fn node_id(host: HostId, disks_lost: u64) -> u64 {
    host as u64 + 1 + 100 * disks_lost
}

/// A shard node, for as long as its host lives.
pub async fn run_shard(host: HostId, node_id: u64, disk: Arc<MemoryStore>, network: Arc<Network>, shared: Arc<Shared>) {
    let founder = |host: HostId| Member { node_id: self::node_id(host, 0), address: address(host) };
    let config = Config {
        node_id,
        groups: GROUPS,
        // An empty disk whose id is not among them waits to be added.
        initial_members: FOUNDERS.map(founder).collect(),
        address: address(host),
        name: format!("host-{host}"),
        // Small, so that a node that was away for seconds needs a snapshot.
        log_entries_max: 40,
        log_entries_kept: 20,
        log_memory_bytes: 4 << 10,
        disk_reserve_bytes: 1000,
        ..Config::default()
    };
    let links = network.clone();
    let environment = Environment { store: disk, connect: Arc::new(move |endpoint| links.channel(host, endpoint)) };
    match Shard::start_in(config, environment).await {
        Ok(mut shard) => {
            shard.serve(network.listen(host));
            std::future::pending::<()>().await;
        }
        Err(error) => shared.oracle.lock().violation(&format!("shard {host} does not start: {error}")),
    }
}

/// A gateway with its devices and back ends, for as long as its host lives.
pub async fn run_gateway(host: HostId, network: Arc<Network>, shared: Arc<Shared>, random: Random) {
    let client = connect(host, &network).await;
    match gateway(client.clone(), &shared) {
        Ok(gateway) => drop(tokio::spawn(accept(Arc::new(gateway), network.listen(host)))),
        Err(error) => shared.oracle.lock().violation(&format!("gateway {host} does not start: {error}")),
    }
    if shared.phase() == Phase::Preparing && host == GATEWAYS.start {
        prepare(&client).await;
        shared.enter(Phase::Working);
    }
    shared.reach(Phase::Working).await;
    workload::run(host, network, client, shared, random).await;
}

/// The devices that speak MQTT, for as long as their host lives.
pub async fn run_devices(host: HostId, network: Arc<Network>, shared: Arc<Shared>, random: Random) {
    let client = connect(host, &network).await;
    workload::run_devices(host, network, client, shared, random).await;
}

async fn connect(host: HostId, network: &Arc<Network>) -> ShardClient {
    let node = |shard: HostId| {
        let uri = Uri::try_from(address(shard)).unwrap_or_default();
        Node::over(node_id(shard, 0), uri, |endpoint| network.channel(host, endpoint))
    };
    ShardClient::connect(shard_client::Config::new(SHARDS.map(node).collect(), GROUPS)).await
}

fn gateway(shard_client: ShardClient, shared: &Shared) -> anyhow::Result<Gateway> {
    let cloud_to_device = gateway::config::CloudToDevice { lock_seconds: 10, ..Default::default() };
    let config = gateway::Config { host_names: vec![HOST_NAME.into()], cloud_to_device, ..Default::default() };
    let dependencies = Dependencies {
        shard_client,
        event_log: shared.event_log.clone(),
        events: Topic::new(EVENTS),
        certificates: Arc::new(NoCertificate),
        ticket_secret: TicketSecret::new([7; 32]),
        metrics: runtime::Metrics::new()?,
    };
    Ok(Gateway::without_listeners(config, dependencies)?)
}

/// Nobody speaks TLS here.
#[derive(Debug)]
struct NoCertificate;

impl ResolvesServerCert for NoCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

async fn accept(gateway: Arc<Gateway>, mut connections: impl Stream<Item = std::io::Result<network::Stream>> + Unpin) {
    let peer = SocketAddr::from(([127, 0, 0, 1], 1));
    while let Some(Ok(stream)) = connections.next().await {
        let gateway = gateway.clone();
        tokio::spawn(async move { gateway.serve_websocket(Box::new(stream), peer).await });
    }
}

/// Makes the hub and its devices, however often it has to be tried.
async fn prepare(client: &ShardClient) {
    let settings = HubSettings { groups: GROUPS, ..HubSettings::default() };
    while client.initialize_hub(&settings).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for id in device_ids().chain(mqtt_device_ids()) {
        let mut identity =
            DeviceIdentity::new(id, Authentication::Sas(SymmetricKeys { primary: key(), secondary: key() }));
        identity.generation_id = "1".into();
        while !matches!(
            client.put_device(&identity, Precondition::Absent).await,
            Ok(_) | Err(RegistryError::DeviceAlreadyExists)
        ) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
