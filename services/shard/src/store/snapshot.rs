//! Snapshots: a view of the group's rows until another replica needs them; on the way, pages of sorted rows.

use std::sync::Arc;

use model::GroupId;

use super::{
    Database, StoreError, Table, View,
    key_value::{KeyValue, off_thread},
    rows::Row,
};

/// Rows on their way are staged in pieces of about so many bytes.
const PIECE_BYTES: usize = 16 << 20;

/// What openraft calls a snapshot.
#[derive(Debug)]
pub enum SnapshotData {
    /// The rows of this node, as they were.
    View(Arc<View>),
    /// The rows of another node, received whole.
    Staged(Staged),
}

/// Reads a view from its beginning to its end.
pub struct Pages {
    view: Arc<View>,
    last_key: Option<Vec<u8>>,
}

impl Pages {
    /// From the first row on.
    pub fn of(view: Arc<View>) -> Self {
        Self { view, last_key: None }
    }

    /// The next rows, about so many bytes; empty at the end.
    pub async fn next(&mut self, bytes: usize) -> Result<Vec<Row>, StoreError> {
        let (view, last_key) = (self.view.clone(), self.last_key.take());
        let read = move || view.page_after(last_key.as_deref(), bytes);
        let page = off_thread(self.view.database().store(), read).await?;
        self.last_key = page.last().map(|(key, _)| key.clone());
        Ok(page)
    }
}

/// Sorted rows that are kept aside until they become the state of a group; else they go away with this.
pub struct Staged {
    store: Arc<dyn KeyValue>,
    pieces: Vec<u64>,
    waiting: Vec<Row>,
    waiting_bytes: usize,
    rows: u64,
}

impl Staged {
    /// No rows yet.
    pub fn new(database: &Database) -> Self {
        Self { store: database.store().clone(), pieces: Vec::new(), waiting: Vec::new(), waiting_bytes: 0, rows: 0 }
    }

    /// Adds rows, which sort behind those that are there.
    pub async fn add(&mut self, rows: Vec<Row>) -> Result<(), StoreError> {
        self.rows += rows.len() as u64;
        self.waiting_bytes += rows.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        self.waiting.extend(rows);
        if self.waiting_bytes < PIECE_BYTES {
            return Ok(());
        }
        self.finish().await
    }

    /// Stages what waits; to be called after the last row.
    pub async fn finish(&mut self) -> Result<(), StoreError> {
        let rows = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        if !rows.is_empty() {
            let store = self.store.clone();
            self.pieces.push(off_thread(&self.store, move || store.stage(rows)).await?);
        }
        Ok(())
    }

    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn pieces(&self) -> &[u64] {
        &self.pieces
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        for piece in &self.pieces {
            if let Err(error) = self.store.discard(*piece) {
                tracing::warn!(%error, "cannot remove what was staged of a snapshot");
            }
        }
    }
}

impl std::fmt::Debug for Staged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Staged").field("rows", &self.rows).finish_non_exhaustive()
    }
}

/// Makes a snapshot the state of the group.
pub(super) async fn install(
    database: &Arc<Database>,
    group: GroupId,
    snapshot: SnapshotData,
) -> Result<Table, StoreError> {
    let staged = match snapshot {
        SnapshotData::Staged(staged) => staged,
        SnapshotData::View(view) => stage(database, view).await?,
    };
    let installing = database.clone();
    off_thread(database.store(), move || installing.replace_state(group, &staged)).await
}

async fn stage(database: &Database, view: Arc<View>) -> Result<Staged, StoreError> {
    let (mut pages, mut staged) = (Pages::of(view), Staged::new(database));
    loop {
        let page = pages.next(PIECE_BYTES).await?;
        if page.is_empty() {
            staged.finish().await?;
            return Ok(staged);
        }
        staged.add(page).await?;
    }
}
