//! What the store needs of a disk, and no more.

use std::{sync::Arc, time::Duration};

use super::{StoreError, rows::Row};

/// Looks at one row: key and value. `true` to go on.
pub type Visitor<'v> = dyn FnMut(&[u8], &[u8]) -> Result<bool, StoreError> + 'v;

/// Keys from the first (inclusive) to the second (exclusive); nothing when they are upside down.
pub type KeyRange<'k> = (&'k [u8], &'k [u8]);

/// Tables of sorted rows with one write-ahead order for all of them: a crash takes away the newest unsynced writes, never
/// an older one before a newer one, and no part of a batch.
///
/// Two implementations pass one suite (`store/tests/key_value.rs`): [`RocksStore`](super::RocksStore) and
/// [`MemoryStore`](super::MemoryStore). A table that is not there is [`StoreError::Corrupt`] to every call.
pub trait KeyValue: Send + Sync {
    /// The names of all tables.
    fn tables(&self) -> Result<Vec<String>, StoreError>;

    /// Whether there is a table of that name.
    fn has_table(&self, table: &str) -> bool;

    /// Makes an empty table. Once it returns no crash takes it away.
    fn create_table(&self, table: &str) -> Result<(), StoreError>;

    /// Drops a table with its rows. Once it returns no crash brings it back.
    fn drop_table(&self, table: &str) -> Result<(), StoreError>;

    /// The value of a row.
    fn get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Shows the rows of the range in the order of their keys, until the visitor has seen enough.
    fn scan(&self, table: &str, range: KeyRange<'_>, visit: &mut Visitor<'_>) -> Result<(), StoreError>;

    /// The last row of the range.
    fn last(&self, table: &str, range: KeyRange<'_>) -> Result<Option<Row>, StoreError>;

    /// The table as it is now; later writes do not show in it.
    fn view(&self, table: &str) -> Result<Box<dyn KeyValueView>, StoreError>;

    /// Writes a batch, all or nothing. When `synced` no crash takes it away, nor any write before it.
    fn write(&self, batch: Batch, synced: bool) -> Result<(), StoreError>;

    /// Keeps rows aside, in any number of pieces, for [`Self::ingest`]; each piece is sorted. A restart forgets them.
    fn stage(&self, rows: Vec<Row>) -> Result<u64, StoreError>;

    /// Makes staged pieces, whose rows do not overlap, the rows of an empty table. Once it returns no crash takes them
    /// away.
    fn ingest(&self, table: &str, pieces: &[u64]) -> Result<(), StoreError>;

    /// Forgets a staged piece.
    fn discard(&self, piece: u64) -> Result<(), StoreError>;

    /// Brings everything written to its place, so that the next start is quick.
    fn flush(&self) -> Result<(), StoreError>;

    /// Where it lies, for messages to people.
    fn place(&self) -> String;

    /// Free space, in bytes.
    fn free_bytes(&self) -> Result<u64, StoreError>;

    /// How long whoever writes synced has to pause before, when the disk is only pretended and no call ever blocks.
    /// `None`: calls wait for a disk, and long ones belong on a thread that may.
    fn pretended_sync_time(&self) -> Option<Duration>;
}

/// A table at one moment. Holding it for long keeps old versions of rows; it blocks nobody.
pub trait KeyValueView: Send + Sync {
    /// The value of a row.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Shows the rows of the range in the order of their keys, until the visitor has seen enough.
    fn scan(&self, range: KeyRange<'_>, visit: &mut Visitor<'_>) -> Result<(), StoreError>;
}

/// One change of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    /// From (inclusive) to (exclusive).
    DeleteRange(Vec<u8>, Vec<u8>),
}

/// Changes of tables, in the order they are to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    parts: Vec<(Arc<str>, Vec<Change>)>,
}

impl Batch {
    /// Changes of one table.
    pub fn of(table: &str, changes: Vec<Change>) -> Self {
        let mut batch = Self::default();
        batch.extend(table, changes);
        batch
    }

    /// Adds changes of a table.
    pub fn extend(&mut self, table: &str, changes: impl IntoIterator<Item = Change>) {
        match self.parts.last_mut() {
            Some((last, part)) if **last == *table => part.extend(changes),
            _ => self.parts.push((table.into(), changes.into_iter().collect())),
        }
    }

    /// The tables that are changed.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(|(table, _)| &**table)
    }

    /// The changes, table by table.
    pub fn into_parts(self) -> impl Iterator<Item = (Arc<str>, Vec<Change>)> {
        self.parts.into_iter()
    }
}

impl Change {
    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Put(first, second) | Self::DeleteRange(first, second) => first.len() + second.len(),
            Self::Delete(key) => key.len(),
        }
    }
}

pub(super) fn no_table(table: &str) -> StoreError {
    StoreError::Corrupt(format!("there is no table {table}"))
}

/// Runs work that may wait for the disk where it holds nobody up, and in place when the disk is only pretended.
pub(crate) async fn off_thread<T: Send + 'static>(
    store: &Arc<dyn KeyValue>,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    if store.pretended_sync_time().is_some() {
        return work();
    }
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| Err(StoreError::Disk(panic.to_string())))
}
