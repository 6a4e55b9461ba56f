use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use model::GroupId;
use openraft::Snapshot;
use proto::raft::v1::{self, raft_server, snapshot_chunk::Part};
use tonic::{Request, Response, Status, Streaming};

use super::{Clocks, LogId, Raft, SnapshotMeta, convert, network::MESSAGE_BYTES_MAX};
use crate::store::{Database, DiskReserve, SnapshotData, Staged};

/// Answers the other nodes, for all groups of this one.
#[derive(Clone)]
pub struct RaftService {
    groups: Arc<OnceLock<HashMap<GroupId, Arc<Served>>>>,
    clocks: Arc<Clocks>,
    disk: Arc<DiskReserve>,
    database: Arc<Database>,
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
    pub fn new(clocks: Arc<Clocks>, disk: Arc<DiskReserve>, database: Arc<Database>) -> Self {
        Self { groups: Arc::new(OnceLock::new()), clocks, disk, database }
    }

    /// Serves these groups from now on; only the first call counts.
    pub fn serve(&self, groups: HashMap<GroupId, Arc<Served>>) {
        let _ = self.groups.set(groups);
    }

    /// The service for a tonic server.
    pub fn into_server(self) -> raft_server::RaftServer<Self> {
        raft_server::RaftServer::new(self)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn group(&self, group: u32) -> Result<Arc<Raft>, Status> {
        Ok(self.served(group)?.raft.load_full())
    }

    fn served(&self, group: u32) -> Result<&Served, Status> {
        let groups = self.groups.get().ok_or_else(|| Status::unavailable("starting"))?;
        groups.get(&GroupId(group)).map(Arc::as_ref).ok_or_else(|| Status::not_found(format!("no group {group} here")))
    }
}

#[tonic::async_trait]
impl raft_server::Raft for RaftService {
    async fn append_entries(
        &self,
        request: Request<v1::AppendEntriesRequest>,
    ) -> Result<Response<v1::AppendEntriesResponse>, Status> {
        let request = request.into_inner();
        let received_time = self.clocks.now();
        let raft = self.group(request.group)?;
        if !request.entries.is_empty() && self.disk.is_critical() {
            return Err(Status::resource_exhausted("the disk is full"));
        }
        let response = raft.append_entries(convert::append_request(request)?).await.map_err(internal)?;
        Ok(Response::new(convert::append_response_to_proto(&response, received_time)))
    }

    async fn request_vote(&self, request: Request<v1::VoteRequest>) -> Result<Response<v1::VoteResponse>, Status> {
        let request = request.into_inner();
        let served = self.served(request.group)?;
        let raft = served.raft.load_full();
        let request = convert::vote_request(request)?;
        let floor = served.vote_floor.load().as_deref().copied();
        if request.last_log_id < floor {
            let vote = raft.with_raft_state(|state| *state.vote_ref()).await.map_err(internal)?;
            let refused = openraft::raft::VoteResponse::new(vote, floor, false);
            return Ok(Response::new(convert::vote_response_to_proto(&refused)));
        }
        let response = raft.vote(request).await.map_err(internal)?;
        Ok(Response::new(convert::vote_response_to_proto(&response)))
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
        let raft = self.group(header.group)?;
        let vote = convert::vote(header.vote)?;
        let known = raft.with_raft_state(|state| *state.vote_ref()).await.map_err(internal)?;
        if known > vote {
            // Spares the transfer; whoever led when it began does not lead any more.
            return Ok(Response::new(v1::SnapshotResponse { vote: Some(convert::vote_to_proto(&known)) }));
        }
        let meta = SnapshotMeta {
            last_log_id: convert::optional_log_id(header.last_log_id)?,
            last_membership: convert::stored_membership(header.last_membership)?,
            snapshot_id: header.snapshot_id,
        };
        let staged = receive(&mut chunks, Staged::new(&self.database), &self.disk).await?;
        let snapshot = Snapshot { meta, snapshot: Box::new(SnapshotData::Staged(staged)) };
        let response = raft.install_full_snapshot(vote, snapshot).await.map_err(internal)?;
        Ok(Response::new(v1::SnapshotResponse { vote: Some(convert::vote_to_proto(&response.vote)) }))
    }
}

/// Stages the rows of a snapshot; there have to be as many as its end says.
async fn receive(
    chunks: &mut Streaming<v1::SnapshotChunk>,
    mut staged: Staged,
    disk: &DiskReserve,
) -> Result<Staged, Status> {
    while let Some(chunk) = chunks.message().await? {
        match chunk.part {
            Some(Part::Rows(rows)) => {
                if disk.is_critical() {
                    return Err(Status::resource_exhausted("the disk is full"));
                }
                let rows = rows.rows.into_iter().map(|row| (row.key.into(), row.value.into())).collect();
                staged.add(rows).await.map_err(internal)?;
            }
            Some(Part::End(end)) if end.rows == staged.rows() => {
                staged.finish().await.map_err(internal)?;
                return Ok(staged);
            }
            Some(Part::End(_)) => return Err(Status::data_loss("the snapshot has fewer rows than announced")),
            Some(Part::Header(_)) | None => return Err(Status::invalid_argument("not a part of a snapshot")),
        }
    }
    Err(Status::data_loss("the snapshot has no end"))
}

fn internal(error: impl std::fmt::Display) -> Status {
    Status::internal(error.to_string())
}
