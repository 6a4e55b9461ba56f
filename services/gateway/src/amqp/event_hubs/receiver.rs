//! One reader of one partition: a cursor over the event log that is polled for messages.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use eventlog::{EventLog, Offset, ReadError, ReadLimit, Stored, Topic};
use model::EventPartition;
use tokio::sync::watch;

use super::{EventEncoder, LastEnqueued, ReceiverOptions, Refusal};

/// One read of the log. A receiver holds at most two of them, and one message of the largest size for each.
const READ: ReadLimit = ReadLimit { records: 256, bytes: 128 * 1024 };
/// Fewer events at hand than this: the next ones are read meanwhile.
const AT_HAND_MIN: usize = READ.records / 2;

/// Reads a partition from a start position on, for ever. Nothing is read while it is not polled, so who gives no credit
/// costs nothing but what was read before.
pub struct Receiver {
    partition: Arc<Partition>,
    wants_last_enqueued: bool,
    /// Read and not handed out.
    at_hand: VecDeque<Stored>,
    /// As of the read that they come from.
    last_enqueued: Option<LastEnqueued>,
    /// The offset behind all that was read.
    next: Offset,
    reading: Option<Pin<Box<dyn Future<Output = Fetched> + Send>>>,
    /// Away while it is read.
    appended: Option<watch::Receiver<u64>>,
    encoder: EventEncoder,
    message: Vec<u8>,
}

/// What is read.
struct Partition {
    event_log: Arc<dyn EventLog>,
    topic: Topic,
    partition: EventPartition,
    /// The newest read found nothing.
    is_at_end: AtomicBool,
}

struct Fetched {
    appended: watch::Receiver<u64>,
    result: Result<(Vec<Stored>, LastEnqueued), ReadError>,
}

impl Receiver {
    /// Finds the start position.
    pub async fn open(
        event_log: Arc<dyn EventLog>,
        topic: Topic,
        partition: EventPartition,
        options: &ReceiverOptions,
    ) -> Result<Self, Refusal> {
        let bounds = event_log.bounds(&topic, partition).await?;
        let next = event_log.find(&topic, partition, options.start.start(&bounds)?).await?;
        Ok(Self {
            appended: Some(event_log.appended()),
            partition: Arc::new(Partition { event_log, topic, partition, is_at_end: AtomicBool::new(false) }),
            wants_last_enqueued: options.wants_last_enqueued,
            at_hand: VecDeque::new(),
            last_enqueued: None,
            next,
            reading: None,
            encoder: EventEncoder::default(),
            message: Vec::new(),
        })
    }

    /// The next event as an encoded message, to be sent settled. Poll it only when the link has credit and its session
    /// and connection have room: what is handed out counts as delivered. Pending at the end of the partition, until
    /// something is appended. After an error the link is to be detached.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<&[u8], Refusal>> {
        loop {
            if self.at_hand.len() < AT_HAND_MIN {
                self.begin_reading(context);
            }
            if self.at_hand.is_empty() {
                ready!(self.poll_reading(context))?;
            }
            if self.encode_next() {
                return Poll::Ready(Ok(&self.message));
            }
        }
    }

    /// Whether there is nothing more, as of the last [poll](Self::poll_next); otherwise that may still be looked up.
    pub fn is_at_end(&self) -> bool {
        self.at_hand.is_empty() && self.partition.is_at_end.load(Ordering::Relaxed)
    }

    /// Starts a read, unless one is under way.
    fn begin_reading(&mut self, context: &mut Context<'_>) {
        let Some(appended) = self.appended.take() else { return };
        let mut reading = Box::pin(fetch(self.partition.clone(), self.next, appended));
        match reading.as_mut().poll(context) {
            Poll::Ready(fetched) => self.reading = Some(Box::pin(std::future::ready(fetched))),
            Poll::Pending => self.reading = Some(reading),
        }
    }

    fn poll_reading(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ReadError>> {
        let Some(reading) = &mut self.reading else { return Poll::Ready(Ok(())) };
        let Fetched { appended, result } = ready!(reading.as_mut().poll(context));
        self.reading = None;
        self.appended = Some(appended);
        match result {
            Ok((read, last_enqueued)) => {
                self.next = read.last().map_or(self.next, |last| last.offset + 1);
                self.at_hand.extend(read);
                self.last_enqueued = self.wants_last_enqueued.then_some(last_enqueued);
            }
            // Retention overtook a slow reader: it goes on with what is left.
            Err(ReadError::Trimmed { earliest, .. }) => self.next = earliest.max(self.next),
            Err(error) => return Poll::Ready(Err(error)),
        }
        Poll::Ready(Ok(()))
    }

    /// Writes the next event into `message`. False when there is none at hand.
    fn encode_next(&mut self) -> bool {
        while let Some(stored) = self.at_hand.pop_front() {
            self.message.clear();
            match self.encoder.encode(&stored, self.last_enqueued.as_ref(), &mut self.message) {
                Ok(()) => return true,
                Err(error) => tracing::error!(partition = self.partition.partition, %error, "an event is left out"),
            }
        }
        false
    }
}

impl Partition {
    async fn read(&self, from: Offset) -> Result<(Vec<Stored>, LastEnqueued), ReadError> {
        let bounds = self.event_log.bounds(&self.topic, self.partition).await?;
        let last_enqueued = LastEnqueued { bounds, retrieved: crate::front::now() };
        // Bounds are at hand, a read may have to wait for the disk; most news are of other partitions.
        let read = match bounds.next > from {
            true => self.event_log.read(&self.topic, self.partition, from, READ).await?,
            false => Vec::new(),
        };
        Ok((read, last_enqueued))
    }
}

/// Events from the offset on, as soon as there are some.
async fn fetch(partition: Arc<Partition>, from: Offset, mut appended: watch::Receiver<u64>) -> Fetched {
    loop {
        appended.borrow_and_update();
        partition.is_at_end.store(false, Ordering::Relaxed);
        let result = partition.read(from).await;
        if result.as_ref().is_ok_and(|(read, _)| read.is_empty()) {
            partition.is_at_end.store(true, Ordering::Relaxed);
            if appended.changed().await.is_ok() {
                continue;
            }
        }
        return Fetched { appended, result };
    }
}

#[cfg(test)]
mod tests;
