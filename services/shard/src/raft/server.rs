use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use model::GroupId;
use openraft::Snapshot;
use proto::raft::v1::{self, raft_server, snapshot_chunk::Part};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::{
    Clocks, LogId, NodeId, Raft, Transfers, answers, convert,
    peers::MESSAGE_BYTES_MAX,
    snapshots::{self, internal},
    succession,
    transfers::Direction,
};
use crate::store::{Database, DiskReserve, SnapshotData, Staged};

/// Frames of an Exchange stream that wait for the transport.
const FRAMES_MAX: usize = 1;

/// Answers the other nodes, for all groups of this one.
#[derive(Clone)]
pub struct RaftService {
    groups: Arc<OnceLock<HashMap<GroupId, Arc<Served>>>>,
    clocks: Arc<Clocks>,
    disk: Arc<DiskReserve>,
    database: Arc<Database>,
    transfers: Transfers,
    stopping: CancellationToken,
}

/// A replica of this node, as others reach it.
pub struct Served {
    raft: ArcSwap<Raft>,
    vote_floor: ArcSwapOption<LogId>,
}

impl Served {
    /// A replica that votes for nobody whose log ends before the floor.
    pub fn new(raft: Raft, vote_floor: Option<LogId>) -> Self {
        Self { raft: ArcSwap::from_pointee(raft), vote_floor: ArcSwapOption::from_pointee(vote_floor) }
    }

    /// The replica was started again, from nothing.
    pub fn replace(&self, raft: Raft, vote_floor: LogId) {
        self.vote_floor.store(Some(Arc::new(vote_floor)));
        self.raft.store(Arc::new(raft));
    }
}

impl RaftService {
    /// Serves no group yet.
    pub fn new(clocks: Arc<Clocks>, disk: Arc<DiskReserve>, database: Arc<Database>, transfers: Transfers) -> Self {
        let stopping = CancellationToken::new();
        Self { groups: Arc::new(OnceLock::new()), clocks, disk, database, transfers, stopping }
    }

    /// Serves these groups from now on; only the first call counts.
    pub fn serve(&self, groups: HashMap<GroupId, Arc<Served>>) {
        let _ = self.groups.set(groups);
    }

    /// The service for a tonic server. Its streams end when the token is cancelled.
    pub fn into_server(self, stopping: CancellationToken) -> raft_server::RaftServer<Self> {
        raft_server::RaftServer::new(Self { stopping, ..self })
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn group(&self, group: u32) -> Result<Arc<Raft>, Unserved> {
        Ok(self.served(group)?.raft.load_full())
    }

    fn served(&self, group: u32) -> Result<&Served, Unserved> {
        let groups = self.groups.get().ok_or(Unserved::Starting)?;
        groups.get(&GroupId(group)).map(Arc::as_ref).ok_or(Unserved::NoGroup(group))
    }

    /// The stream of a node that led the group has ended.
    pub(super) fn leader_is_gone(&self, group: u32, leader: NodeId) {
        let Ok(raft) = self.group(group) else { return };
        let stopping = self.stopping.clone();
        tokio::spawn(async move { stopping.run_until_cancelled(succession::succeed(&raft, group, leader)).await });
    }

    pub(super) async fn append_entries(
        &self,
        request: v1::AppendEntriesRequest,
    ) -> Result<v1::AppendEntriesResponse, Unserved> {
        let received_time = self.clocks.now();
        let raft = self.group(request.group)?;
        if !request.entries.is_empty() && self.disk.is_critical() {
            return Err(Unserved::DiskFull);
        }
        let response = raft.append_entries(convert::append_request(request)?).await.map_err(Unserved::stopped)?;
        Ok(convert::append_response_to_proto(&response, received_time))
    }

    pub(super) async fn vote(&self, request: v1::VoteRequest) -> Result<v1::VoteResponse, Unserved> {
        let served = self.served(request.group)?;
        let raft = served.raft.load_full();
        let request = convert::vote_request(request)?;
        let floor = served.vote_floor.load().as_deref().copied();
        if request.last_log_id < floor {
            let vote = raft.with_raft_state(|state| *state.vote_ref()).await.map_err(Unserved::stopped)?;
            let refused = openraft::raft::VoteResponse::new(vote, floor, false);
            return Ok(convert::vote_response_to_proto(&refused));
        }
        let response = raft.vote(request).await.map_err(Unserved::stopped)?;
        Ok(convert::vote_response_to_proto(&response))
    }
}

/// Why a request of another node is not served.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unserved {
    #[error("the node is starting")]
    Starting,
    #[error("no group {0} here")]
    NoGroup(u32),
    #[error("the disk is full")]
    DiskFull,
    #[error("too many requests for the group are under way")]
    Busy,
    #[error("{0}")]
    Missing(#[from] convert::Missing),
    #[error("the group has stopped: {0}")]
    Stopped(String),
}

impl Unserved {
    fn stopped(error: impl std::fmt::Display) -> Self {
        Self::Stopped(error.to_string())
    }
}

impl From<Unserved> for Status {
    fn from(unserved: Unserved) -> Self {
        let message = unserved.to_string();
        match unserved {
            Unserved::Starting | Unserved::Busy => Self::unavailable(message),
            Unserved::NoGroup(_) => Self::not_found(message),
            Unserved::DiskFull => Self::resource_exhausted(message),
            Unserved::Missing(_) => Self::invalid_argument(message),
            Unserved::Stopped(_) => Self::internal(message),
        }
    }
}

#[tonic::async_trait]
impl raft_server::Raft for RaftService {
    type ExchangeStream = ReceiverStream<Result<v1::Responses, Status>>;

    async fn exchange(
        &self,
        request: Request<Streaming<v1::Requests>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        let (frames, receiver) = mpsc::channel(FRAMES_MAX);
        let (service, requests) = (self.clone(), request.into_inner());
        tokio::spawn(async move {
            let stopping = service.stopping.clone();
            stopping.run_until_cancelled(answers::serve(&service, requests, frames)).await;
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<v1::SnapshotChunk>>,
    ) -> Result<Response<v1::SnapshotResponse>, Status> {
        let mut chunks = request.into_inner();
        let header = match chunks.message().await?.and_then(|chunk| chunk.part) {
            Some(Part::Header(header)) => header,
            _ => return Err(Status::invalid_argument("a snapshot begins with its header")),
        };
        let group = GroupId(header.group);
        let raft = self.group(header.group)?;
        let (vote, meta) = snapshots::parse_header(header)?;
        let mut transfer = self.transfers.begin(group, Direction::Received).await;
        let known = raft.with_raft_state(|state| *state.vote_ref()).await.map_err(internal)?;
        if known > vote {
            // Spares the transfer; whoever led when it began does not lead any more.
            return Ok(Response::new(v1::SnapshotResponse { vote: Some(convert::vote_to_proto(&known)) }));
        }
        let staged = snapshots::receive(&mut chunks, Staged::new(&self.database), &self.disk, &mut transfer).await?;
        let snapshot = Snapshot { meta, snapshot: Box::new(SnapshotData::Staged(staged)) };
        let response = raft.install_full_snapshot(vote, snapshot).await.map_err(internal)?;
        transfer.finish();
        Ok(Response::new(v1::SnapshotResponse { vote: Some(convert::vote_to_proto(&response.vote)) }))
    }
}
