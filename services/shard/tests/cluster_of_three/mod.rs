//! Three nodes over TCP in one process.

use std::time::Duration;

use model::GroupId;
use shard::{
    Config, Shard,
    group::{Leadership, Member},
};
use shard_client::{Node, ShardClient};
use tokio::net::TcpListener;

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

const NODES: u64 = 3;
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Cluster {
    /// Taken out when it is shut down.
    shards: Vec<Option<Shard>>,
    members: Vec<Member>,
    _directory: tempfile::TempDir,
}

impl Cluster {
    /// One device group and the hub group on every node.
    pub async fn start() -> Result<Self, Failure> {
        let directory = tempfile::tempdir()?;
        let (mut listeners, mut members) = (Vec::new(), Vec::new());
        for node_id in 1..=NODES {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            members.push(Member { node_id, address: format!("http://{}", listener.local_addr()?) });
            listeners.push(listener);
        }
        let mut shards = Vec::new();
        for (node_id, listener) in (1..).zip(listeners) {
            let config = Config {
                node_id,
                directory: directory.path().join(node_id.to_string()),
                groups: 1,
                initial_members: members.clone(),
                ..Config::default()
            };
            let mut shard = Shard::start(config).await?;
            shard.serve_tcp(listener);
            shards.push(Some(shard));
        }
        Ok(Self { shards, members, _directory: directory })
    }

    pub async fn client(&self) -> Result<ShardClient, Failure> {
        let node = |member: &Member| Ok::<_, Failure>(Node::remote(member.node_id, member.address.parse()?));
        let nodes = self.members.iter().map(node).collect::<Result<_, _>>()?;
        let config = shard_client::Config { request_timeout: PATIENCE, ..shard_client::Config::new(nodes, 1) };
        Ok(ShardClient::connect(config).await)
    }

    /// Position of the node that leads the group.
    fn leader(&self, group: GroupId) -> Option<usize> {
        self.shards.iter().position(|shard| {
            let group = shard.as_ref().and_then(|shard| shard.node().group(group));
            group.is_some_and(|group| matches!(*group.leadership().borrow(), Leadership::Leading { .. }))
        })
    }

    pub async fn stop_leader(&mut self, group: GroupId) -> Result<(), Failure> {
        let leader = self.leader(group).ok_or("nobody leads")?;
        let shard = self.shards.get_mut(leader).and_then(Option::take).ok_or("no such node")?;
        shard.shutdown().await;
        Ok(())
    }

    pub async fn stop(self) {
        futures::future::join_all(self.shards.into_iter().flatten().map(Shard::shutdown)).await;
    }
}
