//! Appends on their way to the writer: bounded in bytes, first in, first out.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::statistics::Statistics;
use crate::{Append, AppendError, Appended, Topic};

/// What a record costs in the queue besides its bytes.
const OVERHEAD_BYTES: usize = 64;

/// Resolves one call of `append`.
pub(super) type Sender = oneshot::Sender<Result<Vec<Appended>, AppendError>>;

/// One call of `append`: so many of the records, in order.
pub(super) struct Call {
    pub records: usize,
    pub sender: Sender,
}

/// Records of several calls. The writer swaps its emptied one for the full one, so the vectors are reused.
#[derive(Default)]
pub(super) struct Batch {
    /// Number of the topic-partition, and the record.
    pub records: Vec<(u32, Bytes)>,
    pub calls: Vec<Call>,
}

impl Batch {
    /// Bytes as the queue counts them.
    fn bytes(&self) -> usize {
        self.records.iter().map(|(_, record)| record.len() + OVERHEAD_BYTES).sum()
    }

    /// Resolves all calls with that error.
    pub fn fail(&mut self, error: &AppendError) {
        for call in self.calls.drain(..) {
            let _ = call.sender.send(Err(error.clone()));
        }
        self.records.clear();
    }
}

#[derive(Default)]
struct State {
    waiting: Batch,
    /// Waiting and being written.
    bytes: usize,
    closing: bool,
    /// The writer is wanted for its upkeep.
    upkeep: bool,
}

/// Why the writer woke up.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wake {
    Records,
    Deadline,
    /// Somebody asked for it.
    Upkeep,
    /// Closing, and nothing waits any more.
    Closed,
}

pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    /// For pauses, which new records do not end.
    ended: Condvar,
    bytes_max: usize,
}

impl Queue {
    pub fn new(bytes_max: usize) -> Self {
        Self { state: Mutex::default(), wake: Condvar::new(), ended: Condvar::new(), bytes_max }
    }

    /// Queues one call, or gives back the sender and why not. `number` finds a topic-partition.
    pub fn push(
        &self,
        records: Vec<Append>,
        sender: Sender,
        statistics: &Statistics,
        number: impl Fn(&Topic, u32) -> Result<u32, AppendError>,
    ) -> Result<(), (Sender, AppendError)> {
        let bytes: usize = records.iter().map(|append| append.record.len() + OVERHEAD_BYTES).sum();
        let count = records.len();
        let mut state = self.state.lock();
        if state.closing {
            return Err((sender, AppendError::ShuttingDown));
        }
        if state.bytes + bytes > self.bytes_max {
            return Err((sender, AppendError::Full(state.bytes)));
        }
        let before = state.waiting.records.len();
        for append in records {
            match number(&append.topic, append.partition) {
                Ok(number) => state.waiting.records.push((number, append.record)),
                Err(error) => {
                    state.waiting.records.truncate(before);
                    return Err((sender, error));
                }
            }
        }
        state.waiting.calls.push(Call { records: count, sender });
        state.bytes += bytes;
        statistics.queue_bytes.store(state.bytes as u64, Relaxed);
        drop(state);
        self.wake.notify_one(); // without a sleeper this is one load
        Ok(())
    }

    /// Sleeps until records wait, the deadline, or the end.
    pub fn wait(&self, deadline: Instant) -> Wake {
        let mut state = self.state.lock();
        loop {
            if !state.waiting.calls.is_empty() {
                return Wake::Records;
            }
            if state.closing {
                return Wake::Closed;
            }
            if std::mem::take(&mut state.upkeep) {
                return Wake::Upkeep;
            }
            if self.wake.wait_until(&mut state, deadline).timed_out() {
                return if state.waiting.calls.is_empty() { Wake::Deadline } else { Wake::Records };
            }
        }
    }

    /// Sleeps that long while more records gather; until the end at most.
    pub fn pause(&self, duration: Duration) {
        let mut state = self.state.lock();
        let _ = self.ended.wait_while_for(&mut state, |state| !state.closing, duration);
    }

    /// Gives all that waits, for an empty batch.
    pub fn take(&self, empty: &mut Batch) {
        debug_assert!(empty.calls.is_empty() && empty.records.is_empty());
        std::mem::swap(&mut self.state.lock().waiting, empty);
    }

    /// The room of a batch that was written, before its calls are resolved.
    pub fn release(&self, batch: &Batch, statistics: &Statistics) {
        let bytes = batch.bytes();
        let mut state = self.state.lock();
        state.bytes -= bytes;
        statistics.queue_bytes.store(state.bytes as u64, Relaxed);
    }

    /// Wakes the writer for its upkeep.
    pub fn call_for_upkeep(&self) {
        self.state.lock().upkeep = true;
        self.wake.notify_one();
    }

    /// Refuses further calls.
    pub fn close(&self) {
        self.state.lock().closing = true;
        self.wake.notify_all();
        self.ended.notify_all();
    }
}
