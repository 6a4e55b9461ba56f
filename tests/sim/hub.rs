//! The hub under test: real shard nodes and real clients of them, as gateways have; only disks and links are pretended.

use std::{ops::Range, sync::Arc, time::Duration};

use model::{Authentication, DeviceId, DeviceIdentity, HubSettings, SymmetricKey, SymmetricKeys};
use shard::{
    Config, Shard,
    group::{Environment, Member},
    store::MemoryStore,
};
use shard_client::{Node, Precondition, RegistryError, ShardClient};
use tonic::transport::Uri;

use crate::{
    network::{HostId, Network, address},
    random::Random,
    run::{Phase, Shared},
    workload,
};

/// Hosts with a disk; host `n` is node `n + 1`.
pub const SHARDS: Range<HostId> = 0..3;
/// Hosts that devices and back ends are connected to.
pub const GATEWAYS: Range<HostId> = 3..5;
/// Device groups.
pub const GROUPS: u32 = 2;

/// The devices: some in each group.
pub fn device_ids() -> impl Iterator<Item = DeviceId> {
    ["a", "b", "c", "d"].into_iter().filter_map(|id| id.parse().ok())
}

/// A shard node, for as long as its host lives.
pub async fn run_shard(host: HostId, disk: Arc<MemoryStore>, network: Arc<Network>, shared: Arc<Shared>) {
    let member = |host: HostId| Member { node_id: host as u64 + 1, address: address(host) };
    let config = Config {
        node_id: host as u64 + 1,
        groups: GROUPS,
        initial_members: SHARDS.map(member).collect(),
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
    let node = |shard: HostId| {
        let uri = Uri::try_from(address(shard)).unwrap_or_default();
        Node::over(shard as u64 + 1, uri, |endpoint| network.channel(host, endpoint))
    };
    let client = ShardClient::connect(shard_client::Config::new(SHARDS.map(node).collect(), GROUPS)).await;
    if shared.phase() == Phase::Preparing && host == GATEWAYS.start {
        prepare(&client).await;
        shared.enter(Phase::Working);
    }
    shared.reach(Phase::Working).await;
    workload::run(host, client, shared, random).await;
}

/// Makes the hub and its devices, however often it has to be tried.
async fn prepare(client: &ShardClient) {
    let settings = HubSettings { groups: GROUPS, ..HubSettings::default() };
    while client.initialize_hub(&settings).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let key = || SymmetricKey::from_bytes(&[7; 32]);
    for id in device_ids() {
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
