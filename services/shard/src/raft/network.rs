use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use model::GroupId;
use openraft::{
    AnyError, BasicNode, RaftNetwork, RaftNetworkFactory, Snapshot,
    error::{Fatal, NetworkError, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable},
    network::{Backoff, RPCOption},
    raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse},
};
use parking_lot::Mutex;
use proto::raft::v1::{self, raft_client::RaftClient, snapshot_chunk::Part};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

use super::{Clocks, NodeId, TypeConfig, Vote, convert};
use crate::store::{Pages, SnapshotData};

/// Largest message between nodes: a request carries about 1 MiB of entries, and no entry is larger than that by much.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// A peer that cannot be reached is tried again after this.
const BACKOFF: Duration = Duration::from_millis(200);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
const SNAPSHOT_CHUNK_BYTES: usize = 256 << 10;
const SNAPSHOT_CHUNKS_WAITING: usize = 4;

/// How another node is connected to: TCP, unless the nodes are simulated.
pub type Connect = Arc<dyn Fn(Endpoint) -> Channel + Send + Sync>;

/// Connections to other nodes, one for each address, shared by all groups.
pub struct Peers {
    connect: Connect,
    channels: Mutex<HashMap<String, Channel>>,
    clocks: Arc<Clocks>,
    snapshot_timeout: Duration,
}

impl Peers {
    /// No connection yet. A snapshot has to be sent in time.
    pub fn new(connect: Connect, clocks: Arc<Clocks>, snapshot_timeout: Duration) -> Self {
        Self { connect, channels: Mutex::new(HashMap::new()), clocks, snapshot_timeout }
    }

    fn channel(&self, address: &str) -> Result<Channel, tonic::transport::Error> {
        let mut channels = self.channels.lock();
        if let Some(channel) = channels.get(address) {
            return Ok(channel.clone());
        }
        let endpoint = Endpoint::from_shared(address.to_owned())?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        let channel = (self.connect)(endpoint);
        channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }
}

/// Makes the links of one group.
pub struct Network {
    group: GroupId,
    peers: Arc<Peers>,
}

impl Network {
    /// Links of the group over the node's connections.
    pub fn new(group: GroupId, peers: Arc<Peers>) -> Self {
        Self { group, peers }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: NodeId, node: &BasicNode) -> Link {
        let client = self.peers.channel(&node.addr).map(|channel| {
            RaftClient::new(channel)
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX)
        });
        let client = client.map_err(|error| {
            tracing::error!(node_id = target, address = node.addr, %error, "a node's address is no URI");
            Unreachable::new(&error)
        });
        Link { group: self.group, target, client, peers: self.peers.clone() }
    }
}

/// One group's way to one other node.
pub struct Link {
    group: GroupId,
    target: NodeId,
    client: Result<RaftClient<Channel>, Unreachable>,
    peers: Arc<Peers>,
}

type CallError = RPCError<NodeId, BasicNode, RaftError<NodeId>>;

impl RaftNetwork<TypeConfig> for Link {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<NodeId>, CallError> {
        let sent = self.peers.clocks.now();
        let message = convert::append_request_to_proto(self.group.0, &request, sent);
        let client = self.client.as_mut().map_err(|error| error.clone())?;
        let response = client.append_entries(timed(message, option.hard_ttl())).await.map_err(call_error)?.into_inner();
        self.peers.clocks.measure(self.target, sent, response.received_time, self.peers.clocks.now());
        convert::append_response(response).map_err(|missing| NetworkError::new(&missing).into())
    }

    async fn vote(
        &mut self,
        request: VoteRequest<NodeId>,
        option: RPCOption,
    ) -> Result<VoteResponse<NodeId>, CallError> {
        let message = convert::vote_request_to_proto(self.group.0, &request);
        let client = self.client.as_mut().map_err(|error| error.clone())?;
        let response = client.request_vote(timed(message, option.hard_ttl())).await.map_err(call_error)?.into_inner();
        convert::vote_response(response).map_err(|missing| NetworkError::new(&missing).into())
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<TypeConfig>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<NodeId>, StreamingError<TypeConfig, Fatal<NodeId>>> {
        let timeout = self.peers.snapshot_timeout;
        tokio::select! {
            sent = tokio::time::timeout(timeout, self.send_snapshot(vote, snapshot)) => match sent {
                Ok(sent) => sent,
                Err(elapsed) => Err(NetworkError::new(&elapsed).into()),
            },
            closed = cancel => Err(closed.into()),
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(BACKOFF))
    }
}

impl Link {
    async fn send_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<TypeConfig>,
    ) -> Result<SnapshotResponse<NodeId>, StreamingError<TypeConfig, Fatal<NodeId>>> {
        let client = self.client.as_mut().map_err(|error| error.clone())?;
        let header = v1::SnapshotHeader {
            group: self.group.0,
            vote: Some(convert::vote_to_proto(&vote)),
            snapshot_id: snapshot.meta.snapshot_id.clone(),
            last_log_id: snapshot.meta.last_log_id.as_ref().map(convert::log_id_to_proto),
            last_membership: Some(convert::stored_membership_to_proto(&snapshot.meta.last_membership)),
        };
        let SnapshotData::View(view) = *snapshot.snapshot else {
            return Err(NetworkError::from(AnyError::error("a snapshot that was received is not sent on")).into());
        };
        let (sender, receiver) = mpsc::channel(SNAPSHOT_CHUNKS_WAITING);
        let sending = tokio::spawn(async move { send_chunks(header, Pages::of(view), &sender).await });
        let response = client.install_snapshot(ReceiverStream::new(receiver)).await;
        if let Ok(Err(error)) = sending.await {
            tracing::warn!(group = %self.group, node_id = self.target, %error, "a snapshot was not sent whole");
        }
        let response = response.map_err(stream_error)?.into_inner();
        let vote = convert::vote(response.vote).map_err(|missing| NetworkError::new(&missing))?;
        Ok(SnapshotResponse::new(vote))
    }
}

type SendError = Box<dyn std::error::Error + Send + Sync>;
type Chunks = mpsc::Sender<v1::SnapshotChunk>;

/// The header, every row in the order of the keys, and how many there were. Ends early when the receiver is gone.
async fn send_chunks(header: v1::SnapshotHeader, mut pages: Pages, chunks: &Chunks) -> Result<(), SendError> {
    chunks.send(v1::SnapshotChunk { part: Some(Part::Header(header)) }).await?;
    let mut count = 0;
    loop {
        let page = pages.next(SNAPSHOT_CHUNK_BYTES).await?;
        if page.is_empty() {
            chunks.send(v1::SnapshotChunk { part: Some(Part::End(v1::SnapshotEnd { rows: count })) }).await?;
            return Ok(());
        }
        count += page.len() as u64;
        let rows =
            page.into_iter().map(|(key, value)| v1::SnapshotRow { key: key.into(), value: value.into() }).collect();
        chunks.send(v1::SnapshotChunk { part: Some(Part::Rows(v1::SnapshotRows { rows })) }).await?;
    }
}

fn timed<M>(message: M, timeout: Duration) -> tonic::Request<M> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(timeout);
    request
}

fn call_error(status: Status) -> CallError {
    match status.code() {
        tonic::Code::Unavailable => Unreachable::new(&status).into(),
        _ => NetworkError::new(&status).into(),
    }
}

fn stream_error(status: Status) -> StreamingError<TypeConfig, Fatal<NodeId>> {
    match status.code() {
        tonic::Code::Unavailable => Unreachable::new(&status).into(),
        _ => NetworkError::from(AnyError::new(&status)).into(),
    }
}
