//! The store on a disk: RocksDB, a column family for each table.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rocksdb::{
    BlockBasedOptions, BoundColumnFamily, Cache, ColumnFamilyDescriptor, DBCompressionType,
    DBRawIteratorWithThreadMode, DBWithThreadMode, IngestExternalFileOptions, MultiThreaded, ReadOptions,
    SnapshotWithThreadMode, SstFileWriter, WriteBatch, WriteOptions,
};
use self_cell::self_cell;

use super::{
    OpenError, StoreError,
    key_value::{Batch, Change, KeyRange, KeyValue, KeyValueView, Visitor, no_table},
    rows::Row,
};

/// RocksDB as it is used here: column families come and go while it is open.
type Rocks = DBWithThreadMode<MultiThreaded>;

/// Staged pieces lie in this folder of the database's.
const STAGED: &str = "staged";
/// RocksDB wants one; nothing is in it.
const DEFAULT_FAMILY: &str = "default";

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

/// The one RocksDB of a process.
pub struct RocksStore {
    rocks: Arc<Rocks>,
    directory: PathBuf,
    family_options: rocksdb::Options,
    staged_count: AtomicU64,
}

impl RocksStore {
    /// Opens the database in the directory, making it when it is not there. One process at a time.
    pub fn open(directory: &Path, options: &Options) -> Result<Self, OpenError> {
        std::fs::create_dir_all(directory).map_err(StoreError::from)?;
        let family_options = family_options(options);
        let mut families = vec![DEFAULT_FAMILY.to_owned()];
        if directory.join("CURRENT").exists() {
            families = Rocks::list_cf(&rocksdb::Options::default(), directory).map_err(|e| in_use(directory, e))?;
        }
        let descriptors = families.into_iter().map(|name| ColumnFamilyDescriptor::new(name, family_options.clone()));
        let rocks = Rocks::open_cf_descriptors(&database_options(options), directory, descriptors)
            .map_err(|e| in_use(directory, e))?;
        remove_staged(directory)?;
        let rocks = Arc::new(rocks);
        Ok(Self { rocks, directory: directory.to_owned(), family_options, staged_count: AtomicU64::new(0) })
    }

    fn family(&self, table: &str) -> Result<Arc<BoundColumnFamily<'_>>, StoreError> {
        family(&self.rocks, table)
    }

    fn staged_file(&self, piece: u64) -> PathBuf {
        self.directory.join(STAGED).join(format!("{piece}.sst"))
    }
}

impl KeyValue for RocksStore {
    fn tables(&self) -> Result<Vec<String>, StoreError> {
        let mut names = Rocks::list_cf(&rocksdb::Options::default(), &self.directory)?;
        names.retain(|name| name != DEFAULT_FAMILY);
        Ok(names)
    }

    fn has_table(&self, table: &str) -> bool {
        self.rocks.cf_handle(table).is_some()
    }

    fn create_table(&self, table: &str) -> Result<(), StoreError> {
        Ok(self.rocks.create_cf(table, &self.family_options)?)
    }

    fn drop_table(&self, table: &str) -> Result<(), StoreError> {
        Ok(self.rocks.drop_cf(table)?)
    }

    fn get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.rocks.get_cf(&self.family(table)?, key)?)
    }

    fn scan(&self, table: &str, range: KeyRange<'_>, visit: &mut Visitor<'_>) -> Result<(), StoreError> {
        let family = self.family(table)?;
        if range.0 >= range.1 {
            return Ok(());
        }
        show(self.rocks.raw_iterator_cf_opt(&family, bounded(range)), visit)
    }

    fn last(&self, table: &str, range: KeyRange<'_>) -> Result<Option<Row>, StoreError> {
        let family = self.family(table)?;
        if range.0 >= range.1 {
            return Ok(None);
        }
        let mut rows = self.rocks.raw_iterator_cf_opt(&family, bounded(range));
        rows.seek_to_last();
        rows.status()?;
        Ok(rows.item().map(|(key, value)| (key.to_vec(), value.to_vec())))
    }

    fn view(&self, table: &str) -> Result<Box<dyn KeyValueView>, StoreError> {
        let reading = Reading::try_new(self.rocks.clone(), |rocks| {
            Ok::<_, StoreError>(Pinned { family: family(rocks, table)?, snapshot: rocks.snapshot() })
        })?;
        Ok(Box::new(RocksView { reading }))
    }

    fn write(&self, batch: Batch, synced: bool) -> Result<(), StoreError> {
        let mut rows = WriteBatch::default();
        for (table, changes) in batch.into_parts() {
            let family = self.family(&table)?;
            for change in changes {
                match change {
                    Change::Put(key, value) => rows.put_cf(&family, key, value),
                    Change::Delete(key) => rows.delete_cf(&family, key),
                    Change::DeleteRange(from, to) => rows.delete_range_cf(&family, from, to),
                }
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(synced);
        Ok(self.rocks.write_opt(rows, &options)?)
    }

    fn stage(&self, rows: Vec<Row>) -> Result<u64, StoreError> {
        let piece = self.staged_count.fetch_add(1, Ordering::Relaxed);
        std::fs::create_dir_all(self.directory.join(STAGED))?;
        let mut file = SstFileWriter::create(&self.family_options);
        file.open(self.staged_file(piece))?;
        for (key, value) in rows {
            file.put(key, value)?;
        }
        file.finish()?;
        Ok(piece)
    }

    fn ingest(&self, table: &str, pieces: &[u64]) -> Result<(), StoreError> {
        let family = self.family(table)?;
        if pieces.is_empty() {
            return Ok(());
        }
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        let files = pieces.iter().map(|piece| self.staged_file(*piece)).collect::<Vec<_>>();
        Ok(self.rocks.ingest_external_file_cf_opts(&family, &options, files)?)
    }

    fn discard(&self, piece: u64) -> Result<(), StoreError> {
        match std::fs::remove_file(self.staged_file(piece)) {
            // Ingested files have moved.
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.rocks.flush_wal(true)?;
        for table in self.tables()? {
            self.rocks.flush_cf(&self.family(&table)?)?;
        }
        Ok(())
    }

    fn place(&self) -> String {
        self.directory.display().to_string()
    }

    fn free_bytes(&self) -> Result<u64, StoreError> {
        let file_system = rustix::fs::statvfs(&self.directory).map_err(std::io::Error::from)?;
        Ok(file_system.f_bavail.saturating_mul(file_system.f_frsize))
    }

    fn pretended_sync_time(&self) -> Option<Duration> {
        None
    }
}

struct Pinned<'d> {
    family: Arc<BoundColumnFamily<'d>>,
    snapshot: SnapshotWithThreadMode<'d, Rocks>,
}

self_cell!(
    /// A RocksDB snapshot together with the database it borrows from.
    struct Reading {
        owner: Arc<Rocks>,
        #[covariant]
        dependent: Pinned,
    }
);

struct RocksView {
    reading: Reading,
}

impl KeyValueView for RocksView {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let Pinned { family, snapshot } = self.reading.borrow_dependent();
        Ok(snapshot.get_cf(family, key)?)
    }

    fn scan(&self, range: KeyRange<'_>, visit: &mut Visitor<'_>) -> Result<(), StoreError> {
        if range.0 >= range.1 {
            return Ok(());
        }
        let Pinned { family, snapshot } = self.reading.borrow_dependent();
        show(snapshot.raw_iterator_cf_opt(family, bounded(range)), visit)
    }
}

fn family<'r>(rocks: &'r Rocks, table: &str) -> Result<Arc<BoundColumnFamily<'r>>, StoreError> {
    rocks.cf_handle(table).ok_or_else(|| no_table(table))
}

fn bounded((from, to): KeyRange<'_>) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_iterate_lower_bound(from);
    options.set_iterate_upper_bound(to);
    options
}

fn show(mut rows: DBRawIteratorWithThreadMode<'_, Rocks>, visit: &mut Visitor<'_>) -> Result<(), StoreError> {
    rows.seek_to_first();
    while let Some((key, value)) = rows.item() {
        if !visit(key, value)? {
            return Ok(());
        }
        rows.next();
    }
    Ok(rows.status()?)
}

/// Pieces that were on their way when the process ended.
fn remove_staged(directory: &Path) -> Result<(), StoreError> {
    match std::fs::remove_dir_all(directory.join(STAGED)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
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
