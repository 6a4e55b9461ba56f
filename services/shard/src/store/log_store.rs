use std::{
    collections::VecDeque,
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use model::GroupId;
use openraft::{
    AnyError, LogState, OptionalSend, RaftLogReader, StorageError, StorageIOError,
    storage::{LogFlushed, RaftLogStorage},
};
use parking_lot::Mutex;
use prost::Message;
use proto::raft::v1;

use super::{
    LogWriter, StoreError,
    database::Database,
    key_value::Change,
    keys,
    log_tail::{self, LogTail},
    log_writer::LogChange,
};
use crate::raft::{Entry, LogId, NodeId, TypeConfig, Vote, convert};

/// One replication request carries about as much; at least one entry always goes.
const REPLICATION_BYTES_MAX: usize = 1 << 20;

/// How fine the bytes of the log are known by index.
const MARK_BYTES: u64 = 256 << 10;

/// The log and the vote of one group, in the database of the process. Cheap to clone.
#[derive(Clone)]
pub struct LogStore {
    group: GroupId,
    database: Arc<Database>,
    writer: Arc<LogWriter>,
    log: Arc<Mutex<Log>>,
    /// Entries up to it are on disk.
    durable_index: Arc<AtomicU64>,
}

/// What is known of the log without asking the disk.
struct Log {
    last_purged: Option<LogId>,
    last: Option<LogId>,
    tail: LogTail,
    /// Bytes appended since the store was opened, and how many there were at some indexes.
    appended_bytes: u64,
    marks: VecDeque<Mark>,
}

struct Mark {
    index: u64,
    appended_bytes: u64,
}

impl LogStore {
    /// Opens the log of a group; `tail_bytes_max` bounds what is kept in memory.
    pub fn open(
        group: GroupId,
        database: Arc<Database>,
        writer: Arc<LogWriter>,
        tail_bytes_max: usize,
    ) -> Result<Self, StoreError> {
        let purged: Option<v1::LogId> = database.read_log(&keys::purged(group))?;
        let last_purged = convert::optional_log_id(purged)?;
        let last = last_entry(&database, group)?.map(|entry| entry.log_id).max(last_purged);
        let durable_index = Arc::new(AtomicU64::new(last.map_or(0, |last| last.index)));
        let tail = LogTail::new(tail_bytes_max);
        let log = Log { last_purged, last, tail, appended_bytes: 0, marks: VecDeque::new() };
        Ok(Self { group, database, writer, log: Arc::new(Mutex::new(log)), durable_index })
    }

    /// The newest entry that was appended, or cut off when nothing is left.
    pub fn last_log_id(&self) -> Option<LogId> {
        self.log.lock().last
    }

    /// The largest index such that the entries behind it, as far as they were appended since the store was opened,
    /// take at least `bytes`: everything up to it may go when the log is to be no larger than that.
    pub fn index_before(&self, bytes: u64) -> Option<u64> {
        let log = self.log.lock();
        let limit = log.appended_bytes.checked_sub(bytes)?;
        log.marks.iter().take_while(|mark| mark.appended_bytes <= limit).last().map(|mark| mark.index)
    }

    fn read(&self, from: u64, to: u64, bytes_max: usize) -> Result<Vec<Entry>, StoreError> {
        let mut newer = Entries::new(bytes_max);
        let (from, on_disk) = {
            let log = self.log.lock();
            let from = from.max(log.last_purged.map_or(0, |purged| purged.index + 1));
            let to = to.min(log.last.map_or(0, |last| last.index + 1)).max(from);
            let on_disk = log.tail.first_index().unwrap_or(u64::MAX).clamp(from, to);
            // A reader that is content with less gets the rest, from memory, the next time.
            if on_disk == from || bytes_max == usize::MAX {
                (on_disk..to).map_while(|index| log.tail.get(index)).all(|entry| newer.push(entry.clone()));
            }
            (from, on_disk)
        };
        if from == on_disk {
            return Ok(newer.entries);
        }
        let mut older = Entries::new(bytes_max);
        self.read_disk(from, on_disk, &mut older)?;
        older.entries.append(&mut newer.entries);
        Ok(older.entries)
    }

    fn read_disk(&self, from: u64, to: u64, entries: &mut Entries) -> Result<(), StoreError> {
        let (from, to) = (keys::entry(self.group, from), keys::entry(self.group, to));
        self.database
            .store()
            .scan(keys::LOG, (&from, &to), &mut |_, value| Ok(entries.push(convert::decode_entry(value.to_vec())?)))
    }

    /// The log id at an index that is known to be there.
    fn log_id_at(&self, index: u64) -> Result<Option<LogId>, StoreError> {
        Ok(self.read(index, index + 1, usize::MAX)?.pop().map(|entry| entry.log_id))
    }
}

/// Entries read, until they are too many bytes.
struct Entries {
    entries: Vec<Entry>,
    bytes: usize,
    bytes_max: usize,
}

impl Entries {
    fn new(bytes_max: usize) -> Self {
        Self { entries: Vec::new(), bytes: 0, bytes_max }
    }

    /// Whether the entry was taken; the first one always is.
    fn push(&mut self, entry: Entry) -> bool {
        self.bytes = self.bytes.saturating_add(log_tail::size(&entry));
        let fits = self.entries.is_empty() || self.bytes <= self.bytes_max;
        if fits {
            self.entries.push(entry);
        }
        fits
    }
}

impl Log {
    fn append(&mut self, entry: Entry) {
        self.last = Some(entry.log_id);
        self.appended_bytes += log_tail::size(&entry) as u64;
        if self.appended_bytes >= self.marks.back().map_or(0, |mark| mark.appended_bytes) + MARK_BYTES {
            self.marks.push_back(Mark { index: entry.log_id.index, appended_bytes: self.appended_bytes });
        }
        self.tail.push(entry);
    }

    fn truncate(&mut self, since: u64, last: Option<LogId>) {
        self.last = last;
        self.tail.truncate(since);
        while self.marks.pop_back_if(|mark| mark.index >= since).is_some() {}
    }

    fn purge(&mut self, upto: LogId) {
        self.last_purged = Some(upto);
        self.last = self.last.max(Some(upto));
        self.tail.purge(upto.index);
        while self.marks.pop_front_if(|mark| mark.index <= upto.index).is_some() {}
    }
}

fn last_entry(database: &Database, group: GroupId) -> Result<Option<Entry>, StoreError> {
    let (from, to) = (keys::entry(group, 0), keys::entry(group, u64::MAX));
    let last = database.store().last(keys::LOG, (&from, &to))?;
    last.map(|(_, value)| convert::decode_entry(value)).transpose()
}

fn reading(error: &StoreError) -> StorageError<NodeId> {
    StorageIOError::read_logs(AnyError::new(error)).into()
}

fn writing(error: &StoreError) -> StorageError<NodeId> {
    StorageIOError::write_logs(AnyError::new(error)).into()
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, StorageError<NodeId>> {
        let from = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(index) => index.saturating_add(1),
            Bound::Excluded(index) => *index,
            Bound::Unbounded => u64::MAX,
        };
        self.read(from, to, usize::MAX).map_err(|error| reading(&error))
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError<NodeId>> {
        self.read(start, end, REPLICATION_BYTES_MAX).map_err(|error| reading(&error))
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError<NodeId>> {
        let log = self.log.lock();
        Ok(LogState { last_purged_log_id: log.last_purged, last_log_id: log.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError<NodeId>> {
        let row = Change::Put(keys::vote(self.group).to_vec(), convert::vote_to_proto(vote).encode_to_vec());
        let written = self.writer.write(vec![row]).await;
        written.map_err(|error| StorageIOError::write_vote(AnyError::new(&error)).into())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError<NodeId>> {
        let stored: Result<Option<v1::Vote>, _> = self.database.read_log(&keys::vote(self.group));
        let vote = stored.and_then(|vote| Ok(vote.map(|vote| convert::vote(Some(vote))).transpose()?));
        vote.map_err(|error| StorageIOError::read_vote(AnyError::new(&error)).into())
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<(), StorageError<NodeId>>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut changes = Vec::new();
        let mut last_index = 0;
        {
            let mut log = self.log.lock();
            log.tail.shrink(self.durable_index.load(Ordering::Acquire));
            for entry in entries {
                last_index = entry.log_id.index;
                let key = keys::entry(self.group, last_index).to_vec();
                changes.push(Change::Put(key, convert::entry_to_proto(&entry).encode_to_vec()));
                log.append(entry);
            }
        }
        let durable_index = self.durable_index.clone();
        let done = Box::new(move |result: Result<(), StoreError>| {
            if result.is_ok() {
                durable_index.store(last_index, Ordering::Release);
            }
            callback.log_io_completed(result.map_err(io::Error::other));
        });
        self.writer.submit(LogChange { changes, synced: true, done });
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError<NodeId>> {
        let before = match log_id.index.checked_sub(1) {
            None => Ok(None),
            Some(before) => self.log_id_at(before),
        };
        let before = before.map_err(|error| reading(&error))?;
        {
            let mut log = self.log.lock();
            let last = before.max(log.last_purged);
            log.truncate(log_id.index, last);
        }
        let (from, to) = (keys::entry(self.group, log_id.index), keys::entry(self.group, u64::MAX));
        let delete = Change::DeleteRange(from.to_vec(), to.to_vec());
        self.writer.write(vec![delete]).await.map_err(|error| writing(&error))?;
        self.durable_index.store(log_id.index.saturating_sub(1), Ordering::Release);
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError<NodeId>> {
        let from = {
            let mut log = self.log.lock();
            let from = log.last_purged.map_or(0, |purged| purged.index + 1);
            log.purge(log_id);
            from
        };
        let (from, to) = (keys::entry(self.group, from), keys::entry(self.group, log_id.index + 1));
        let delete = Change::DeleteRange(from.to_vec(), to.to_vec());
        let mark = Change::Put(keys::purged(self.group).to_vec(), convert::log_id_to_proto(&log_id).encode_to_vec());
        // Not synced: after a crash the entries are there again, which costs nothing but space. An error shows at the
        // next append.
        let done = Box::new(|_: Result<(), StoreError>| ());
        self.writer.submit(LogChange { changes: vec![delete, mark], synced: false, done });
        Ok(())
    }
}
