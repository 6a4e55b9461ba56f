use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use model::GroupId;
use prost::Message;
use proto::raft::v1::StoreMark;
use rocksdb::{
    BlockBasedOptions, BoundColumnFamily, Cache, ColumnFamilyDescriptor, DBCompressionType, DBWithThreadMode,
    IngestExternalFileOptions, MultiThreaded, WriteBatch, WriteOptions,
};

use super::{OpenError, StoreError, Table, keys};

/// RocksDB as it is used here: column families come and go while it is open.
pub type Rocks = DBWithThreadMode<MultiThreaded>;

/// Sizes of the database. The defaults keep an idle hub small.
#[derive(Clone, Debug)]
pub struct Options {
    /// Unwritten rows of one column family in memory before they go to a file.
    pub memtable_bytes: usize,
    /// Of all column families together.
    pub memtables_bytes_max: usize,
    /// Blocks of files kept in memory, for all column families.
    pub block_cache_bytes: usize,
    /// Beyond it the column families that pin the oldest WAL are flushed, so that idle ones do not keep it.
    pub wal_bytes_max: u64,
    /// File handles.
    pub open_files_max: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            memtable_bytes: 16 << 20,
            memtables_bytes_max: 48 << 20,
            block_cache_bytes: 16 << 20,
            wal_bytes_max: 48 << 20,
            open_files_max: 512,
        }
    }
}

/// The one database of a process.
pub struct Database {
    rocks: Rocks,
    directory: PathBuf,
    family_options: rocksdb::Options,
}

impl Database {
    /// Opens the database in the directory, making it when it is not there. Rows of generations that no longer count
    /// are dropped.
    pub fn open(directory: &Path, options: &Options) -> Result<Arc<Self>, OpenError> {
        std::fs::create_dir_all(directory).map_err(StoreError::from)?;
        let family_options = family_options(options);
        let mut families = vec![keys::LOG.to_owned(), "default".to_owned()];
        if directory.join("CURRENT").exists() {
            families = Rocks::list_cf(&rocksdb::Options::default(), directory).map_err(|e| in_use(directory, e))?;
        }
        let descriptors = families.iter().map(|name| ColumnFamilyDescriptor::new(name, family_options.clone()));
        let rocks = Rocks::open_cf_descriptors(&database_options(options), directory, descriptors)
            .map_err(|e| in_use(directory, e))?;
        let database = Arc::new(Self { rocks, directory: directory.to_owned(), family_options });
        database.check_format()?;
        database.drop_old_generations(&families)?;
        Ok(database)
    }

    /// Where it lies.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// RocksDB itself.
    pub(super) fn rocks(&self) -> &Rocks {
        &self.rocks
    }

    /// A column family by its name.
    pub(super) fn family(&self, name: &str) -> Result<Arc<BoundColumnFamily<'_>>, StoreError> {
        self.rocks.cf_handle(name).ok_or_else(|| StoreError::Corrupt(format!("there is no column family {name}")))
    }

    /// How files for [`Self::replace_state`] are to be written.
    pub(super) fn file_options(&self) -> &rocksdb::Options {
        &self.family_options
    }

    /// What is true of the whole store; `None` before the first [`Self::write_mark`].
    pub fn mark(&self) -> Result<Option<StoreMark>, StoreError> {
        self.read_log(&keys::mark())
    }

    /// Writes it, synced.
    pub fn write_mark(&self, mark: &StoreMark) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        batch.put_cf(&self.family(keys::LOG)?, keys::mark(), mark.encode_to_vec());
        self.write(batch, true)
    }

    /// A message in the column family of the logs.
    pub(super) fn read_log<M: Message + Default>(&self, key: &[u8]) -> Result<Option<M>, StoreError> {
        let Some(value) = self.rocks.get_pinned_cf(&self.family(keys::LOG)?, key)? else { return Ok(None) };
        M::decode(&*value).map(Some).map_err(|error| StoreError::Corrupt(format!("a row of the log: {error}")))
    }

    /// Writes a batch, all or nothing; `synced` waits for the disk.
    pub(super) fn write(&self, batch: WriteBatch, synced: bool) -> Result<(), StoreError> {
        let mut options = WriteOptions::default();
        options.set_sync(synced);
        Ok(self.rocks.write_opt(batch, &options)?)
    }

    /// Writes rows in memory to files, so that the next start need not read the write-ahead log. Blocks.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.rocks.flush_wal(true)?;
        for name in Rocks::list_cf(&rocksdb::Options::default(), &self.directory)? {
            self.rocks.flush_cf(&self.family(&name)?)?;
        }
        Ok(())
    }

    /// The state of a group, empty when there is none yet.
    pub fn state(self: &Arc<Self>, group: GroupId) -> Result<Table, StoreError> {
        let name = keys::state(group, self.generation(group)?);
        if self.rocks.cf_handle(&name).is_none() {
            self.rocks.create_cf(&name, &self.family_options)?;
        }
        Ok(Table::new(self.clone(), name))
    }

    /// Makes the rows of sorted files the state of the group. The files are consumed. Afterwards no crash brings back
    /// the rows from before.
    pub(super) fn replace_state(self: &Arc<Self>, group: GroupId, files: Vec<PathBuf>) -> Result<Table, StoreError> {
        let old = self.generation(group)?;
        let name = keys::state(group, old + 1);
        if self.rocks.cf_handle(&name).is_some() {
            self.rocks.drop_cf(&name)?;
        }
        self.rocks.create_cf(&name, &self.family_options)?;
        if !files.is_empty() {
            let mut options = IngestExternalFileOptions::default();
            options.set_move_files(true);
            self.rocks.ingest_external_file_cf_opts(&self.family(&name)?, &options, files)?;
        }
        let mut batch = WriteBatch::default();
        batch.put_cf(&self.family(keys::LOG)?, keys::generation(group), (old + 1).to_be_bytes());
        self.write(batch, true)?;
        self.rocks.drop_cf(&keys::state(group, old))?;
        Ok(Table::new(self.clone(), name))
    }

    fn generation(&self, group: GroupId) -> Result<u64, StoreError> {
        let Some(value) = self.rocks.get_cf(&self.family(keys::LOG)?, keys::generation(group))? else { return Ok(0) };
        let bytes = value.try_into().map_err(|_| StoreError::Corrupt(format!("the generation of group {group}")))?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn check_format(&self) -> Result<(), OpenError> {
        match self.mark()? {
            Some(mark) if mark.format != keys::FORMAT => {
                Err(OpenError::Format { folder: self.directory.clone(), found: mark.format, known: keys::FORMAT })
            }
            _ => Ok(()),
        }
    }

    /// Left over when the process died while it replaced a group's state.
    fn drop_old_generations(&self, families: &[String]) -> Result<(), StoreError> {
        for name in families {
            let Some((group, generation)) = parse_state(name) else { continue };
            if generation != self.generation(group)? {
                self.rocks.drop_cf(name)?;
            }
        }
        Ok(())
    }
}

fn parse_state(name: &str) -> Option<(GroupId, u64)> {
    let (group, generation) = name.strip_prefix("state-")?.split_once('-')?;
    Some((GroupId(group.parse().ok()?), generation.parse().ok()?))
}

fn in_use(directory: &Path, error: rocksdb::Error) -> OpenError {
    let text = error.to_string();
    // RocksDB has no kind of its own for a lock that another process, or this one, holds.
    if text.contains("While lock file") || text.contains("lock hold by current process") {
        return OpenError::InUse(directory.to_owned());
    }
    OpenError::Store(error.into())
}

fn database_options(options: &Options) -> rocksdb::Options {
    let mut database = rocksdb::Options::default();
    database.create_if_missing(true);
    database.create_missing_column_families(true);
    database.set_max_total_wal_size(options.wal_bytes_max);
    database.set_db_write_buffer_size(options.memtables_bytes_max);
    database.set_max_open_files(i32::try_from(options.open_files_max).unwrap_or(i32::MAX));
    database.set_max_file_opening_threads(1);
    database.set_max_background_jobs(2);
    database.set_bytes_per_sync(1 << 20);
    // RocksDB's own diary and its statistics: bounded, and no thread of their own.
    database.set_keep_log_file_num(2);
    database.set_max_log_file_size(1 << 20);
    database.set_log_level(rocksdb::LogLevel::Warn);
    database.set_stats_dump_period_sec(0);
    database.set_stats_persist_period_sec(0);
    database
}

fn family_options(options: &Options) -> rocksdb::Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_lru_cache(options.block_cache_bytes));
    blocks.set_block_size(16 << 10);
    blocks.set_bloom_filter(10.0, false);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut family = rocksdb::Options::default();
    family.set_block_based_table_factory(&blocks);
    family.set_compression_type(DBCompressionType::Lz4);
    family.set_write_buffer_size(options.memtable_bytes);
    family.set_max_write_buffer_number(3);
    family.set_target_file_size_base(32 << 20);
    family.set_max_bytes_for_level_base(128 << 20);
    family.set_level_compaction_dynamic_level_bytes(true);
    family
}
