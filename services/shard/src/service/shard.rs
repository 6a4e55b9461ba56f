//! A shard node, running.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use model::GroupId;
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
use tonic::transport::{Server, server::Connected, server::Router};

use super::{Groups, Leader, ShardService};
use crate::{
    ShardMetrics,
    group::{Config, Environment, Health, Node},
    membership::{Driver, MembershipService, register},
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

    /// The same on another disk and network.
    pub async fn start_in(config: Config, environment: Environment) -> Result<Self, OpenError> {
        Self::lead(Node::open_in(config, environment).await?)
    }

    fn lead(node: Node) -> Result<Self, OpenError> {
        let metrics = ShardMetrics::new().map_err(|error| OpenError::Configuration(error.to_string()))?;
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

    /// Whether the hub's settings can be served: the `hub` group has a leader here or elsewhere.
    pub fn is_ready(&self) -> bool {
        !self.node.health().leaderless_groups.contains(&GroupId::HUB)
    }

    /// Serves gateways and other nodes on the listener.
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

    /// Serves gateways and other nodes on the connections, as they come.
    pub fn serve<C>(&mut self, connections: impl Stream<Item = std::io::Result<C>> + Send + 'static)
    where
        C: tokio::io::AsyncRead + tokio::io::AsyncWrite + Connected + Unpin + Send + 'static,
    {
        let router = self.router();
        let ended = self.serving.clone().cancelled_owned();
        self.servers.push(tokio::spawn(async move {
            if let Err(error) = router.serve_with_incoming_shutdown(connections, ended).await {
                tracing::error!(%error, "a server of the shard ended");
            }
        }));
    }

    fn router(&self) -> Router {
        let shard = ShardServer::new(ShardService::new(self.groups.clone(), self.driver.clone(), self.serving.clone()))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Server::builder()
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
            .max_concurrent_streams(Some(STREAMS_MAX))
            .add_service(self.node.raft_service())
            .add_service(self.membership.server())
            .add_service(shard)
    }

    /// Answers what was read, closes the streams of gateways, stops serving, and closes the disk.
    pub async fn shutdown(self) {
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
