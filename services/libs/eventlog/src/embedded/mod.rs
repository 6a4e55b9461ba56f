//! The embedded event log: one journal in one folder for all topics, so one fdatasync however many destinations.
//!
//! ```text
//!  append ──> queue ──> writer thread ──write, fdatasync──> 00…07.segment  (active)     00…06.segment + .index (sealed)
//!               │            │                                                 ▲                 ▲
//!   bytes bound: Full        └─ then: publish, `appended`, receipts            └──── pread ──────┴──── reader
//! ```
//!
//! **On disk.** A folder holds segments, numbered 1, 2, 3 … The newest is active; older ones never change and are
//! removed as a whole, oldest first. A segment is a header and then frames, one per record, of all topic-partitions in
//! the order of their commits: length, checksum, topic-partition number, offset, time, record (`format.rs`). The header
//! repeats the next offset of every topic-partition and says where the segment before ends; so opening reads one header
//! per segment and only the last segment through. Beside a sealed segment lies its index (`index.rs`), which can always
//! be made again. The files `topics` and `consumers` (`tables.rs`) are small and replaced as a whole; `lock` keeps a
//! second process out.
//!
//! **Durability.** Readers see, and receipts acknowledge, only what an fdatasync has covered. Of the last write any part
//! may be on disk after a crash: the first frame that is not whole, or does not continue its topic-partition, ends the
//! journal, and the rest is cut before anything is served. A failed fdatasync leaves unknown what the disk holds; the
//! segment is abandoned at its last durable position, which the header of the next one records.
//!
//! **Failure.** Without room (or below the reserve) appends fail with `DiskFull`, reads go on, `health` says why, and
//! the log finds out by itself when it can write again. A damaged record in a sealed segment fails the reads that need
//! it, and no others.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use model::{EventPartition, Timestamp};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

mod config;
mod disk;
mod durable_mark;
mod format;
mod index;
mod journal;
mod memory_disk;
mod queue;
mod reader;
mod recovery;
mod retention;
mod segment;
mod statistics;
mod tables;
mod writer;

pub use config::Config;
pub use disk::{Disk, DiskFile, Durability, OsDisk};
pub use memory_disk::{Fault, MemoryDisk};
pub use statistics::{COMMIT_BUCKETS_MICROSECONDS, Statistics};

use self::{
    disk::is_full,
    journal::Journal,
    queue::Queue,
    tables::{CONSUMERS_MAX, Consumers, NAME_BYTES_MAX, PARTITIONS_MAX, Topics},
    writer::Writer,
};
use crate::{Append, AppendError, Bounds, BoxFuture, EventLog, Health, Offset, ReadError, ReadLimit, Receipt};
use crate::{Start, Stored, Topic};

/// Why a journal was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the configuration of the event log is wrong: {0}")]
    Configuration(String),
    #[error("the event log in {0} is in use by another process")]
    InUse(String),
    #[error("the event log cannot use {0}: {1}")]
    Disk(String, #[source] io::Error),
    /// Not a torn tail (that is cut): data that was durable is damaged, and going on would hide a loss.
    #[error("the file {0} of the event log is damaged: {1}")]
    Damaged(String, &'static str),
}

/// What the handle, the writer thread and reads share.
struct Shared {
    config: Config,
    disk: Arc<dyn Disk>,
    topics: RwLock<Topics>,
    consumers: Mutex<Consumers>,
    journal: RwLock<Journal>,
    queue: Queue,
    statistics: Arc<Statistics>,
    health: Mutex<Health>,
    appended: watch::Sender<u64>,
    closed: watch::Sender<bool>,
    /// In force now; at first the configuration's.
    retention_seconds: AtomicU64,
}

/// A durable event log in a folder. Dropping it makes what was queued durable and closes it; use `shutdown` to wait for
/// that without blocking a thread. Its methods need a tokio runtime.
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
    /// Topics are made one after the other; also keeps the lock of `topics` short.
    creating: Arc<Mutex<()>>,
}

impl EmbeddedLog {
    /// Opens or makes the journal in `config.directory`; repairs what a crash left. Blocks: it reads the last segment
    /// through.
    pub fn open(config: Config) -> Result<Self, OpenError> {
        config.check()?;
        let disk = OsDisk::open(&config.directory)?;
        Self::open_on(Arc::new(disk), config)
    }

    /// The same on another disk; `config.directory` does not matter.
    pub fn open_on(disk: Arc<dyn Disk>, config: Config) -> Result<Self, OpenError> {
        config.check()?;
        let names = disk.list().map_err(|error| OpenError::Disk("its folder".to_owned(), error))?;
        let topics = Topics::load(&*disk, &names)?;
        let consumers = Consumers::load(&*disk, &names)?;
        let (journal, last_time) = recovery::recover(&*disk, &names, topics.total())?;
        let shared = Arc::new(Shared {
            queue: Queue::new(config.queue_bytes_max),
            retention_seconds: config.retention_seconds.into(),
            config,
            disk,
            topics: RwLock::new(topics),
            consumers: Mutex::new(consumers),
            journal: RwLock::new(journal),
            statistics: Arc::default(),
            health: Mutex::new(Health::Writable),
            appended: watch::Sender::new(0),
            closed: watch::Sender::new(false),
        });
        let writer = Writer::new(shared.clone(), last_time);
        let thread = std::thread::Builder::new().name("event-log".to_owned()).spawn(|| writer.run());
        let writer = Some(thread.map_err(|error| OpenError::Disk("a thread".to_owned(), error))?);
        Ok(Self { shared, writer, creating: Arc::default() })
    }

    /// Keeps records for that long from now on instead of what the configuration says; what is older goes within moments.
    /// A segment goes as a whole, so a record may live an eighth longer.
    pub fn set_retention(&self, retention: Duration) {
        let seconds = retention.as_secs().max(1);
        if self.shared.retention_seconds.swap(seconds, Ordering::Relaxed) != seconds {
            self.shared.queue.call_for_upkeep();
        }
    }

    /// Counters, for metrics.
    pub fn statistics(&self) -> Arc<Statistics> {
        self.shared.statistics.clone()
    }

    /// Runs a read that may wait for the disk, beside the runtime's threads.
    fn read_blocking<T: Send + 'static>(
        &self,
        topic: &Topic,
        partition: EventPartition,
        read: impl FnOnce(&Shared, u32) -> Result<T, ReadError> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, ReadError>> {
        let shared = self.shared.clone();
        let number = shared.read_number(topic, partition);
        Box::pin(async move {
            let number = number?;
            let task = tokio::task::spawn_blocking(move || read(&shared, number));
            task.await.unwrap_or_else(|error| Err(ReadError::Unavailable(error.to_string())))
        })
    }
}

/// What was queued becomes durable; the lock on the folder ends.
impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        self.shared.queue.close();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl Shared {
    fn retention_microseconds(&self) -> i64 {
        let seconds = i64::try_from(self.retention_seconds.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        seconds.saturating_mul(1_000_000)
    }

    fn number(&self, topic: &Topic, partition: EventPartition) -> Option<u32> {
        self.topics.read().number(topic, partition)
    }

    fn read_number(&self, topic: &Topic, partition: EventPartition) -> Result<u32, ReadError> {
        let unknown = || ReadError::UnknownPartition(topic.as_str().to_owned(), partition);
        self.number(topic, partition).ok_or_else(unknown)
    }

    fn append_number(&self, topic: &Topic, partition: EventPartition) -> Result<u32, AppendError> {
        let unknown = || AppendError::UnknownPartition(topic.as_str().to_owned(), partition);
        self.number(topic, partition).ok_or_else(unknown)
    }

    fn create_topic(&self, topic: Topic, partitions: u32) -> Result<u32, AppendError> {
        let mut topics = self.topics.read().clone();
        if topics.partitions(&topic) > 0 {
            return Ok(topics.partitions(&topic));
        }
        check_name(topic.as_str())?;
        if partitions == 0 || partitions > PARTITIONS_MAX - topics.total() {
            let limit = format!("a topic has at least 1 partition and all topics together at most {PARTITIONS_MAX}");
            return Err(AppendError::Unavailable(limit));
        }
        topics.add(topic, partitions);
        topics.store(&*self.disk).map_err(|error| not_stored(&error))?;
        *self.topics.write() = topics;
        Ok(partitions)
    }

    fn commit(&self, consumer: &str, number: u32, offset: Offset) -> Result<(), AppendError> {
        check_name(consumer)?;
        let mut consumers = self.consumers.lock();
        match consumers.get(consumer, number) {
            Some(committed) if committed == offset => return Ok(()),
            None if !consumers.has_room() => {
                return Err(AppendError::Unavailable(format!("more than {CONSUMERS_MAX} places of consumers")));
            }
            _ => {}
        }
        consumers.set(&*self.disk, consumer, number, offset).map_err(|error| not_stored(&error))
    }
}

fn check_name(name: &str) -> Result<(), AppendError> {
    match name.len() {
        1..=NAME_BYTES_MAX => Ok(()),
        _ => Err(AppendError::Unavailable(format!("a name has 1 to {NAME_BYTES_MAX} bytes"))),
    }
}

fn not_stored(error: &io::Error) -> AppendError {
    match is_full(error) {
        true => AppendError::DiskFull(error.to_string()),
        false => AppendError::Unavailable(error.to_string()),
    }
}

impl EventLog for EmbeddedLog {
    fn create_topic<'a>(&'a self, topic: &'a Topic, partitions: u32) -> BoxFuture<'a, Result<u32, AppendError>> {
        let (shared, creating, topic) = (self.shared.clone(), self.creating.clone(), topic.clone());
        Box::pin(async move {
            let task = tokio::task::spawn_blocking(move || {
                let _one = creating.lock();
                shared.create_topic(topic, partitions)
            });
            task.await.unwrap_or_else(|error| Err(AppendError::Unavailable(error.to_string())))
        })
    }

    fn partitions(&self, topic: &Topic) -> u32 {
        self.shared.topics.read().partitions(topic)
    }

    fn append(&self, records: Vec<Append>) -> Receipt {
        let (sender, receipt) = Receipt::pending();
        let shared = &self.shared;
        let number = |topic: &Topic, partition| shared.append_number(topic, partition);
        if records.is_empty() {
            let _ = sender.send(Ok(Vec::new()));
        } else if let Err((sender, error)) = shared.queue.push(records, sender, &shared.statistics, number) {
            let _ = sender.send(Err(error));
        }
        receipt
    }

    fn read<'a>(
        &'a self,
        topic: &'a Topic,
        partition: EventPartition,
        from: Offset,
        limit: ReadLimit,
    ) -> BoxFuture<'a, Result<Vec<Stored>, ReadError>> {
        self.read_blocking(topic, partition, move |shared, number| reader::read(shared, number, from, limit))
    }

    fn find<'a>(
        &'a self,
        topic: &'a Topic,
        partition: EventPartition,
        start: Start,
    ) -> BoxFuture<'a, Result<Offset, ReadError>> {
        self.read_blocking(topic, partition, move |shared, number| reader::find(shared, number, start))
    }

    fn bounds<'a>(&'a self, topic: &'a Topic, partition: EventPartition) -> BoxFuture<'a, Result<Bounds, ReadError>> {
        let bounds = self.shared.read_number(topic, partition).map(|number| {
            let journal = self.shared.journal.read();
            let (earliest, tail) = (journal.earliest(number), journal.tail(number));
            let last_time = (tail.next > 0).then(|| Timestamp::from_unix_microseconds(tail.last_time));
            Bounds { earliest, next: tail.next, last_time }
        });
        Box::pin(std::future::ready(bounds))
    }

    fn appended(&self) -> watch::Receiver<u64> {
        self.shared.appended.subscribe()
    }

    fn commit<'a>(
        &'a self,
        consumer: &'a str,
        topic: &'a Topic,
        partition: EventPartition,
        offset: Offset,
    ) -> BoxFuture<'a, Result<(), AppendError>> {
        let (shared, consumer) = (self.shared.clone(), consumer.to_owned());
        let number = shared.append_number(topic, partition);
        Box::pin(async move {
            let number = number?;
            let task = tokio::task::spawn_blocking(move || shared.commit(&consumer, number, offset));
            task.await.unwrap_or_else(|error| Err(AppendError::Unavailable(error.to_string())))
        })
    }

    fn committed<'a>(
        &'a self,
        consumer: &'a str,
        topic: &'a Topic,
        partition: EventPartition,
    ) -> BoxFuture<'a, Result<Option<Offset>, ReadError>> {
        let consumer = consumer.to_owned();
        self.read_blocking(topic, partition, move |shared, number| Ok(shared.consumers.lock().get(&consumer, number)))
    }

    fn health(&self) -> Health {
        self.shared.health.lock().clone()
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        self.shared.queue.close();
        let mut closed = self.shared.closed.subscribe();
        Box::pin(async move {
            let _ = closed.wait_for(|closed| *closed).await;
        })
    }
}
