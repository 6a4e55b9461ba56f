//! Readers far behind the end: each read gets a consumer that stands where it begins, the one that it left there if it is
//! still there.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rdkafka::{
    Offset as KafkaOffset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};
use tokio::sync::Semaphore;

use super::{Config, REQUEST_TIMEOUT, message, topics::Partition};
use crate::{Offset, ReadError, ReadLimit, Stored};

/// Consumers that wait for their reader to come back; each holds a few megabytes.
const IDLE_MAX: usize = 8;
/// Reads at a time.
const READS_MAX: usize = 16;
/// Until the first record is there.
const FIRST_RECORD_MAX: Duration = Duration::from_secs(10);

/// A consumer of one partition.
struct Cursor {
    partition: Arc<Partition>,
    next: Offset,
    /// Taken from the consumer, but more than the reader wanted.
    left_over: Option<Stored>,
    consumer: BaseConsumer,
}

pub(super) struct Laggards {
    config: Config,
    /// The one that was used last is at the end.
    idle: Mutex<Vec<Cursor>>,
    reads: Semaphore,
}

impl Laggards {
    pub fn new(config: Config) -> Self {
        Self { config, idle: Mutex::default(), reads: Semaphore::new(READS_MAX) }
    }

    /// Records `from..until`, as many as the limit lets through; at least one.
    pub async fn read(
        self: Arc<Self>,
        partition: Arc<Partition>,
        from: Offset,
        until: Offset,
        limit: ReadLimit,
    ) -> Result<Vec<Stored>, ReadError> {
        let closed = |error: &dyn std::fmt::Display| ReadError::Unavailable(error.to_string());
        let _permit = self.reads.acquire().await.map_err(|error| closed(&error))?;
        let laggards = self.clone();
        let task = tokio::task::spawn_blocking(move || {
            let mut cursor = laggards.cursor(partition, from)?;
            let read = cursor.read(until, limit)?;
            laggards.put_back(cursor);
            Ok(read)
        });
        task.await.unwrap_or_else(|error| Err(closed(&error)))
    }

    fn cursor(&self, partition: Arc<Partition>, from: Offset) -> Result<Cursor, ReadError> {
        let mut idle = self.idle.lock();
        let stands_there = |cursor: &Cursor| Arc::ptr_eq(&cursor.partition, &partition) && cursor.next == from;
        if let Some(index) = idle.iter().position(stands_there) {
            return Ok(idle.remove(index));
        }
        let used = (idle.len() >= IDLE_MAX).then(|| idle.remove(0).consumer);
        drop(idle);
        let place = |consumer: Option<BaseConsumer>| -> KafkaResult<Cursor> {
            let consumer = match consumer {
                Some(consumer) => consumer,
                None => self.config.consumer().create()?,
            };
            let mut list = TopicPartitionList::new();
            let offset = KafkaOffset::Offset(i64::try_from(from).unwrap_or(i64::MAX));
            list.add_partition_offset(&partition.topic, partition.number, offset)?;
            consumer.assign(&list)?;
            Ok(Cursor { partition, next: from, left_over: None, consumer })
        };
        place(used).map_err(unavailable)
    }

    fn put_back(&self, cursor: Cursor) {
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_MAX {
            idle.push(cursor);
        }
    }
}

impl Cursor {
    fn read(&mut self, until: Offset, limit: ReadLimit) -> Result<Vec<Stored>, ReadError> {
        let deadline = Instant::now() + FIRST_RECORD_MAX;
        let (mut records, mut bytes) = (Vec::new(), 0);
        while self.next < until && records.len() < limit.records.max(1) {
            let wait =
                if records.is_empty() { deadline.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
            let Some(stored) = self.take(wait)? else { break };
            bytes += stored.record.len();
            if bytes > limit.bytes && !records.is_empty() {
                self.left_over = Some(stored);
                break;
            }
            self.next = stored.offset + 1;
            records.push(stored);
        }
        match records.is_empty() {
            true => Err(ReadError::Unavailable("Kafka does not answer in time".to_owned())),
            false => Ok(records),
        }
    }

    fn take(&mut self, wait: Duration) -> Result<Option<Stored>, ReadError> {
        if self.left_over.is_some() {
            return Ok(self.left_over.take());
        }
        let stored = match self.consumer.poll(wait) {
            None => return Ok(None),
            Some(Ok(message)) => message::stored(&message),
            Some(Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset,
            ))) => return Err(self.trimmed()),
            Some(Err(error)) => return Err(unavailable(error)),
        };
        Ok(Some(stored))
    }

    fn trimmed(&self) -> ReadError {
        let Partition { topic, number, .. } = &*self.partition;
        match self.consumer.fetch_watermarks(topic, *number, REQUEST_TIMEOUT) {
            Ok((earliest, _)) => ReadError::Trimmed { wanted: self.next, earliest: earliest.max(0) as Offset },
            Err(error) => unavailable(error),
        }
    }
}

pub(super) fn unavailable(error: KafkaError) -> ReadError {
    ReadError::Unavailable(error.to_string())
}
