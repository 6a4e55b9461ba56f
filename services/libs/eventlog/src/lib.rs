//! The event log: topics of partitions, each an ordered, gap-free, durable sequence of records.
//!
//! ```text
//!   gateway --append(batch)--> EventLog --(receipt resolves once durable)--> PUBACK / 204
//!   readers --read(topic, partition, from offset)--> records that are durable, in order
//! ```
//!
//! Two implementations pass one suite ([`conformance`]): `embedded` (one journal on disk, group commit) and, in a
//! cluster, Kafka. Appending is at least once: after an error whose outcome is unknown a retry may duplicate a record.
//! Order holds per partition in the order of `append` calls.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use model::{EventPartition, Timestamp};
use tokio::sync::{oneshot, watch};

pub mod conformance;
pub mod embedded;
pub mod kafka;

pub use proto::{decode_record, encode_record, encode_record_with_body, view_record};

/// Position of a record in its partition: 0, 1, 2 … without gaps.
pub type Offset = u64;

/// Name of a topic, such as `events` (the built-in endpoint).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(std::sync::Arc<str>);

impl Topic {
    /// A topic of that name.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One record to append. `record` is its wire form (`proto::encode_record`).
#[derive(Clone, Debug)]
pub struct Append {
    pub topic: Topic,
    pub partition: EventPartition,
    pub record: Bytes,
}

/// Where an appended record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub offset: Offset,
    /// Enqueued time: never smaller than that of the record before it.
    pub time: Timestamp,
}

/// A record as it is read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub offset: Offset,
    pub time: Timestamp,
    pub record: Bytes,
}

/// Where a reader starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The oldest record that retention has left.
    Earliest,
    /// Behind the newest record: only what comes.
    Latest,
    /// That offset, or the oldest one left when it is gone.
    Offset(Offset),
    /// The first record enqueued at that time or later.
    Time(Timestamp),
}

/// The records a partition holds: `earliest..next`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub earliest: Offset,
    /// The offset that the next record will get.
    pub next: Offset,
    /// Enqueued time of the newest record.
    pub last_time: Option<Timestamp>,
}

/// How much one read may return. At least one record is returned when there is one.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimit {
    pub records: usize,
    pub bytes: usize,
}

/// Why records were not appended. Nothing was acknowledged; unless `Full`, they may still be there after a restart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error("no such topic or partition: {0} {1}")]
    UnknownPartition(String, EventPartition),
    #[error("the queue of the event log is full ({0} bytes wait)")]
    Full(usize),
    #[error("the disk of the event log is full: {0}")]
    DiskFull(String),
    #[error("the event log cannot write: {0}")]
    Unavailable(String),
    #[error("the event log is shutting down")]
    ShuttingDown,
}

/// Why records could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("no such topic or partition: {0} {1}")]
    UnknownPartition(String, EventPartition),
    #[error("offset {wanted} is not there any more, the oldest is {earliest}")]
    Trimmed { wanted: Offset, earliest: Offset },
    #[error("the event log cannot read: {0}")]
    Unavailable(String),
}

/// Whether the log accepts records, and when not, why; for `/healthz`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    Writable,
    ReadOnly(String),
}

/// Resolves once every record of one `append` is durable, with their places in the order given.
#[derive(Debug)]
pub struct Receipt(oneshot::Receiver<Result<Vec<Appended>, AppendError>>);

impl Receipt {
    /// A receipt and the sender that resolves it.
    pub fn pending() -> (oneshot::Sender<Result<Vec<Appended>, AppendError>>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(receiver))
    }
}

impl Future for Receipt {
    type Output = Result<Vec<Appended>, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|result| result.unwrap_or(Err(AppendError::ShuttingDown)))
    }
}

/// A boxed future; reads are rare next to appends.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A durable log of events.
pub trait EventLog: Send + Sync + 'static {
    /// Makes a topic when it is missing. Its number of partitions never changes afterwards; the number there is
    /// returned.
    fn create_topic<'a>(&'a self, topic: &'a Topic, partitions: u32) -> BoxFuture<'a, Result<u32, AppendError>>;

    /// The number of partitions of a topic; 0 when there is no such topic.
    fn partitions(&self, topic: &Topic) -> u32;

    /// Queues records; returns at once. All of them, or on error none, become durable together as far as an
    /// acknowledgement is concerned. Calls made one after the other from one place keep their order.
    fn append(&self, records: Vec<Append>) -> Receipt;

    /// Durable records from an offset on; empty when there are none yet. Offset `next` and beyond are not an error.
    fn read<'a>(
        &'a self,
        topic: &'a Topic,
        partition: EventPartition,
        from: Offset,
        limit: ReadLimit,
    ) -> BoxFuture<'a, Result<Vec<Stored>, ReadError>>;

    /// The offset at which a reader that starts there begins.
    fn find<'a>(
        &'a self,
        topic: &'a Topic,
        partition: EventPartition,
        start: Start,
    ) -> BoxFuture<'a, Result<Offset, ReadError>>;

    /// What the partition holds now.
    fn bounds<'a>(&'a self, topic: &'a Topic, partition: EventPartition) -> BoxFuture<'a, Result<Bounds, ReadError>>;

    /// Changes whenever records became durable in a partition that was read, or whose bounds were asked for, before; and at
    /// times without that: whoever waits on it reads again, or asks for the bounds again, and so stays informed.
    fn appended(&self) -> watch::Receiver<u64>;

    /// Remembers, durably, how far a consumer of the hub itself (a router) came.
    fn commit<'a>(
        &'a self,
        consumer: &'a str,
        topic: &'a Topic,
        partition: EventPartition,
        offset: Offset,
    ) -> BoxFuture<'a, Result<(), AppendError>>;

    /// What that consumer committed last.
    fn committed<'a>(
        &'a self,
        consumer: &'a str,
        topic: &'a Topic,
        partition: EventPartition,
    ) -> BoxFuture<'a, Result<Option<Offset>, ReadError>>;

    /// Whether appends are accepted now.
    fn health(&self) -> Health;

    /// Refuses new appends, makes what was queued durable, closes.
    fn shutdown(&self) -> BoxFuture<'_, ()>;
}
