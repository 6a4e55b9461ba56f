//! A group's rows to another node: the header, every row in the order of the keys, and how many there were.

use model::GroupId;
use openraft::{Snapshot, raft::SnapshotResponse};
use proto::raft::v1::{self, snapshot_chunk::Part};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{
    NodeId, SnapshotMeta, Transfers, TypeConfig, Vote,
    convert::{self, Missing},
    peers::Client,
    transfers::{Direction, Transfer},
};
use crate::store::{DiskReserve, Pages, SnapshotData, Staged, StoreError};

const CHUNK_BYTES: usize = 256 << 10;
/// Chunks that wait for the transport.
const CHUNKS_WAITING: usize = 4;

/// Why a snapshot was not sent. The leader tries again.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error("the node cannot be reached: {0}")]
    Unreachable(Status),
    #[error("the node refused: {0}")]
    Refused(Status),
    #[error("not in time: {0}")]
    TimedOut(#[from] tokio::time::error::Elapsed),
    #[error("the rows cannot be read: {0}")]
    Read(#[from] StoreError),
    #[error("the answer is {0}")]
    Odd(#[from] Missing),
    #[error("a snapshot that was received is not sent on")]
    Staged,
}

impl From<Status> for SendError {
    fn from(status: Status) -> Self {
        match status.code() {
            tonic::Code::Unavailable => Self::Unreachable(status),
            _ => Self::Refused(status),
        }
    }
}

/// Sends a snapshot when it is its turn, and waits until the other node has made it its state.
pub async fn send(
    mut client: Client,
    transfers: &Transfers,
    group: GroupId,
    vote: Vote,
    snapshot: Snapshot<TypeConfig>,
) -> Result<SnapshotResponse<NodeId>, SendError> {
    let header = header(group, &vote, &snapshot.meta);
    let SnapshotData::View(view) = *snapshot.snapshot else { return Err(SendError::Staged) };
    let mut transfer = transfers.begin(group, Direction::Sent).await;
    let (chunks, receiver) = mpsc::channel(CHUNKS_WAITING);
    let sending = async {
        let read = send_chunks(header, Pages::of(view), chunks, &mut transfer);
        let (read, response) = tokio::join!(read, client.install_snapshot(ReceiverStream::new(receiver)));
        read?;
        Ok::<_, SendError>(response?.into_inner())
    };
    let response = tokio::time::timeout(transfers.timeout, sending).await??;
    transfer.finish();
    Ok(SnapshotResponse::new(convert::vote(response.vote)?))
}

fn header(group: GroupId, vote: &Vote, meta: &SnapshotMeta) -> v1::SnapshotHeader {
    v1::SnapshotHeader {
        group: group.0,
        vote: Some(convert::vote_to_proto(vote)),
        snapshot_id: meta.snapshot_id.clone(),
        last_log_id: meta.last_log_id.as_ref().map(convert::log_id_to_proto),
        last_membership: Some(convert::stored_membership_to_proto(&meta.last_membership)),
    }
}

/// What a header says: the vote of the leader, and how far the snapshot goes.
pub fn parse_header(header: v1::SnapshotHeader) -> Result<(Vote, SnapshotMeta), Missing> {
    let meta = SnapshotMeta {
        last_log_id: convert::optional_log_id(header.last_log_id)?,
        last_membership: convert::stored_membership(header.last_membership)?,
        snapshot_id: header.snapshot_id,
    };
    Ok((convert::vote(header.vote)?, meta))
}

/// Ends early when nobody takes them any more; the response of the other node says why.
async fn send_chunks(
    header: v1::SnapshotHeader,
    mut pages: Pages,
    chunks: mpsc::Sender<v1::SnapshotChunk>,
    transfer: &mut Transfer<'_>,
) -> Result<(), StoreError> {
    let mut next = Part::Header(header);
    let mut count = 0;
    while chunks.send(v1::SnapshotChunk { part: Some(next.clone()) }).await.is_ok() {
        if matches!(next, Part::End(_)) {
            break;
        }
        let page = pages.next(CHUNK_BYTES).await?;
        let bytes = page.iter().map(|(key, value)| key.len() + value.len()).sum();
        transfer.advance(page.len(), bytes);
        count += page.len() as u64;
        let rows = page.into_iter().map(|(key, value)| v1::SnapshotRow { key: key.into(), value: value.into() });
        next = match rows.len() {
            0 => Part::End(v1::SnapshotEnd { rows: count }),
            _ => Part::Rows(v1::SnapshotRows { rows: rows.collect() }),
        };
    }
    Ok(())
}

/// Stages the rows of a snapshot; there have to be as many as its end says.
pub async fn receive(
    chunks: &mut Streaming<v1::SnapshotChunk>,
    mut staged: Staged,
    disk: &DiskReserve,
    transfer: &mut Transfer<'_>,
) -> Result<Staged, Status> {
    while let Some(chunk) = chunks.message().await? {
        match chunk.part {
            Some(Part::Rows(rows)) => {
                if disk.is_critical() {
                    return Err(Status::resource_exhausted("the disk is full"));
                }
                let bytes = rows.rows.iter().map(|row| row.key.len() + row.value.len()).sum();
                transfer.advance(rows.rows.len(), bytes);
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

pub fn internal(error: impl std::fmt::Display) -> Status {
    Status::internal(error.to_string())
}
