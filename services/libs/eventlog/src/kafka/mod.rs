//! The event log in Kafka, or in anything that speaks its protocol.
//!
//! ```text
//!   append ──> sender (idempotent, acks=all) ────> Kafka ──┬──> tail: one consumer, the ends of all partitions that are
//!                 │  receipts                              │          read, in memory
//!   read  <───────┴────────────────────────────────────────┴──> laggards: a consumer for who is further behind
//! ```
//!
//! **Order and durability.** A receipt resolves when every copy that is in sync has the record. The producer is idempotent:
//! a retry of its own neither duplicates nor reorders. There are no transactions, so offsets have no gaps.
//!
//! **Reads.** A read finds at once whatever this process was acknowledged. What other processes append is seen when the
//! tail has it, which is what `appended` says of partitions that are read, or whose bounds are asked for, once in a while.
//!
//! **Failure.** Brokers that are away or slow hold appends back: at most `queue_bytes_max` wait, what is more fails with
//! `Full` at once. What the library has for longer than `delivery_timeout_seconds` fails, and so does what has waited as
//! long when its turn comes. `health` says so until the next acknowledgement, also when one takes more than five seconds.
//! A producer that fails for good is made anew; what it had fails with it, whether it is in Kafka or not.
//!
//! What lies in Kafka is described in `message.rs`; plain consumers read it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use model::EventPartition;
use rdkafka::{
    Offset as KafkaOffset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};
use tokio::sync::watch;

mod config;
mod laggards;
mod lanes;
mod message;
mod native;
mod places;
mod producer;
mod sender;
mod tail;
mod topics;

pub use config::Config;
pub use producer::Statistics;

use self::{
    laggards::Laggards,
    places::Places,
    producer::{Call, Producer},
    tail::{Look, Tail},
    topics::{Partition, Topics},
};
use crate::{Append, AppendError, Bounds, BoxFuture, EventLog, Health, Offset, ReadError, ReadLimit, Receipt};
use crate::{Start, Stored, Topic};

/// One question to a broker.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Until the tail has what was acknowledged.
const CATCH_UP_MAX: Duration = Duration::from_secs(10);
/// As in the embedded log.
const NAME_BYTES_MAX: usize = 100;
const PARTITIONS_MAX: u32 = 10_000;

/// Why the log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the configuration of the event log is wrong: {0}")]
    Configuration(String),
    #[error("Kafka at {0} cannot be used: {1}")]
    Kafka(String, #[source] KafkaError),
}

/// What reads and blocking tasks share.
struct Shared {
    topics: Arc<Topics>,
    places: Places,
    tail: Tail,
    /// For questions; it is assigned nothing.
    questions: BaseConsumer,
}

/// An event log in Kafka. Its methods need a tokio runtime.
pub struct KafkaLog {
    producer: Arc<Producer>,
    shared: Arc<Shared>,
    laggards: Arc<Laggards>,
}

impl KafkaLog {
    /// Finds the brokers and the topics that are there. Blocks.
    pub fn open(config: &Config) -> Result<Self, OpenError> {
        config.check()?;
        let config = &config.with_password()?;
        let opened = || -> KafkaResult<Self> {
            let shared = Shared {
                topics: Arc::new(Topics::new(config.clone())),
                places: Places::new(config.clone()),
                tail: Tail::new(config)?,
                questions: config.consumer().create()?,
            };
            shared.topics.refresh(&shared.questions)?;
            let producer = Arc::new(Producer::new(config.clone(), shared.topics.clone())?);
            Ok(Self { producer, shared: Arc::new(shared), laggards: Arc::new(Laggards::new(config.clone())) })
        };
        opened().map_err(|error| OpenError::Kafka(config.bootstrap_servers.clone(), error))
    }

    /// Keeps records for that long from now on instead of what the configuration says.
    pub async fn set_retention(&self, retention: Duration) -> Result<(), AppendError> {
        self.shared.topics.set_retention(retention).await
    }

    /// Lets the producer fail as the library does when it has lost its place for good. For tests.
    #[doc(hidden)]
    pub fn fail_producer(&self) {
        self.producer.fail_for_good();
    }

    /// Counters, for metrics.
    pub fn statistics(&self) -> Arc<Statistics> {
        self.producer.statistics()
    }

    fn read_partition(&self, topic: &Topic, partition: EventPartition) -> Result<Arc<Partition>, ReadError> {
        let unknown = || ReadError::UnknownPartition(topic.as_str().to_owned(), partition);
        self.shared.topics.partition(topic, partition).ok_or_else(unknown)
    }

    fn append_partition(&self, topic: &Topic, partition: EventPartition) -> Result<Arc<Partition>, AppendError> {
        let unknown = || AppendError::UnknownPartition(topic.as_str().to_owned(), partition);
        self.shared.topics.partition(topic, partition).ok_or_else(unknown)
    }

    /// Asks a broker, beside the runtime's threads.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl Fn(&Shared) -> KafkaResult<T> + Send + 'static,
    ) -> Result<T, ReadError> {
        let shared = self.shared.clone();
        let task = tokio::task::spawn_blocking(move || {
            let deadline = Instant::now() + REQUEST_TIMEOUT;
            loop {
                match question(&shared) {
                    Err(error) if is_passing(&error) && Instant::now() < deadline => {
                        #[expect(clippy::disallowed_methods, reason = "on a thread for what blocks")]
                        std::thread::sleep(Duration::from_millis(50));
                    }
                    answer => return answer.map_err(laggards::unavailable),
                }
            }
        });
        task.await.unwrap_or_else(|error| Err(ReadError::Unavailable(error.to_string())))
    }

    async fn read_from(
        &self,
        partition: Arc<Partition>,
        from: Offset,
        limit: ReadLimit,
    ) -> Result<Vec<Stored>, ReadError> {
        let mut appended = self.shared.tail.appended();
        let deadline = tokio::time::Instant::now() + CATCH_UP_MAX;
        loop {
            match self.shared.tail.look(&partition, from, limit) {
                None => {
                    let partition = partition.clone();
                    self.ask(move |shared| shared.tail.follow(&partition)).await?;
                }
                Some(Look::Records(records)) => return Ok(records),
                Some(Look::Before(until)) => return self.laggards.clone().read(partition, from, until, limit).await,
                Some(Look::Nothing) if from >= partition.next_acknowledged() => return Ok(Vec::new()),
                Some(Look::Nothing) => {
                    let changed = tokio::time::timeout_at(deadline, appended.changed()).await;
                    let late = || ReadError::Unavailable("Kafka does not show what it acknowledged".to_owned());
                    changed.map_err(|_| late())?.map_err(|_| late())?;
                }
            }
        }
    }

    async fn start(&self, partition: Arc<Partition>, start: Start) -> Result<Offset, ReadError> {
        let asked = partition.clone();
        let (earliest, next) = self.ask(move |shared| shared.watermarks(&asked)).await?;
        Ok(match start {
            Start::Earliest => earliest,
            Start::Latest => next.max(partition.next_acknowledged()),
            Start::Offset(offset) => offset.max(earliest),
            Start::Time(time) => {
                // Kafka's times are whole milliseconds: the first one that is not before the time asked for.
                let milliseconds = time.unix_microseconds().div_euclid(1000)
                    + i64::from(time.unix_microseconds().rem_euclid(1000) > 0);
                self.ask(move |shared| shared.at_time(&partition, milliseconds)).await?.unwrap_or(next)
            }
        })
    }

    /// What comes behind these bounds is told by `appended`: the partition is followed from now on, as by a read.
    async fn partition_bounds(&self, partition: Arc<Partition>) -> Result<Bounds, ReadError> {
        if !self.shared.tail.is_followed(&partition) {
            let partition = partition.clone();
            self.ask(move |shared| shared.tail.follow(&partition)).await?;
        }
        let asked = partition.clone();
        let (earliest, next) = self.ask(move |shared| shared.watermarks(&asked)).await?;
        let last_time = match next > earliest {
            true => {
                let last = self.read_from(partition, next - 1, ReadLimit { records: 1, bytes: 0 }).await?;
                last.first().map(|stored| stored.time)
            }
            false => None,
        };
        Ok(Bounds { earliest, next, last_time })
    }
}

impl Shared {
    fn watermarks(&self, partition: &Partition) -> KafkaResult<(Offset, Offset)> {
        let (low, high) = self.questions.fetch_watermarks(&partition.topic, partition.number, REQUEST_TIMEOUT)?;
        Ok((low.max(0) as Offset, high.max(0) as Offset))
    }

    /// The first record at that time or later; `None` when there is none.
    fn at_time(&self, partition: &Partition, milliseconds: i64) -> KafkaResult<Option<Offset>> {
        let mut asked = TopicPartitionList::new();
        // Negative times have meanings of their own there.
        asked.add_partition_offset(&partition.topic, partition.number, KafkaOffset::Offset(milliseconds.max(0)))?;
        let found = self.questions.offsets_for_times(asked, REQUEST_TIMEOUT)?;
        let element = found.elements().first().map(|element| element.offset());
        Ok(match element {
            Some(KafkaOffset::Offset(offset)) => offset.try_into().ok(),
            _ => None,
        })
    }
}

/// Whether it is over once the brokers agree again on who leads what, and that a new topic is there.
fn is_passing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{
        BrokerTransportFailure, CoordinatorLoadInProgress, CoordinatorNotAvailable, LeaderNotAvailable, NotCoordinator,
        NotLeaderForPartition, UnknownPartition, UnknownTopic, UnknownTopicOrPartition, WaitingForCoordinator,
    };
    matches!(
        error.rdkafka_error_code(),
        Some(
            BrokerTransportFailure
                | CoordinatorLoadInProgress
                | CoordinatorNotAvailable
                | LeaderNotAvailable
                | NotCoordinator
                | NotLeaderForPartition
                | UnknownPartition
                | UnknownTopic
                | UnknownTopicOrPartition
                | WaitingForCoordinator
        )
    )
}

fn check(topic: &Topic, partitions: u32) -> Result<(), AppendError> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let name = topic.as_str();
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_legal) {
        let rule = format!("the name of a topic has 1 to {NAME_BYTES_MAX} letters, digits, '.', '_' and '-'");
        return Err(AppendError::Unavailable(rule));
    }
    if !(1..=PARTITIONS_MAX).contains(&partitions) {
        return Err(AppendError::Unavailable(format!("a topic has 1 to {PARTITIONS_MAX} partitions")));
    }
    Ok(())
}

impl EventLog for KafkaLog {
    fn create_topic<'a>(&'a self, topic: &'a Topic, partitions: u32) -> BoxFuture<'a, Result<u32, AppendError>> {
        Box::pin(async move {
            match self.shared.topics.count(topic) {
                0 => check(topic, partitions)?,
                count => return Ok(count),
            }
            self.shared.topics.make(topic, partitions).await?;
            let (shared, topic) = (self.shared.clone(), topic.clone());
            let task = tokio::task::spawn_blocking(move || shared.topics.wait_for(&topic, &shared.questions));
            task.await.unwrap_or_else(|error| Err(AppendError::Unavailable(error.to_string())))
        })
    }

    fn partitions(&self, topic: &Topic) -> u32 {
        self.shared.topics.count(topic)
    }

    fn append(&self, records: Vec<Append>) -> Receipt {
        let (sender, receipt) = Receipt::pending();
        match records.is_empty() {
            true => drop(sender.send(Ok(Vec::new()))),
            false => self.producer.append(Call { records, receipt: sender }),
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
        Box::pin(async move { self.read_from(self.read_partition(topic, partition)?, from, limit).await })
    }

    fn find<'a>(
        &'a self,
        topic: &'a Topic,
        partition: EventPartition,
        start: Start,
    ) -> BoxFuture<'a, Result<Offset, ReadError>> {
        Box::pin(async move { self.start(self.read_partition(topic, partition)?, start).await })
    }

    fn bounds<'a>(&'a self, topic: &'a Topic, partition: EventPartition) -> BoxFuture<'a, Result<Bounds, ReadError>> {
        Box::pin(async move { self.partition_bounds(self.read_partition(topic, partition)?).await })
    }

    fn appended(&self) -> watch::Receiver<u64> {
        self.shared.tail.appended()
    }

    fn commit<'a>(
        &'a self,
        consumer: &'a str,
        topic: &'a Topic,
        partition: EventPartition,
        offset: Offset,
    ) -> BoxFuture<'a, Result<(), AppendError>> {
        let consumer = consumer.to_owned();
        Box::pin(async move {
            let partition = self.append_partition(topic, partition)?;
            let committed = self.ask(move |shared| shared.places.commit(&consumer, &partition, offset)).await;
            committed.map_err(|error| AppendError::Unavailable(error.to_string()))
        })
    }

    fn committed<'a>(
        &'a self,
        consumer: &'a str,
        topic: &'a Topic,
        partition: EventPartition,
    ) -> BoxFuture<'a, Result<Option<Offset>, ReadError>> {
        let consumer = consumer.to_owned();
        Box::pin(async move {
            let partition = self.read_partition(topic, partition)?;
            self.ask(move |shared| shared.places.committed(&consumer, &partition)).await
        })
    }

    fn health(&self) -> Health {
        self.producer.health()
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        let producer = self.producer.clone();
        Box::pin(async move {
            let _ = tokio::task::spawn_blocking(move || producer.close()).await;
        })
    }
}
