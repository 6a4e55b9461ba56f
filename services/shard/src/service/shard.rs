//! A shard node, running.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use peer::{Credentials, Role};
use proto::shard::v1::shard_server::ShardServer;
use tokio::{
    io::DuplexStream,
    net::TcpListener,
    sync::mpsc,
    task::{AbortHandle, JoinHandle, JoinSet},
    time::timeout,
};
use tokio_stream::{
    Stream, StreamExt,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tokio_util::sync::CancellationToken;
use tonic::{
    service::interceptor::InterceptedService,
    transport::{Server, server::Connected, server::Router},
};

use super::{Groups, Leader, ShardService, access::Access};
use crate::{
    ShardMetrics,
    group::{Config, Environment, Health, Node},
    membership::{Driver, MembershipService, register},
    raft::Connect,
    store::OpenError,
};

/// Largest message in either direction, bytes.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Bytes of one stream, and of one connection, that may be under way unread.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Calls of one connection at the same time: methods wait for minutes.
const STREAMS_MAX: u32 = 65_536;
/// A gateway or node that does not answer a ping for that long is gone.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// Streams that have not ended then are cut.
const STREAMS_END_WITHIN: Duration = Duration::from_secs(2);
/// Connections within the process that wait to be accepted.
const IN_PROCESS_QUEUE_MAX: usize = 16;

/// All groups of this process, their leaders' tasks and the gRPC services. End it with [`Shard::shutdown`].
pub struct Shard {
    node: Node,
    groups: Arc<Groups>,
    membership: Arc<MembershipService>,
    driver: Arc<Driver>,
    leaders: JoinSet<()>,
    servers: Vec<JoinHandle<()>>,
    leading: CancellationToken,
    serving: CancellationToken,
    metrics: ShardMetrics,
}

impl Shard {
    /// Opens the disk and starts every group. Nobody is served yet.
    pub async fn start(config: Config) -> Result<Self, OpenError> {
        Self::lead(Node::open(config).await?)
    }

    /// The same; other nodes are connected to like this.
    pub async fn start_over(config: Config, connect: Connect) -> Result<Self, OpenError> {
        Self::lead(Node::open_over(config, connect).await?)
    }

    /// The same on another disk and network.
    pub async fn start_in(config: Config, environment: Environment) -> Result<Self, OpenError> {
        Self::lead(Node::open_in(config, environment).await?)
    }

    fn lead(node: Node) -> Result<Self, OpenError> {
        let metrics =
            ShardMetrics::new(node.transfers().clone()).map_err(|error| OpenError::Configuration(error.to_string()))?;
        let leading = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let mut leaders = Vec::new();
        for group in node.groups() {
            let leader = Arc::new(Leader::new(group.id(), group.clone(), metrics.clone()));
            if let Some(effects) = group.effects() {
                tasks.spawn(leader.clone().run(effects, leading.clone()));
            }
            leaders.push(leader);
        }
        let groups = Arc::new(Groups::new(leaders));
        let membership = MembershipService::new(node.node_id(), groups.clone(), node.connect());
        let driver = Driver::new(membership.clone());
        tasks.spawn(driver.clone().run(leading.clone()));
        let registering = register(membership.clone(), node.registration(), node.other_addresses());
        let registering = leading.clone().run_until_cancelled_owned(registering);
        tasks.spawn(async move { _ = registering.await });
        let serving = CancellationToken::new();
        Ok(Self { node, groups, membership, driver, leaders: tasks, servers: Vec::new(), leading, serving, metrics })
    }

    /// The node, for its health and leadership.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// What is wrong now.
    pub fn health(&self) -> Health {
        self.node.health()
    }

    /// What its leaders count.
    pub fn metrics(&self) -> &ShardMetrics {
        &self.metrics
    }

    /// Serves gateways and other nodes on the listener. Whoever can connect is trusted: it is for loopback.
    pub fn serve_tcp(&mut self, listener: TcpListener) {
        let connections = TcpListenerStream::new(listener).map(|connection| {
            connection.inspect(|connection| {
                // Frames are written whole; waiting for more to send only adds latency.
                let _ = connection.set_nodelay(true);
            })
        });
        self.serve(connections);
    }

    /// Serves whoever sends ends of connections into what is returned (`shard_client::Node::in_process`).
    pub fn serve_in_process(&mut self) -> mpsc::Sender<DuplexStream> {
        let (connector, connections) = mpsc::channel(IN_PROCESS_QUEUE_MAX);
        self.serve(ReceiverStream::new(connections).map(Ok));
        connector
    }

    /// Serves gateways and other nodes on the connections, as they come. Whoever can connect is trusted: it is for
    /// connections within a process or a test.
    pub fn serve<C>(&mut self, connections: impl Stream<Item = std::io::Result<C>> + Send + 'static)
    where
        C: tokio::io::AsyncRead + tokio::io::AsyncWrite + Connected + Unpin + Send + 'static,
    {
        let router = self.router(|_| None);
        self.run(router, connections);
    }

    /// Serves the processes of the cluster on the listener, each what its role may call: other shards everything,
    /// gateways what is not between shards.
    pub fn serve_peers(&mut self, listener: TcpListener, credentials: Arc<Credentials>) {
        let router = self.router(Some);
        self.run(router, peer::accept(listener, credentials));
    }

    /// All services, for the roles that `limit` makes of those that they are for.
    fn router(&self, limit: fn(&'static [Role]) -> Option<&'static [Role]>) -> Router {
        let access = |roles| Access { node_id: self.node.node_id(), roles: limit(roles) };
        let (between_shards, for_all) = (access(&[Role::Shard]), access(&[Role::Gateway, Role::Shard]));
        Server::builder()
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
            .max_concurrent_streams(Some(STREAMS_MAX))
            .add_service(InterceptedService::new(self.node.raft_service(self.serving.clone()), between_shards))
            .add_service(InterceptedService::new(self.membership.server(), between_shards))
            .add_service(InterceptedService::new(self.shard_service(), for_all))
    }

    fn run<C>(&mut self, router: Router, connections: impl Stream<Item = std::io::Result<C>> + Send + 'static)
    where
        C: tokio::io::AsyncRead + tokio::io::AsyncWrite + Connected + Unpin + Send + 'static,
    {
        let ended = self.serving.clone().cancelled_owned();
        self.servers.push(tokio::spawn(async move {
            if let Err(error) = router.serve_with_incoming_shutdown(connections, ended).await {
                tracing::error!(%error, "a server of the shard ended");
            }
        }));
    }

    fn shard_service(&self) -> ShardServer<ShardService> {
        let (groups, driver) = (self.groups.clone(), self.driver.clone());
        ShardServer::new(ShardService::new(self.node.node_id(), groups, driver, self.serving.clone()))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Lets others lead what it leads, answers what was read, closes the streams of gateways, stops serving, and closes
    /// the disk.
    pub async fn shutdown(self) {
        self.membership.hand_over().await;
        let Self { node, groups, membership, driver, mut leaders, servers, leading, serving, .. } = self;
        serving.cancel();
        leading.cancel();
        while leaders.join_next().await.is_some() {}
        drop((groups, membership, driver));
        let aborts: Vec<_> = servers.iter().map(JoinHandle::abort_handle).collect();
        if timeout(STREAMS_END_WITHIN, join_all(servers)).await.is_err() {
            aborts.iter().for_each(AbortHandle::abort);
        }
        node.shutdown().await;
    }
}
