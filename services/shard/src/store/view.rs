//! The rows of a group as RocksDB holds them: the living table, and views of it that stand still.

use std::sync::Arc;

use prost::Message;
use proto::raft::v1::AppliedState;
use rocksdb::{BoundColumnFamily, IteratorMode, ReadOptions, SnapshotWithThreadMode, WriteBatch};
use self_cell::self_cell;

use super::{
    Changes, Rows, StoreError,
    database::{Database, Rocks},
    keys,
    rows::Row,
};

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
        let reading = Reading::try_new(self.database.clone(), |database| {
            Ok::<_, StoreError>(Pinned { family: database.family(&self.name)?, snapshot: database.rocks().snapshot() })
        })?;
        Ok(View { reading })
    }

    /// How far the state has come.
    pub fn applied(&self) -> Result<AppliedState, StoreError> {
        applied(self)
    }

    /// Writes changes and how far the state has come with them, in one batch. It is not synced: what a crash takes
    /// away is applied again from the log.
    pub(super) fn write(&self, changes: Changes, applied: &AppliedState) -> Result<(), StoreError> {
        let family = self.database.family(&self.name)?;
        let mut batch = WriteBatch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.put_cf(&family, key, value),
                None => batch.delete_cf(&family, key),
            }
        }
        batch.put_cf(&family, keys::APPLIED, applied.encode_to_vec());
        self.database.write(batch, false)
    }
}

impl Rows for Table {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.database.rocks().get_cf(&self.database.family(&self.name)?, key)?)
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        let options = bounded(from, to);
        let rows =
            self.database.rocks().iterator_cf_opt(&self.database.family(&self.name)?, options, IteratorMode::Start);
        collect(rows, from < to, limit)
    }
}

struct Pinned<'d> {
    family: Arc<BoundColumnFamily<'d>>,
    snapshot: SnapshotWithThreadMode<'d, Rocks>,
}

self_cell!(
    /// A RocksDB snapshot together with the database it borrows from.
    struct Reading {
        owner: Arc<Database>,
        #[covariant]
        dependent: Pinned,
    }
);

/// The rows of a group at one moment. Holding it for long keeps old versions of rows on disk; it blocks nobody.
pub struct View {
    reading: Reading,
}

impl View {
    /// How far the state had come.
    pub fn applied(&self) -> Result<AppliedState, StoreError> {
        applied(self)
    }

    /// The database it belongs to.
    pub(super) fn database(&self) -> &Arc<Database> {
        self.reading.borrow_owner()
    }

    /// Every row in the order of the keys, the store's own included.
    pub(super) fn for_each(
        &self,
        mut row: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let Pinned { family, snapshot } = self.reading.borrow_dependent();
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        for item in snapshot.iterator_cf_opt(family, options, IteratorMode::Start) {
            let (key, value) = item?;
            row(&key, &value)?;
        }
        Ok(())
    }
}

impl Rows for View {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let Pinned { family, snapshot } = self.reading.borrow_dependent();
        Ok(snapshot.get_cf(family, key)?)
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        let Pinned { family, snapshot } = self.reading.borrow_dependent();
        collect(snapshot.iterator_cf_opt(family, bounded(from, to), IteratorMode::Start), from < to, limit)
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

fn bounded(from: &[u8], to: &[u8]) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_iterate_lower_bound(from);
    options.set_iterate_upper_bound(to);
    options
}

type Item = Result<(Box<[u8]>, Box<[u8]>), rocksdb::Error>;

fn collect(rows: impl Iterator<Item = Item>, not_empty: bool, limit: usize) -> Result<Vec<Row>, StoreError> {
    let limit = if not_empty { limit } else { 0 };
    rows.take(limit).map(|item| item.map(|(key, value)| (key.into(), value.into())).map_err(StoreError::from)).collect()
}
