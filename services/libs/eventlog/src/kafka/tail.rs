//! The ends of the partitions that somebody reads: one consumer follows them all and keeps what came last in memory.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rdkafka::{
    Message, Offset as KafkaOffset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaResult,
};
use tokio::sync::watch;

use super::{Config, REQUEST_TIMEOUT, message, topics::Partition};
use crate::{Offset, ReadLimit, Stored};

/// A partition that nobody has read for so long is not followed any more,
const UNREAD_MAX: Duration = Duration::from_secs(60);
/// and from then on whoever waits for what comes is asked to look again: nothing may have come for as long.
const UNREAD_ASKED: Duration = Duration::from_secs(30);
/// How often that is looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(100);
/// While Kafka is away an error comes with every attempt to reach it; so often it is told.
const TOLD_EVERY: Duration = Duration::from_secs(30);
/// Messages between two wake-ups of readers.
const MESSAGES_PER_ROUND: usize = 1000;

type Key = (Arc<str>, i32);

/// The end of one partition: records `first..next`, as many as fit.
struct End {
    records: VecDeque<Stored>,
    bytes: usize,
    next: Offset,
    read_at: Instant,
}

/// What the end of a partition has for a reader.
pub(super) enum Look {
    Records(Vec<Stored>),
    /// The reader is at the end.
    Nothing,
    /// What is wanted lies before that offset, where the memory begins.
    Before(Offset),
}

impl End {
    fn first(&self) -> Offset {
        self.records.front().map_or(self.next, |first| first.offset)
    }

    fn look(&mut self, from: Offset, limit: ReadLimit) -> Look {
        self.read_at = Instant::now();
        if from >= self.next {
            return Look::Nothing;
        }
        if from < self.first() {
            return Look::Before(self.first());
        }
        // Offsets have no gaps, or a gap began the memory anew.
        let mut bytes = 0;
        let within = |stored: &&Stored| {
            let is_first = bytes == 0;
            bytes += stored.record.len().max(1);
            is_first || bytes <= limit.bytes
        };
        let skipped = usize::try_from(from - self.first()).unwrap_or(usize::MAX);
        Look::Records(
            self.records.iter().skip(skipped).take(limit.records.max(1)).take_while(within).cloned().collect(),
        )
    }

    fn push(&mut self, stored: Stored, bytes_max: usize) {
        if stored.offset < self.next {
            return;
        }
        if stored.offset > self.next {
            self.records.clear();
            self.bytes = 0;
        }
        self.next = stored.offset + 1;
        self.bytes += stored.record.len();
        self.records.push_back(stored);
        while self.bytes > bytes_max && self.records.len() > 1 {
            self.bytes -= self.records.pop_front().map_or(0, |oldest| oldest.record.len());
        }
    }
}

struct Shared {
    consumer: BaseConsumer,
    bytes_max: usize,
    ends: Mutex<HashMap<Key, End>>,
    appended: watch::Sender<u64>,
    is_closing: AtomicBool,
}

pub(super) struct Tail {
    shared: Arc<Shared>,
    /// One partition begins to be followed at a time.
    following: Mutex<()>,
    thread: Option<JoinHandle<()>>,
}

impl Tail {
    pub fn new(config: &Config) -> KafkaResult<Self> {
        let shared = Arc::new(Shared {
            consumer: config.consumer().create()?,
            bytes_max: config.tail_bytes_max,
            ends: Mutex::default(),
            appended: watch::Sender::new(0),
            is_closing: AtomicBool::new(false),
        });
        let following = shared.clone();
        let thread = std::thread::Builder::new().name("kafka-tail".to_owned()).spawn(move || following.run()).ok();
        Ok(Self { shared, following: Mutex::default(), thread })
    }

    /// Changes when followed partitions have more.
    pub fn appended(&self) -> watch::Receiver<u64> {
        self.shared.appended.subscribe()
    }

    /// What the end has; `None` when the partition is not followed.
    pub fn look(&self, partition: &Partition, from: Offset, limit: ReadLimit) -> Option<Look> {
        let mut ends = self.shared.ends.lock();
        Some(ends.get_mut(&key(partition))?.look(from, limit))
    }

    /// Whether the partition is followed; it counts as read.
    pub fn is_followed(&self, partition: &Partition) -> bool {
        let mut ends = self.shared.ends.lock();
        ends.get_mut(&key(partition)).map(|end| end.read_at = Instant::now()).is_some()
    }

    /// Follows a partition from its end on. Blocks.
    pub fn follow(&self, partition: &Partition) -> KafkaResult<()> {
        let _one = self.following.lock();
        if self.shared.ends.lock().contains_key(&key(partition)) {
            return Ok(());
        }
        let consumer = &self.shared.consumer;
        let (_, next) = consumer.fetch_watermarks(&partition.topic, partition.number, REQUEST_TIMEOUT)?;
        let end = End { records: VecDeque::new(), bytes: 0, next: next.max(0) as Offset, read_at: Instant::now() };
        self.shared.ends.lock().insert(key(partition), end);
        consumer.incremental_assign(&place(&key(partition), KafkaOffset::Offset(next))?).inspect_err(|_| {
            self.shared.ends.lock().remove(&key(partition));
        })
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.shared.is_closing.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self) {
        let mut swept_at = Instant::now();
        let mut told_at: Option<Instant> = None;
        while !self.is_closing.load(Relaxed) {
            let mut count = 0;
            let mut wait = POLL;
            while count < MESSAGES_PER_ROUND
                && let Some(result) = self.consumer.poll(wait)
            {
                count += 1;
                wait = Duration::ZERO;
                match result {
                    Ok(message) => self.push((message.topic().into(), message.partition()), message::stored(&message)),
                    Err(_) if told_at.is_some_and(|told| told.elapsed() < TOLD_EVERY) => {}
                    Err(error) => {
                        told_at = Some(Instant::now());
                        tracing::warn!(%error, "Kafka cannot be followed");
                    }
                }
            }
            if count > 0 {
                self.appended.send_modify(|changes| *changes += 1);
            }
            if swept_at.elapsed() > SWEEP_EVERY {
                swept_at = Instant::now();
                self.forget_unread();
            }
        }
    }

    fn push(&self, key: Key, stored: Stored) {
        // It may just have been forgotten.
        if let Some(end) = self.ends.lock().get_mut(&key) {
            end.push(stored, self.bytes_max);
        }
    }

    fn forget_unread(&self) {
        let mut asks = false;
        self.ends.lock().retain(|key, end| {
            let is_unread = end.read_at.elapsed() > UNREAD_MAX;
            asks |= end.read_at.elapsed() > UNREAD_ASKED;
            if is_unread && let Ok(place) = place(key, KafkaOffset::Invalid) {
                let _ = self.consumer.incremental_unassign(&place);
            }
            !is_unread
        });
        if asks {
            self.appended.send_modify(|changes| *changes += 1);
        }
    }
}

fn key(partition: &Partition) -> Key {
    (partition.topic.clone(), partition.number)
}

fn place((topic, partition): &Key, offset: KafkaOffset) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, *partition, offset)?;
    Ok(list)
}
