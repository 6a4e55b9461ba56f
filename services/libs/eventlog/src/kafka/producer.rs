//! Appending: one idempotent producer, and what it tells of each record.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use parking_lot::{Mutex, RwLock};
use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer},
};
use tokio::sync::oneshot;

use super::{Config, message, topics::Partition};
use crate::{AppendError, Appended, Health, view_record};

/// What a record costs in the queue besides its bytes.
const OVERHEAD_BYTES: usize = 256;

type Sender = oneshot::Sender<Result<Vec<Appended>, AppendError>>;

/// One call of `append`: resolved when the last of its records is.
struct Call {
    left: AtomicUsize,
    outcome: Mutex<Result<Vec<Appended>, AppendError>>,
    sender: Mutex<Option<Sender>>,
}

impl Call {
    fn done(&self, index: usize, result: Result<Appended, AppendError>) {
        let mut outcome = self.outcome.lock();
        match (result, &mut *outcome) {
            (Ok(appended), Ok(places)) => places.iter_mut().skip(index).take(1).for_each(|place| *place = appended),
            (Err(error), Ok(_)) => *outcome = Err(error),
            (_, Err(_)) => {}
        }
        if self.left.fetch_sub(1, Relaxed) == 1
            && let Some(sender) = self.sender.lock().take()
        {
            let _ = sender.send(std::mem::replace(&mut *outcome, Ok(Vec::new())));
        }
    }
}

/// What comes back from the library with the outcome of a record.
pub(super) struct Place {
    call: Arc<Call>,
    index: usize,
    bytes: usize,
    partition: Arc<Partition>,
}

/// One record on its way.
pub(super) struct Outgoing {
    pub partition: Arc<Partition>,
    pub record: bytes::Bytes,
}

/// What the producer did since it was made, and how it is now.
#[derive(Debug, Default)]
pub struct Statistics {
    /// Records that were acknowledged.
    pub records: AtomicU64,
    /// Records that were not.
    pub failed_records: AtomicU64,
    /// Bytes that wait for an acknowledgement.
    pub queue_bytes: AtomicU64,
}

#[derive(Default)]
struct Shared {
    statistics: Arc<Statistics>,
    /// Whether `health` is worth a look.
    is_unwell: AtomicBool,
    health: Mutex<Option<String>>,
    /// The producer has lost its place for good and must be made anew.
    is_fatal: AtomicBool,
}

impl Shared {
    fn unwell(&self, reason: String) {
        *self.health.lock() = Some(reason);
        self.is_unwell.store(true, Relaxed);
    }

    fn well(&self) {
        if self.is_unwell.swap(false, Relaxed) {
            *self.health.lock() = None;
            tracing::info!("Kafka acknowledges again");
        }
    }
}

struct Context(Arc<Shared>);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        tracing::debug!(?level, facility, "{text}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        if code == Some(RDKafkaErrorCode::Fatal) {
            self.0.is_fatal.store(true, Relaxed);
        }
        if matches!(code, Some(RDKafkaErrorCode::Fatal | RDKafkaErrorCode::AllBrokersDown)) {
            self.0.unwell(reason.to_owned());
        }
        tracing::warn!(%error, "Kafka: {reason}");
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Place>;

    fn delivery(&self, result: &DeliveryResult<'_>, place: Box<Place>) {
        let statistics = &self.0.statistics;
        statistics.queue_bytes.fetch_sub(place.bytes as u64, Relaxed);
        let result = match result {
            Ok(delivered) => {
                self.0.well();
                statistics.records.fetch_add(1, Relaxed);
                let (offset, time) =
                    (message::offset(delivered), message::time(rdkafka::Message::timestamp(delivered)));
                place.partition.acknowledged(offset + 1);
                Ok(Appended { offset, time })
            }
            Err((error, _)) => {
                statistics.failed_records.fetch_add(1, Relaxed);
                self.0.unwell(error.to_string());
                Err(AppendError::Unavailable(error.to_string()))
            }
        };
        place.call.done(place.index, result);
    }
}

/// The producer of a process.
pub(super) struct Producer {
    config: Config,
    shared: Arc<Shared>,
    current: RwLock<Arc<ThreadedProducer<Context>>>,
    is_closing: AtomicBool,
}

impl Producer {
    pub fn new(config: Config) -> KafkaResult<Self> {
        let shared = Arc::<Shared>::default();
        let current = RwLock::new(Arc::new(make(&config, &shared)?));
        Ok(Self { config, shared, current, is_closing: AtomicBool::new(false) })
    }

    /// Sends the records of one call; `sender` hears when all are durable, or of the first that is not.
    pub fn append(&self, records: Vec<Outgoing>, sender: Sender) {
        if let Err(error) = self.admit(&records) {
            let _ = sender.send(Err(error));
            return;
        }
        let nowhere = Appended { offset: 0, time: model::Timestamp::from_unix_milliseconds(0) };
        let call = Arc::new(Call {
            left: AtomicUsize::new(records.len()),
            outcome: Mutex::new(Ok(vec![nowhere; records.len()])),
            sender: Mutex::new(Some(sender)),
        });
        let producer = self.producer();
        for (index, outgoing) in records.into_iter().enumerate() {
            self.send(&producer, &call, index, outgoing);
        }
    }

    /// Counts the bytes in, unless there is no room.
    fn admit(&self, records: &[Outgoing]) -> Result<(), AppendError> {
        if self.is_closing.load(Relaxed) {
            return Err(AppendError::ShuttingDown);
        }
        let bytes: usize = records.iter().map(queued_bytes).sum();
        let queue = &self.shared.statistics.queue_bytes;
        let before = queue.fetch_add(bytes as u64, Relaxed) as usize;
        if before + bytes > self.config.queue_bytes_max {
            queue.fetch_sub(bytes as u64, Relaxed);
            return Err(AppendError::Full(before));
        }
        Ok(())
    }

    fn send(&self, producer: &ThreadedProducer<Context>, call: &Arc<Call>, index: usize, outgoing: Outgoing) {
        let bytes = queued_bytes(&outgoing);
        let fail = |error: String| {
            self.shared.statistics.queue_bytes.fetch_sub(bytes as u64, Relaxed);
            self.shared.statistics.failed_records.fetch_add(1, Relaxed);
            call.done(index, Err(AppendError::Unavailable(error)));
        };
        let Outgoing { partition, record } = outgoing;
        let Ok(record) = view_record(&record) else { return fail("what is appended is no record".to_owned()) };
        let place = Place { call: call.clone(), index, bytes, partition: partition.clone() };
        let mut sent = BaseRecord::with_opaque_to(&partition.topic, Box::new(place))
            .partition(partition.number)
            .payload(&record.body[..])
            .headers(message::headers(&record));
        if let Some(device_id) = record.annotation(model::Annotation::ConnectionDeviceId) {
            sent = sent.key(device_id.as_bytes());
        }
        if let Err((error, _)) = producer.send(sent) {
            self.shared.is_fatal.fetch_or(error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal), Relaxed);
            self.shared.unwell(error.to_string());
            fail(error.to_string());
        }
    }

    /// The producer, made anew when the old one has failed for good: what waits in that one fails with it.
    fn producer(&self) -> Arc<ThreadedProducer<Context>> {
        if self.shared.is_fatal.swap(false, Relaxed) {
            match make(&self.config, &self.shared) {
                Ok(fresh) => {
                    tracing::warn!("the producer of Kafka failed for good and was made anew");
                    let old = std::mem::replace(&mut *self.current.write(), Arc::new(fresh));
                    // It waits for its thread.
                    std::thread::spawn(move || drop(old));
                }
                Err(error) => {
                    tracing::warn!(%error, "the producer of Kafka cannot be made anew");
                    self.shared.is_fatal.store(true, Relaxed);
                }
            }
        }
        self.current.read().clone()
    }

    pub fn statistics(&self) -> Arc<Statistics> {
        self.shared.statistics.clone()
    }

    pub fn health(&self) -> Health {
        self.shared.health.lock().clone().map_or(Health::Writable, Health::ReadOnly)
    }

    /// Takes nothing more and waits for what is under way. Blocks.
    pub fn close(&self) {
        self.is_closing.store(true, Relaxed);
        let _ = self.current.read().flush(self.config.delivery_timeout());
    }
}

fn make(config: &Config, shared: &Arc<Shared>) -> KafkaResult<ThreadedProducer<Context>> {
    config.producer().create_with_context(Context(shared.clone()))
}

fn queued_bytes(outgoing: &Outgoing) -> usize {
    outgoing.record.len() + OVERHEAD_BYTES
}
