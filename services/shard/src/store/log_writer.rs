use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
};

use parking_lot::Mutex;
use rocksdb::WriteBatch;
use tokio::sync::oneshot;

use super::{StoreError, database::Database, keys};

/// Changes that wait; each group has few in flight, so this is never reached.
const QUEUED_CHANGES_MAX: usize = 4096;

/// A batch takes no more changes once it is this large.
const BATCH_BYTES: usize = 8 << 20;

type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Changes of one group's log, in the order they are to be made.
pub(super) struct LogChange {
    pub puts: Vec<(Vec<u8>, Vec<u8>)>,
    /// Deleted before the puts: from (inclusive) to (exclusive).
    pub delete: Option<([u8; 14], [u8; 14])>,
    /// Whether `done` has to wait for the disk.
    pub synced: bool,
    pub done: Done,
}

/// The one thread that writes the logs of all groups: whatever waits becomes one batch and one fsync.
pub struct LogWriter {
    sender: Mutex<Option<SyncSender<LogChange>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl LogWriter {
    /// Starts the thread.
    pub fn start(database: Arc<Database>) -> Result<Arc<Self>, StoreError> {
        let (sender, receiver) = sync_channel(QUEUED_CHANGES_MAX);
        let thread = std::thread::Builder::new().name("log-writer".into()).spawn(move || run(&database, &receiver))?;
        Ok(Arc::new(Self { sender: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)) }))
    }

    /// Queues a change; changes are made in the order of the calls.
    pub(super) fn submit(&self, change: LogChange) {
        let refused = match self.sender.lock().as_ref() {
            None => Some((change, StoreError::Closing)),
            Some(sender) => match sender.try_send(change) {
                Ok(()) => None,
                Err(TrySendError::Full(change)) => Some((change, StoreError::Disk("the log's queue is full".into()))),
                Err(TrySendError::Disconnected(change)) => Some((change, StoreError::Closing)),
            },
        };
        if let Some((change, error)) = refused {
            (change.done)(Err(error));
        }
    }

    /// Queues a change and waits until it is made.
    pub(super) async fn write(
        &self,
        puts: Vec<(Vec<u8>, Vec<u8>)>,
        delete: Option<([u8; 14], [u8; 14])>,
    ) -> Result<(), StoreError> {
        let (sender, receiver) = oneshot::channel();
        let done: Done = Box::new(move |result| {
            // Nobody waits any more when the group has stopped.
            let _ = sender.send(result);
        });
        self.submit(LogChange { puts, delete, synced: true, done });
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

fn run(database: &Database, receiver: &Receiver<LogChange>) {
    while let Ok(first) = receiver.recv() {
        let mut batch = WriteBatch::default();
        let mut synced = false;
        let mut waiting = Vec::new();
        let mut result = Ok(());
        for change in std::iter::once(first).chain(receiver.try_iter()) {
            result = result.and_then(|()| add(database, &mut batch, &change));
            synced |= change.synced;
            waiting.push(change.done);
            if batch.size_in_bytes() >= BATCH_BYTES {
                break;
            }
        }
        let result = result.and_then(|()| database.write(batch, synced));
        if let Err(error) = &result {
            tracing::error!(%error, "the log cannot be written; its groups stop");
        }
        waiting.into_iter().for_each(|done| done(result.clone()));
    }
}

fn add(database: &Database, batch: &mut WriteBatch, change: &LogChange) -> Result<(), StoreError> {
    let family = database.family(keys::LOG)?;
    if let Some((from, to)) = change.delete {
        batch.delete_range_cf(&family, from, to);
    }
    for (key, value) in &change.puts {
        batch.put_cf(&family, key, value);
    }
    Ok(())
}
