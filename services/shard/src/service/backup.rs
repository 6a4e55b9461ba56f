//! A group's part of a backup, as of one moment.

use std::sync::Arc;

use futures::{Stream, stream};
use proto::shard::v1::{BackupRow, BackupRows};
use tonic::Status;

use super::{Leader, not_leader_status};
use crate::{
    state,
    store::{Pages, StoreError},
};

/// Rows of one message, about; one larger row is one message.
const PAGE_BYTES: usize = 128 << 10;

/// Streams the rows in the order of their keys. The view stands still; nobody waits for the reader.
pub async fn export(
    leader: &Arc<Leader>,
) -> Result<impl Stream<Item = Result<BackupRows, Status>> + Send + use<>, Status> {
    let view = leader.group.read().await.map_err(|_| not_leader_status(leader))?;
    let pages = Pages::of(Arc::new(view));
    Ok(stream::try_unfold(pages, async |mut pages| {
        loop {
            let page = pages.next(PAGE_BYTES).await.map_err(internal)?;
            if page.is_empty() {
                return Ok(None);
            }
            let rows = exported(&page).map_err(internal)?;
            if !rows.is_empty() {
                return Ok(Some((BackupRows { rows }, pages)));
            }
        }
    }))
}

fn exported(page: &[(Vec<u8>, Vec<u8>)]) -> Result<Vec<BackupRow>, StoreError> {
    let mut rows = Vec::new();
    for (key, value) in page {
        rows.extend(state::exported(key, value)?);
    }
    Ok(rows)
}

fn internal(error: impl std::fmt::Display) -> Status {
    Status::internal(error.to_string())
}
