//! Three shard nodes with disks of their own that talk gRPC over TCP, and clients of them as gateways have.
//!
//! Every node lives on a runtime of its own: dropping that runtime stops it in the middle of whatever it does, which is
//! as near to a kill as one process allows.

use std::{
    net::{SocketAddr, TcpListener as StdListener},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use model::GroupId;
use shard::{
    Config, Shard,
    group::{Leadership, Member},
};
use shard_client::{Node, ShardClient};
use tempfile::TempDir;
use tokio::{net::TcpListener, runtime::Runtime};

use crate::patience::PATIENCE;

const NODES: usize = 3;
/// Device groups; enough that leaders are spread.
pub const GROUPS: u32 = 2;

/// A running node.
pub struct ClusterNode {
    runtime: Runtime,
    shard: Shard,
}

/// The nodes, numbered from 0; node `n` has Raft node id `n + 1`.
pub struct Cluster {
    folder: TempDir,
    addresses: Vec<SocketAddr>,
    nodes: Vec<Option<ClusterNode>>,
    adjust: fn(Config) -> Config,
}

impl Cluster {
    /// Starts all nodes of a new hub.
    pub async fn start(adjust: fn(Config) -> Config) -> anyhow::Result<Self> {
        let listeners: Vec<_> = (0..NODES).map(|_| StdListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
        let addresses = listeners.iter().map(StdListener::local_addr).collect::<Result<_, _>>()?;
        drop(listeners);
        let nodes = (0..NODES).map(|_| None).collect();
        let mut cluster = Self { folder: tempfile::tempdir()?, addresses, nodes, adjust };
        for position in 0..NODES {
            cluster.start_node(position).await?;
        }
        Ok(cluster)
    }

    /// A client such as a gateway has.
    pub async fn client(&self) -> anyhow::Result<ShardClient> {
        let mut nodes = Vec::new();
        for (position, address) in self.addresses.iter().enumerate() {
            nodes.push(Node::remote(position as u64 + 1, format!("http://{address}").parse()?));
        }
        let mut config = shard_client::Config::new(nodes, GROUPS);
        config.request_timeout = Duration::from_secs(15);
        Ok(ShardClient::connect(config).await)
    }

    /// Starts a node, new or again.
    pub async fn start_node(&mut self, position: usize) -> anyhow::Result<()> {
        let (config, address) = (self.config(position)?, *self.addresses.get(position).context("no such node")?);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let started = runtime.spawn(async move {
            let deadline = Instant::now() + PATIENCE;
            loop {
                // A killed node's database and port are free once its last task is gone.
                match start(config.clone(), address).await {
                    Err(error) if Instant::now() > deadline => return Err(error),
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                    started => return started,
                }
            }
        });
        let node = ClusterNode { shard: started.await??, runtime };
        *self.nodes.get_mut(position).context("no such node")? = Some(node);
        Ok(())
    }

    /// Stops a node in the middle of what it does.
    pub fn kill(&mut self, position: usize) -> anyhow::Result<()> {
        let node = self.nodes.get_mut(position).and_then(Option::take).context("it does not run")?;
        drop(node.shard);
        node.runtime.shutdown_background();
        Ok(())
    }

    /// The node that leads the group.
    pub async fn leader(&self, group: GroupId) -> anyhow::Result<usize> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let leads = |node: &Option<ClusterNode>| {
                let group = node.as_ref().and_then(|node| node.shard.node().group(group));
                group.is_some_and(|group| matches!(*group.leadership().borrow(), Leadership::Leading { .. }))
            };
            if let Some(position) = self.nodes.iter().position(leads) {
                return Ok(position);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bail!("nobody leads group {group}")
    }

    /// A running node.
    pub fn node(&self, position: usize) -> anyhow::Result<&Shard> {
        Ok(&self.nodes.get(position).and_then(Option::as_ref).context("it does not run")?.shard)
    }

    fn config(&self, position: usize) -> anyhow::Result<Config> {
        let member = |(position, address): (usize, &SocketAddr)| Member {
            node_id: position as u64 + 1,
            address: format!("http://{address}"),
        };
        let directory: PathBuf = self.folder.path().join(position.to_string());
        std::fs::create_dir_all(&directory)?;
        Ok((self.adjust)(Config {
            node_id: position as u64 + 1,
            directory,
            groups: GROUPS,
            initial_members: self.addresses.iter().enumerate().map(member).collect(),
            ..Config::default()
        }))
    }
}

async fn start(config: Config, address: SocketAddr) -> anyhow::Result<Shard> {
    let listener = TcpListener::bind(address).await?;
    let mut shard = Shard::start(config).await?;
    shard.serve_tcp(listener);
    Ok(shard)
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for position in 0..NODES {
            // A node that was killed already is none.
            let _ = self.kill(position);
        }
    }
}
