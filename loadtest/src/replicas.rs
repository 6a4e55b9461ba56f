//! Three shard nodes of our own, each on a runtime and a disk folder of its own: what a cluster's twins cost without
//! gateways, for a comparison with etcd, which has none either.

use std::{
    net::{SocketAddr, TcpListener as StdListener},
    time::Duration,
};

use anyhow::Context;
use model::{Authentication, DeviceIdentity, Principal, SymmetricKey, SymmetricKeys};
use shard::{
    Shard,
    group::{Config, Member},
};
use shard_client::{Node, Precondition, ShardClient};
use tempfile::TempDir;
use tokio::{net::TcpListener, runtime::Runtime};

const NODES: u64 = 3;
/// Device groups: as `ironhub all` has.
const GROUPS: u32 = 4;

/// The running nodes; they end with this value.
pub struct Replicas {
    nodes: Vec<(Option<Shard>, Option<Runtime>)>,
    addresses: Vec<SocketAddr>,
    _folder: TempDir,
}

impl Replicas {
    /// Starts all nodes of a new hub.
    pub async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let free: Vec<_> = (0..NODES).map(|_| StdListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
        let addresses: Vec<SocketAddr> = free.iter().map(StdListener::local_addr).collect::<Result<_, _>>()?;
        drop(free);
        let member = |(address, node_id): (&SocketAddr, u64)| Member { node_id, address: format!("http://{address}") };
        let members: Vec<_> = addresses.iter().zip(1..).map(member).collect();
        let mut nodes = Vec::new();
        for (address, node_id) in addresses.iter().copied().zip(1..) {
            let directory = folder.path().join(node_id.to_string());
            std::fs::create_dir_all(&directory)?;
            let initial_members = members.clone();
            let config = Config { node_id, directory, groups: GROUPS, initial_members, ..Config::default() };
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
            let started = runtime.spawn(async move {
                let listener = TcpListener::bind(address).await?;
                let mut shard = Shard::start(config).await?;
                shard.serve_tcp(listener);
                anyhow::Ok(shard)
            });
            nodes.push((Some(started.await??), Some(runtime)));
        }
        Ok(Self { nodes, addresses, _folder: folder })
    }

    /// A client as a gateway has.
    pub async fn client(&self) -> anyhow::Result<ShardClient> {
        let node = |(address, id): (&SocketAddr, u64)| Ok(Node::remote(id, format!("http://{address}").parse()?));
        let nodes = self.addresses.iter().zip(1..).map(node).collect::<anyhow::Result<_>>()?;
        let mut config = shard_client::Config::new(nodes, GROUPS);
        config.request_timeout = Duration::from_secs(30);
        Ok(ShardClient::connect(config).await)
    }

    /// Registers that many devices.
    pub async fn devices(client: &ShardClient, count: u32) -> anyhow::Result<Vec<Principal>> {
        let key = || SymmetricKey::from_bytes(&[7; 32]);
        let mut devices = Vec::new();
        for number in 0..count {
            let id = format!("device-{number}").parse().context("a device id")?;
            let keys = SymmetricKeys { primary: key(), secondary: key() };
            let mut identity = DeviceIdentity::new(id, Authentication::Sas(keys));
            identity.generation_id = "1".into();
            client.put_device(&identity, Precondition::Anything).await?;
            devices.push(Principal::device(identity.device_id));
        }
        Ok(devices)
    }
}

impl Drop for Replicas {
    fn drop(&mut self) {
        for (shard, runtime) in &mut self.nodes {
            drop(shard.take());
            runtime.take().into_iter().for_each(Runtime::shutdown_background);
        }
    }
}
