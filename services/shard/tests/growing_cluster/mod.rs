//! A cluster over TCP in one process that begins with one node; others come, go and lose their disks.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use model::{Authentication, DeviceId, DeviceIdentity, DeviceStatus, ETag, GroupId};
use shard::{
    Config, Shard,
    group::{Leadership, Member},
    raft::NodeId,
};
use shard_client::{ClusterDescription, ClusterNode, Node, Precondition, RegistryError, ShardClient};
use tokio::{net::TcpListener, task::JoinHandle};

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

pub const PATIENCE: Duration = Duration::from_secs(60);
pub const GROUPS: u32 = 3;
/// Nodes that clients look for leaders at; a test starts no other.
const NODES_MAX: u64 = 6;

pub struct Cluster {
    pub shards: BTreeMap<NodeId, Shard>,
    members: Vec<Member>,
    listeners: BTreeMap<NodeId, TcpListener>,
    directory: tempfile::TempDir,
    adjust: fn(Config) -> Config,
}

impl Cluster {
    /// The first node, which founds the hub.
    pub async fn start(adjust: fn(Config) -> Config) -> Result<Self, Failure> {
        let (mut listeners, mut members) = (BTreeMap::new(), Vec::new());
        for node_id in 1..=NODES_MAX {
            let listener = TcpListener::bind("127.0.33.1:0").await?;
            members.push(Member { node_id, address: format!("http://{}", listener.local_addr()?) });
            listeners.insert(node_id, listener);
        }
        let directory = tempfile::tempdir()?;
        let mut cluster = Self { shards: BTreeMap::new(), members, listeners, directory, adjust };
        cluster.join(1).await?;
        Ok(cluster)
    }

    fn config(&self, node_id: NodeId) -> Config {
        // The first one founds the hub alone. Others name it first, which does not know them: they wait to be added.
        let known = if node_id == 1 { 1 } else { self.members.len() };
        let initial_members = self.members.get(..known).unwrap_or_default().to_vec();
        (self.adjust)(Config {
            node_id,
            directory: self.folder(node_id),
            groups: GROUPS,
            initial_members,
            name: format!("shard-{node_id}"),
            disk_reserve_bytes: 0,
            ..Config::default()
        })
    }

    pub fn folder(&self, node_id: NodeId) -> PathBuf {
        self.directory.path().join(node_id.to_string())
    }

    /// Starts a node on its disk, which is empty the first time.
    pub async fn join(&mut self, node_id: NodeId) -> Result<(), Failure> {
        let member = self.members.iter().find(|member| member.node_id == node_id).ok_or("no such node")?;
        let listener = match self.listeners.remove(&node_id) {
            Some(listener) => listener,
            None => TcpListener::bind(member.address.trim_start_matches("http://")).await?,
        };
        let mut shard = Shard::start(self.config(node_id)).await?;
        shard.serve_tcp(listener);
        self.shards.insert(node_id, shard);
        Ok(())
    }

    /// Stops a node; its disk stays.
    pub async fn stop(&mut self, node_id: NodeId) -> Result<(), Failure> {
        self.shards.remove(&node_id).ok_or("it does not run")?.shutdown().await;
        Ok(())
    }

    pub async fn client(&self) -> Result<ShardClient, Failure> {
        let node = |member: &Member| Ok::<_, Failure>(Node::remote(member.node_id, member.address.parse()?));
        let nodes = self.members.iter().map(node).collect::<Result<_, _>>()?;
        let config = shard_client::Config { request_timeout: PATIENCE, ..shard_client::Config::new(nodes, GROUPS) };
        Ok(ShardClient::connect(config).await)
    }

    pub fn leader(&self, group: GroupId) -> Option<NodeId> {
        let leads = |shard: &Shard| {
            let group = shard.node().group(group);
            group.is_some_and(|group| matches!(*group.leadership().borrow(), Leadership::Leading { .. }))
        };
        self.shards.iter().find(|(_, shard)| leads(shard)).map(|(node_id, _)| *node_id)
    }

    pub async fn finish(self) {
        futures::future::join_all(self.shards.into_values().map(Shard::shutdown)).await;
    }
}

/// Waits until nothing is left to do and the cluster is as described.
pub async fn settled(
    client: &ShardClient,
    is_it: impl Fn(&ClusterDescription) -> bool,
) -> Result<ClusterDescription, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = client.describe_cluster().await?;
        if now.is_settled && is_it(&now) {
            return Ok(now);
        }
        if Instant::now() > deadline {
            return Err(format!("not settled: {now:#?}").into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What each registered node has: groups that it votes in, and leads.
pub fn loads(cluster: &ClusterDescription) -> Vec<(NodeId, u32, u32)> {
    let load = |node: &ClusterNode| (node.node_id, node.replicas, node.leaders);
    cluster.nodes.iter().map(load).collect()
}

/// Whether the nodes are these, in some state, and each group has so many voters.
pub fn is_spread(cluster: &ClusterDescription, nodes: usize, voters: usize) -> bool {
    cluster.nodes.len() == nodes
        && cluster.groups.len() == GROUPS as usize + 1
        && cluster.groups.iter().all(|group| group.replicas.iter().filter(|it| it.is_voter).count() == voters)
}

pub fn device(device_id: &str) -> Result<DeviceIdentity, Failure> {
    Ok(DeviceIdentity {
        device_id: device_id.parse()?,
        generation_id: "638000000000000000".into(),
        etag: ETag(0),
        status: DeviceStatus::Enabled,
        status_reason: None,
        status_updated_time: None,
        authentication: Authentication::None,
        iot_edge: false,
        device_scope: None,
        parent_scopes: Vec::new(),
        connected: false,
        connection_state_updated_time: None,
        last_activity_time: None,
        cloud_to_device_message_count: 0,
    })
}

/// Creates devices all the time, and remembers which were acknowledged.
pub struct Writer {
    ended: Arc<AtomicBool>,
    task: JoinHandle<Result<(Vec<DeviceId>, Duration), Failure>>,
}

impl Writer {
    pub fn start(client: ShardClient, prefix: &'static str) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let until = ended.clone();
        let task = tokio::spawn(async move {
            let (mut written, mut longest) = (Vec::new(), Duration::ZERO);
            while !until.load(Ordering::Relaxed) {
                let identity = device(&format!("{prefix}-{}", written.len()))?;
                let began = Instant::now();
                client.put_device(&identity, Precondition::Absent).await?;
                longest = longest.max(began.elapsed());
                written.push(identity.device_id);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Ok((written, longest))
        });
        Self { ended, task }
    }

    /// Ends it and looks for everything that was acknowledged; each was applied once.
    pub async fn check(self, client: &ShardClient) -> Result<(), Failure> {
        self.ended.store(true, Ordering::Relaxed);
        let (written, longest) = self.task.await??;
        println!("{} devices were created; the slowest took {longest:?}", written.len());
        assert!(!written.is_empty());
        for device_id in &written {
            let again = client.put_device(&device(device_id.as_str())?, Precondition::Absent).await;
            assert_eq!(again.err(), Some(RegistryError::DeviceAlreadyExists), "{device_id} is lost");
        }
        Ok(())
    }
}
