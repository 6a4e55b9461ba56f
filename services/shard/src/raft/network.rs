use std::{collections::HashMap, future::Future, path::PathBuf, sync::Arc, time::Duration};

use model::GroupId;
use openraft::{
    AnyError, BasicNode, RaftNetwork, RaftNetworkFactory, Snapshot,
    error::{Fatal, NetworkError, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable},
    network::{Backoff, RPCOption},
    raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse},
};
use parking_lot::Mutex;
use proto::raft::v1::{self, raft_client::RaftClient, snapshot_chunk::Part};
use tokio::{io::AsyncReadExt, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

use super::{Clocks, NodeId, TypeConfig, Vote, convert};
use crate::store::{ReceivedFiles, SnapshotData, StoreError, write_files};

/// Largest message between nodes: a request carries about 1 MiB of entries, and no entry is larger than that by much.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// A peer that cannot be reached is tried again after this.
const BACKOFF: Duration = Duration::from_millis(200);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
const SNAPSHOT_CHUNK_BYTES: usize = 256 << 10;
const SNAPSHOT_CHUNKS_WAITING: usize = 4;

/// Connections to other nodes, one for each address, shared by all groups.
pub struct Peers {
    channels: Mutex<HashMap<String, Channel>>,
    clocks: Arc<Clocks>,
    scratch: PathBuf,
    snapshot_timeout: Duration,
}

impl Peers {
    /// No connection yet. Snapshots are written to `scratch` before they are sent, which has to end in time.
    pub fn new(clocks: Arc<Clocks>, scratch: PathBuf, snapshot_timeout: Duration) -> Self {
        Self { channels: Mutex::new(HashMap::new()), clocks, scratch, snapshot_timeout }
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
        let channel = endpoint.connect_lazy();
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
        let mut header = v1::SnapshotHeader {
            group: self.group.0,
            files: 0,
            vote: Some(convert::vote_to_proto(&vote)),
            snapshot_id: snapshot.meta.snapshot_id.clone(),
            last_log_id: snapshot.meta.last_log_id.as_ref().map(convert::log_id_to_proto),
            last_membership: Some(convert::stored_membership_to_proto(&snapshot.meta.last_membership)),
        };
        let (sender, receiver) = mpsc::channel(SNAPSHOT_CHUNKS_WAITING);
        let scratch = self.peers.scratch.join(format!("send-{}-{}", self.group.0, uuid::Uuid::new_v4()));
        let files = tokio::task::spawn_blocking(move || to_files(*snapshot.snapshot, scratch));
        let sending = tokio::spawn(async move {
            let files = files.await??;
            header.files = u32::try_from(files.files().len())?;
            send_chunks(header, files, &sender).await
        });
        let response = client.install_snapshot(ReceiverStream::new(receiver)).await;
        if let Ok(Err(error)) = sending.await {
            tracing::warn!(group = %self.group, node_id = self.target, %error, "a snapshot was not sent whole");
        }
        let response = response.map_err(stream_error)?.into_inner();
        let vote = convert::vote(response.vote).map_err(|missing| NetworkError::new(&missing))?;
        Ok(SnapshotResponse::new(vote))
    }
}

fn to_files(snapshot: SnapshotData, scratch: PathBuf) -> Result<ReceivedFiles, StoreError> {
    match snapshot {
        SnapshotData::View(view) => write_files(&view, scratch),
        SnapshotData::Files(files) => Ok(files),
    }
}

type SendError = Box<dyn std::error::Error + Send + Sync>;
type Chunks = mpsc::Sender<v1::SnapshotChunk>;

/// The header, then every file: its start and its bytes. Ends early when the receiver is gone.
async fn send_chunks(header: v1::SnapshotHeader, files: ReceivedFiles, chunks: &Chunks) -> Result<(), SendError> {
    chunks.send(v1::SnapshotChunk { part: Some(Part::Header(header)) }).await?;
    for path in files.files() {
        let mut file = tokio::fs::File::open(path).await?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let start = v1::FileStart { name, length_bytes: file.metadata().await?.len() };
        chunks.send(v1::SnapshotChunk { part: Some(Part::File(start)) }).await?;
        loop {
            let mut data = bytes::BytesMut::with_capacity(SNAPSHOT_CHUNK_BYTES);
            if file.read_buf(&mut data).await? == 0 {
                break;
            }
            chunks.send(v1::SnapshotChunk { part: Some(Part::Data(data.freeze())) }).await?;
        }
    }
    Ok(())
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
