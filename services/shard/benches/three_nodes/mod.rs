//! Three nodes over TCP in one process, each with a runtime of its own, so that one can be killed.

#![allow(dead_code, reason = "every program here uses its part")]

use std::{error::Error, net::SocketAddr, path::PathBuf, time::Duration};

use model::GroupId;
use shard::{
    Config, Shard,
    group::{Group, Leadership, Member},
    store::OpenError,
};
use shard_client::{Node, ShardClient};
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::{Builder, Runtime},
    time::sleep,
};

pub type Failure = Box<dyn Error + Send + Sync>;

pub const NODES: u64 = 3;
const WORKER_THREADS: usize = 2;
const BACKLOG: u32 = 128;
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(1);

pub struct ThreeNodes {
    /// `None`: killed.
    nodes: Vec<Option<Running>>,
    members: Vec<Member>,
    groups: u32,
    adjust: Box<dyn Fn(Config) -> Config>,
    directory: tempfile::TempDir,
}

struct Running {
    shard: Shard,
    runtime: Runtime,
}

impl ThreeNodes {
    /// Three nodes with so many device groups and the hub group, each a voter in all of them.
    pub async fn start(groups: u32, adjust: impl Fn(Config) -> Config + 'static) -> Result<Self, Failure> {
        let (mut sockets, mut members) = (Vec::new(), Vec::new());
        for node_id in 1..=NODES {
            let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
            members.push(Member { node_id, address: format!("http://{}", socket.local_addr()?) });
            sockets.push(socket);
        }
        drop(sockets);
        let directory = tempfile::tempdir_in(".")?;
        let nodes: Vec<_> = members.iter().map(|_| None).collect();
        let mut nodes = Self { nodes, members, groups, adjust: Box::new(adjust), directory };
        for node in 0..NODES as usize {
            nodes.restart(node).await?;
        }
        Ok(nodes)
    }

    /// The folder of the node's database.
    pub fn folder(&self, node: usize) -> PathBuf {
        self.directory.path().join(node.to_string())
    }

    /// Starts a node that was killed, as soon as its disk is free.
    pub async fn restart(&mut self, node: usize) -> Result<(), Failure> {
        let free = async {
            loop {
                match self.run(node).await {
                    Err(error) if matches!(error.downcast_ref(), Some(OpenError::InUse(_))) => sleep(LOOK_EVERY).await,
                    running => return running,
                }
            }
        };
        let running = tokio::time::timeout(PATIENCE, free).await??;
        *self.nodes.get_mut(node).ok_or("no such node")? = Some(running);
        Ok(())
    }

    async fn run(&self, node: usize) -> Result<Running, Failure> {
        let member = self.members.get(node).ok_or("no such node")?;
        let config = (self.adjust)(Config {
            node_id: member.node_id,
            directory: self.folder(node),
            groups: self.groups,
            initial_members: self.members.clone(),
            ..Config::default()
        });
        let address: SocketAddr = member.address.trim_start_matches("http://").parse()?;
        let runtime = Builder::new_multi_thread().worker_threads(WORKER_THREADS).enable_all().build()?;
        let started = runtime.spawn(async move {
            let mut shard = Shard::start(config).await?;
            shard.serve_tcp(listen(address)?);
            Ok::<_, Failure>(shard)
        });
        Ok(Running { shard: started.await??, runtime })
    }

    /// Ends a node in the middle of whatever it does; its connections are closed by the kernel.
    pub fn kill(&mut self, node: usize) {
        if let Some(Running { shard, runtime }) = self.nodes.get_mut(node).and_then(Option::take) {
            runtime.shutdown_background();
            drop(shard);
        }
    }

    /// What a gateway has.
    pub async fn client(&self) -> Result<ShardClient, Failure> {
        let node = |member: &Member| Ok::<_, Failure>(Node::remote(member.node_id, member.address.parse()?));
        let nodes = self.members.iter().map(node).collect::<Result<_, _>>()?;
        let config =
            shard_client::Config { request_timeout: PATIENCE, ..shard_client::Config::new(nodes, self.groups) };
        Ok(ShardClient::connect(config).await)
    }

    /// A group as that node has it.
    pub fn group(&self, node: usize, group: GroupId) -> Option<&Group> {
        self.nodes.get(node)?.as_ref()?.shard.node().group(group)
    }

    fn running(&self) -> impl Iterator<Item = (usize, &Running)> {
        self.nodes.iter().enumerate().filter_map(|(index, node)| Some((index, node.as_ref()?)))
    }

    /// The hub group and the device groups.
    pub fn group_ids(&self) -> impl Iterator<Item = GroupId> + use<> {
        std::iter::once(GroupId::HUB).chain(GroupId::devices(self.groups))
    }

    /// Which node leads the group.
    pub fn leader(&self, group: GroupId) -> Option<usize> {
        let leads = |node: &Running| {
            let group = node.shard.node().group(group);
            group.is_some_and(|group| matches!(*group.leadership().borrow(), Leadership::Leading { .. }))
        };
        self.running().find(|(_, node)| leads(node)).map(|(index, _)| index)
    }

    /// Waits until every group has a leader.
    pub async fn wait_for_leaders(&self) -> Result<(), Failure> {
        let all = async {
            for group in self.group_ids() {
                while self.leader(group).is_none() {
                    sleep(LOOK_EVERY).await;
                }
            }
        };
        Ok(tokio::time::timeout(PATIENCE, all).await?)
    }

    /// Ends them in order.
    pub async fn stop(mut self) {
        for Running { shard, runtime } in self.nodes.drain(..).flatten() {
            let _ = runtime.spawn(shard.shutdown()).await;
            runtime.shutdown_background();
        }
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket.listen(BACKLOG)?)
}
