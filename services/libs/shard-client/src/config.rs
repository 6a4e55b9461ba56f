//! Where the shard nodes are and how long to try.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use tokio::{io::DuplexStream, sync::mpsc};
use tonic::{
    codegen::Service,
    transport::{Channel, Endpoint, Uri},
};

use crate::Discovery;

/// Bytes of one stream that may be under way unread.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// Bytes of one connection that may be under way unread.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// What a connection within the process holds in each direction.
const IN_PROCESS_BUFFER_BYTES: usize = 256 << 10;
/// A node that does not answer a ping for that long is gone.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// One shard node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its Raft node id, as other nodes name it in their hints.
    pub id: u64,
    pub channel: Channel,
}

impl Node {
    /// A node reached over TCP, such as `http://10.0.0.1:7000`. Connects when it is first needed.
    pub fn remote(id: u64, uri: Uri) -> Self {
        Self { id, channel: endpoint(Endpoint::from(uri)).connect_lazy() }
    }

    /// The same over connections of another kind.
    pub fn over(id: u64, uri: Uri, connect: impl FnOnce(Endpoint) -> Channel) -> Self {
        Self { id, channel: connect(endpoint(Endpoint::from(uri))) }
    }

    /// A node in this process: every connection is one end of a pair whose other end is sent to the node.
    pub fn in_process(id: u64, node: mpsc::Sender<DuplexStream>) -> Self {
        let endpoint = endpoint(Endpoint::from_static("http://in-process"));
        Self { id, channel: endpoint.connect_with_connector_lazy(InProcess { node }) }
    }
}

/// Makes connections within the process.
struct InProcess {
    node: mpsc::Sender<DuplexStream>,
}

impl Service<Uri> for InProcess {
    type Response = TokioIo<DuplexStream>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let node = self.node.clone();
        Box::pin(async move {
            let (near, far) = tokio::io::duplex(IN_PROCESS_BUFFER_BYTES);
            node.send(far).await.map_err(|_| std::io::Error::from(std::io::ErrorKind::ConnectionRefused))?;
            Ok(TokioIo::new(near))
        })
    }
}

pub(crate) fn endpoint(endpoint: Endpoint) -> Endpoint {
    endpoint
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
}

/// What a client is made with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The nodes to find leaders among; at least one, unless others are discovered.
    pub nodes: Vec<Node>,
    /// Nodes come and go, and are looked for.
    pub discovery: Option<Discovery>,
    /// Device groups of the hub.
    pub groups: u32,
    /// Names this gateway in the logs of shards.
    pub gateway_id: String,
    /// Drawn once by every start of the process: half of the ids of its commands.
    pub incarnation: u64,
    /// How long a request is tried before it is answered with [`crate::Unavailable`].
    pub request_timeout: Duration,
    /// How long one node is waited for before another is asked.
    pub attempt_timeout: Duration,
    /// Requests that may wait for one node; over it callers wait, and run into their timeout.
    pub queue_length_max: usize,
}

impl Config {
    /// The defaults, with a random incarnation.
    pub fn new(nodes: Vec<Node>, groups: u32) -> Self {
        let incarnation = uuid::Uuid::new_v4().as_u64_pair().0;
        Self {
            nodes,
            discovery: None,
            groups,
            gateway_id: format!("gateway-{incarnation:016x}"),
            incarnation,
            request_timeout: Duration::from_secs(5),
            attempt_timeout: Duration::from_secs(2),
            queue_length_max: 4096,
        }
    }
}
