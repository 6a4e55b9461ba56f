//! Appending: what waits for the thread that sends ([`super::sender`]), and how the producer is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use tokio::sync::oneshot;

use super::{Config, native::Queue, sender::Sender, topics::Topics};
use crate::{Append, AppendError, Appended, Health};

/// What a record costs in the queue besides its bytes.
const OVERHEAD_BYTES: usize = 256;

/// One call of `append` that was let in.
pub(super) struct Call {
    pub records: Vec<Append>,
    /// Resolves it.
    pub receipt: oneshot::Sender<Result<Vec<Appended>, AppendError>>,
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

/// What those who append share with the thread that sends.
#[derive(Default)]
pub(super) struct Shared {
    pub statistics: Arc<Statistics>,
    pub waiting: Mutex<Waiting>,
    /// Whether `health` is worth a look.
    is_unwell: AtomicBool,
    health: Mutex<Option<String>>,
}

/// What the thread is to do next.
#[derive(Default)]
pub(super) struct Waiting {
    pub calls: Vec<Call>,
    /// Set while the thread sleeps until something comes; whoever brings it takes this and wakes it.
    pub sleeper: Option<Arc<Queue>>,
    /// Nothing more is taken; what is not acknowledged by then is given up.
    pub ends_at: Option<Instant>,
    /// For tests.
    pub fail_for_good: bool,
}

impl Shared {
    pub fn unwell(&self, reason: String) {
        let reason = self.health.lock().insert(reason).clone();
        if !self.is_unwell.swap(true, Relaxed) {
            tracing::warn!("the event log is unwell: {reason}");
        }
    }

    pub fn is_unwell(&self) -> bool {
        self.is_unwell.load(Relaxed)
    }

    pub fn well(&self) {
        self.is_unwell.store(false, Relaxed);
        *self.health.lock() = None;
        tracing::info!("Kafka acknowledges again");
    }

    /// Leaves something for the thread, and wakes it if it sleeps.
    fn leave(&self, something: impl FnOnce(&mut Waiting)) {
        let mut waiting = self.waiting.lock();
        something(&mut waiting);
        let sleeper = waiting.sleeper.take();
        drop(waiting);
        sleeper.iter().for_each(|sleeper| sleeper.wake());
    }
}

/// The producer of a process.
pub(super) struct Producer {
    config: Config,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Producer {
    pub fn new(config: Config, topics: Arc<Topics>) -> KafkaResult<Self> {
        let shared = Arc::<Shared>::default();
        let sender = Sender::new(config.clone(), topics, shared.clone())?;
        let spawned = std::thread::Builder::new().name("kafka-sender".to_owned()).spawn(|| sender.run());
        let thread = spawned.map_err(|_| KafkaError::Global(RDKafkaErrorCode::CriticalSystemResource))?;
        Ok(Self { config, shared, thread: Mutex::new(Some(thread)) })
    }

    /// Sends the records of one call, or refuses it at once.
    pub fn append(&self, call: Call) {
        let bytes = call.records.iter().map(queued_bytes).sum();
        let before = self.shared.statistics.queue_bytes.fetch_add(bytes, Relaxed);
        if before + bytes > self.config.queue_bytes_max as u64 {
            self.refuse(call, bytes, AppendError::Full(before as usize));
            return;
        }
        let mut call = Some(call);
        self.shared.leave(|waiting| {
            if waiting.ends_at.is_none() {
                waiting.calls.extend(call.take());
            }
        });
        if let Some(call) = call {
            self.refuse(call, bytes, AppendError::ShuttingDown);
        }
    }

    fn refuse(&self, call: Call, bytes: u64, error: AppendError) {
        self.shared.statistics.queue_bytes.fetch_sub(bytes, Relaxed);
        let _ = call.receipt.send(Err(error));
    }

    pub fn statistics(&self) -> Arc<Statistics> {
        self.shared.statistics.clone()
    }

    pub fn health(&self) -> Health {
        self.shared.health.lock().clone().map_or(Health::Writable, Health::ReadOnly)
    }

    pub fn fail_for_good(&self) {
        self.shared.leave(|waiting| waiting.fail_for_good = true);
    }

    /// Takes nothing more and waits for what is under way. Blocks.
    pub fn close(&self) {
        self.end(self.config.delivery_timeout());
    }

    fn end(&self, patience: Duration) {
        let ends_at = Instant::now() + patience;
        self.shared.leave(|waiting| waiting.ends_at = waiting.ends_at.or(Some(ends_at)));
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

pub(super) fn queued_bytes(append: &Append) -> u64 {
    (append.record.len() + OVERHEAD_BYTES) as u64
}
