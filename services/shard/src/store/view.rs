//! The rows of a group: the living table, and views of it that stand still.

use std::sync::Arc;

use prost::Message;
use proto::raft::v1::AppliedState;

use super::{
    Changes, Database, Rows, StoreError,
    key_value::{Batch, Change, KeyRange, KeyValueView, Visitor},
    keys,
    rows::Row,
};

/// Sorts behind every key of a group's state.
const AFTER_ALL_KEYS: [u8; 64] = [0xff; 64];

/// The current rows of a group. Only the group's state machine writes them.
#[derive(Clone)]
pub struct Table {
    database: Arc<Database>,
    name: String,
}

impl Table {
    pub(super) fn new(database: Arc<Database>, name: String) -> Self {
        Self { database, name }
    }

    /// A view of the rows as they are now.
    pub fn view(&self) -> Result<View, StoreError> {
        Ok(View { rows: self.database.store().view(&self.name)?, database: self.database.clone() })
    }

    /// How far the state has come.
    pub fn applied(&self) -> Result<AppliedState, StoreError> {
        applied(self)
    }

    /// Writes changes and how far the state has come with them, in one batch. It is not synced: what a crash takes
    /// away is applied again from the log.
    pub(super) fn write(&self, changes: Changes, applied: &AppliedState) -> Result<(), StoreError> {
        let mut rows: Vec<_> = changes.into_iter().map(change).collect();
        rows.push(Change::Put(keys::APPLIED.to_vec(), applied.encode_to_vec()));
        self.database.store().write(Batch::of(&self.name, rows), false)
    }
}

fn change((key, value): (Vec<u8>, Option<Vec<u8>>)) -> Change {
    match value {
        Some(value) => Change::Put(key, value),
        None => Change::Delete(key),
    }
}

impl Rows for Table {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.database.store().get(&self.name, key)
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        collect(limit, |visit| self.database.store().scan(&self.name, (from, to), visit))
    }
}

/// The rows of a group at one moment. Holding it for long keeps old versions of rows on disk; it blocks nobody.
pub struct View {
    rows: Box<dyn KeyValueView>,
    database: Arc<Database>,
}

impl View {
    /// How far the state had come.
    pub fn applied(&self) -> Result<AppliedState, StoreError> {
        applied(self)
    }

    /// The database it belongs to.
    pub(super) fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// The next rows behind the key in their order, the store's own included: about so many bytes, at least one while
    /// there are any.
    pub(super) fn page_after(&self, key: Option<&[u8]>, bytes: usize) -> Result<Vec<Row>, StoreError> {
        // The smallest key that is larger.
        let from = key.map_or_else(Vec::new, |key| [key, &[0]].concat());
        let range: KeyRange<'_> = (&from, &AFTER_ALL_KEYS);
        let (mut page, mut page_bytes) = (Vec::new(), 0);
        self.rows.scan(range, &mut |key, value| {
            page_bytes += key.len() + value.len();
            page.push((key.to_vec(), value.to_vec()));
            Ok(page_bytes < bytes)
        })?;
        Ok(page)
    }
}

impl Rows for View {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.rows.get(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        collect(limit, |visit| self.rows.scan((from, to), visit))
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("View")
    }
}

fn applied(rows: &impl Rows) -> Result<AppliedState, StoreError> {
    let Some(value) = rows.get(&keys::APPLIED)? else { return Ok(AppliedState::default()) };
    AppliedState::decode(value.as_slice()).map_err(|error| StoreError::Corrupt(format!("the applied state: {error}")))
}

fn collect(
    limit: usize,
    scan: impl FnOnce(&mut Visitor<'_>) -> Result<(), StoreError>,
) -> Result<Vec<Row>, StoreError> {
    let mut rows = Vec::new();
    if limit > 0 {
        scan(&mut |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
            Ok(rows.len() < limit)
        })?;
    }
    Ok(rows)
}
