use std::{sync::Arc, thread::JoinHandle};

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::{
    StoreError,
    database::Database,
    key_value::{Batch, Change},
    keys,
};

/// Changes that wait; each group has few in flight, so this is never reached.
const QUEUED_CHANGES_MAX: usize = 4096;

/// A batch takes no more changes once it is this large.
const BATCH_BYTES: usize = 8 << 20;

type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Changes of one group's log, in the order they are to be made.
pub(super) struct LogChange {
    pub changes: Vec<Change>,
    /// Whether `done` has to wait for the disk.
    pub synced: bool,
    pub done: Done,
}

/// The one writer of the logs of all groups: whatever waits becomes one batch and one fsync. A thread, because it waits
/// for the disk; a task when the disk is only pretended.
pub struct LogWriter {
    sender: Mutex<Option<mpsc::Sender<LogChange>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl LogWriter {
    /// Starts the writer. Must be called within a tokio runtime when the disk is only pretended.
    pub fn start(database: Arc<Database>) -> Result<Arc<Self>, StoreError> {
        let (sender, receiver) = mpsc::channel(QUEUED_CHANGES_MAX);
        let mut thread = None;
        if database.store().pretended_sync_time().is_some() {
            tokio::spawn(run_pretended(database, receiver));
        } else {
            let run = move || run(&database, receiver);
            thread = Some(std::thread::Builder::new().name("log-writer".into()).spawn(run)?);
        }
        Ok(Arc::new(Self { sender: Mutex::new(Some(sender)), thread: Mutex::new(thread) }))
    }

    /// Queues a change; changes are made in the order of the calls.
    pub(super) fn submit(&self, change: LogChange) {
        use mpsc::error::TrySendError;
        let refused = match self.sender.lock().as_ref() {
            None => Some((change, StoreError::Closing)),
            Some(sender) => match sender.try_send(change) {
                Ok(()) => None,
                Err(TrySendError::Full(change)) => Some((change, StoreError::Disk("the log's queue is full".into()))),
                Err(TrySendError::Closed(change)) => Some((change, StoreError::Closing)),
            },
        };
        if let Some((change, error)) = refused {
            (change.done)(Err(error));
        }
    }

    /// Queues changes and waits until they are made.
    pub(super) async fn write(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let (sender, receiver) = oneshot::channel();
        let done: Done = Box::new(move |result| {
            // Nobody waits any more when the group has stopped.
            let _ = sender.send(result);
        });
        self.submit(LogChange { changes, synced: true, done });
        receiver.await.unwrap_or(Err(StoreError::Closing))
    }

    /// Writes what is queued, then ends the thread.
    pub fn stop(&self) {
        self.sender.lock().take();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the log writer has panicked");
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(database: &Database, mut receiver: mpsc::Receiver<LogChange>) {
    while let Some(first) = receiver.blocking_recv() {
        Together::gather(first, &mut receiver).write(database);
    }
}

async fn run_pretended(database: Arc<Database>, mut receiver: mpsc::Receiver<LogChange>) {
    while let Some(first) = receiver.recv().await {
        tokio::time::sleep(database.store().pretended_sync_time().unwrap_or_default()).await;
        Together::gather(first, &mut receiver).write(&database);
    }
}

/// What becomes one batch.
struct Together {
    batch: Batch,
    synced: bool,
    waiting: Vec<Done>,
}

impl Together {
    fn gather(first: LogChange, receiver: &mut mpsc::Receiver<LogChange>) -> Self {
        let mut together = Self { batch: Batch::default(), synced: false, waiting: Vec::new() };
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(change) = next {
            bytes += change.changes.iter().map(Change::bytes).sum::<usize>();
            together.batch.extend(keys::LOG, change.changes);
            together.synced |= change.synced;
            together.waiting.push(change.done);
            next = if bytes < BATCH_BYTES { receiver.try_recv().ok() } else { None };
        }
        together
    }

    fn write(self, database: &Database) {
        let result = database.store().write(self.batch, self.synced);
        if let Err(error) = &result {
            tracing::error!(%error, "the log cannot be written; its groups stop");
        }
        self.waiting.into_iter().for_each(|done| done(result.clone()));
    }
}
