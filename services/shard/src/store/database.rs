use std::{path::Path, sync::Arc};

use model::GroupId;
use prost::Message;
use proto::raft::v1::{self, StoreMark};

use super::{
    LogWriter, OpenError, RocksStore, Staged, StoreError, Table,
    key_value::{Batch, Change, KeyValue, off_thread},
    keys, rocks,
};
use crate::raft::{LogId, convert};

/// The tables of all groups of a process.
pub struct Database {
    store: Arc<dyn KeyValue>,
}

impl Database {
    /// Opens the RocksDB in the directory, making it when it is not there. One process at a time. Blocks.
    pub fn open(directory: &Path, options: &rocks::Options) -> Result<Arc<Self>, OpenError> {
        Self::over(Arc::new(RocksStore::open(directory, options)?))
    }

    /// The same over any store. Rows of generations that no longer count are dropped.
    pub fn over(store: Arc<dyn KeyValue>) -> Result<Arc<Self>, OpenError> {
        let tables = store.tables()?;
        if !store.has_table(keys::LOG) {
            store.create_table(keys::LOG)?;
        }
        let database = Arc::new(Self { store });
        database.check_format()?;
        database.drop_old_generations(&tables)?;
        Ok(database)
    }

    /// What it lies on.
    pub fn store(&self) -> &Arc<dyn KeyValue> {
        &self.store
    }

    /// What is true of the whole store; `None` before the first [`Self::write_mark`].
    pub fn mark(&self) -> Result<Option<StoreMark>, StoreError> {
        self.read_log(&keys::mark())
    }

    /// Writes it, synced.
    pub fn write_mark(&self, mark: &StoreMark) -> Result<(), StoreError> {
        self.write_log(keys::mark().to_vec(), mark.encode_to_vec())
    }

    /// A message in the table of the logs.
    pub(super) fn read_log<M: Message + Default>(&self, key: &[u8]) -> Result<Option<M>, StoreError> {
        let Some(value) = self.store.get(keys::LOG, key)? else { return Ok(None) };
        M::decode(&*value).map(Some).map_err(|error| StoreError::Corrupt(format!("a row of the log: {error}")))
    }

    fn write_log(&self, key: Vec<u8>, value: Vec<u8>) -> Result<(), StoreError> {
        self.store.write(Batch::of(keys::LOG, vec![Change::Put(key, value)]), true)
    }

    /// Writes rows in memory to files, so that the next start need not read the write-ahead log.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let store = self.store.clone();
        off_thread(&self.store, move || store.flush()).await
    }

    /// The state of a group, empty when there is none yet.
    pub fn state(self: &Arc<Self>, group: GroupId) -> Result<Table, StoreError> {
        let name = keys::state(group, self.generation(group)?);
        if !self.store.has_table(&name) {
            self.store.create_table(&name)?;
        }
        Ok(Table::new(self.clone(), name))
    }

    /// Makes staged rows the state of the group. Afterwards no crash brings back the rows from before. Blocks.
    pub(super) fn replace_state(self: &Arc<Self>, group: GroupId, staged: &Staged) -> Result<Table, StoreError> {
        let old = self.generation(group)?;
        let name = self.create_state(group, old + 1)?;
        self.store.ingest(&name, staged.pieces())?;
        self.write_log(keys::generation(group).to_vec(), (old + 1).to_be_bytes().to_vec())?;
        self.store.drop_table(&keys::state(group, old))?;
        Ok(Table::new(self.clone(), name))
    }

    /// Forgets the state and the log of a group that does not run, all at once. Its vote stays, and so does what its
    /// log was good for: whoever has less than `vote_floor` must not get its vote, as if the log were still there.
    pub async fn wipe(
        self: &Arc<Self>,
        group: GroupId,
        vote_floor: LogId,
        writer: &LogWriter,
    ) -> Result<(), StoreError> {
        let old = self.generation(group)?;
        let database = self.clone();
        off_thread(&self.store, move || database.create_state(group, old + 1)).await?;
        let (from, to) = (keys::entry(group, 0), keys::entry(group, u64::MAX));
        // Behind what the group has queued before.
        let changes = vec![
            Change::DeleteRange(from.to_vec(), to.to_vec()),
            Change::Delete(keys::purged(group).to_vec()),
            Change::Put(keys::generation(group).to_vec(), (old + 1).to_be_bytes().to_vec()),
            Change::Put(keys::vote_floor(group).to_vec(), convert::log_id_to_proto(&vote_floor).encode_to_vec()),
        ];
        writer.write(changes).await?;
        let store = self.store.clone();
        off_thread(&self.store, move || store.drop_table(&keys::state(group, old))).await
    }

    /// See [`Self::wipe`].
    pub fn vote_floor(&self, group: GroupId) -> Result<Option<LogId>, StoreError> {
        let stored: Option<v1::LogId> = self.read_log(&keys::vote_floor(group))?;
        Ok(convert::optional_log_id(stored)?)
    }

    /// An empty table for a generation of the group's state.
    fn create_state(&self, group: GroupId, generation: u64) -> Result<String, StoreError> {
        let name = keys::state(group, generation);
        if self.store.has_table(&name) {
            self.store.drop_table(&name)?;
        }
        self.store.create_table(&name)?;
        Ok(name)
    }

    fn generation(&self, group: GroupId) -> Result<u64, StoreError> {
        let Some(value) = self.store.get(keys::LOG, &keys::generation(group))? else { return Ok(0) };
        let bytes = value.try_into().map_err(|_| StoreError::Corrupt(format!("the generation of group {group}")))?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn check_format(&self) -> Result<(), OpenError> {
        match self.mark()? {
            Some(mark) if mark.format != keys::FORMAT => {
                Err(OpenError::Format { place: self.store.place(), found: mark.format, known: keys::FORMAT })
            }
            _ => Ok(()),
        }
    }

    /// Left over when the process died while it replaced a group's state.
    fn drop_old_generations(&self, tables: &[String]) -> Result<(), StoreError> {
        for name in tables {
            let Some((group, generation)) = parse_state(name) else { continue };
            if generation != self.generation(group)? {
                self.store.drop_table(name)?;
            }
        }
        Ok(())
    }
}

fn parse_state(name: &str) -> Option<(GroupId, u64)> {
    let (group, generation) = name.strip_prefix("state-")?.split_once('-')?;
    Some((GroupId(group.parse().ok()?), generation.parse().ok()?))
}
