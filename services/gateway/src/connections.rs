//! The live connections of a gateway, and how to tell all of them that the end has come.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::Context,
};

use futures::task::AtomicWaker;
use parking_lot::Mutex;

/// All live MQTT connections; bounded together with those of HTTPS.
#[derive(Debug)]
pub struct Connections {
    max: AtomicUsize,
    count: AtomicUsize,
    next: AtomicU64,
    draining: AtomicBool,
    signals: Mutex<HashMap<u64, Arc<Signal>>>,
}

/// Tells one connection to end. A word and a waker: idle connections are many.
#[derive(Debug, Default)]
struct Signal {
    drain: AtomicBool,
    waker: AtomicWaker,
}

/// One connection's place; given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    connections: Arc<Connections>,
    number: u64,
    signal: Arc<Signal>,
}

impl Connections {
    /// Room for so many.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max: max.into(),
            count: AtomicUsize::new(0),
            next: AtomicU64::new(1),
            draining: AtomicBool::new(false),
            signals: Mutex::new(HashMap::new()),
        })
    }

    /// Makes room for so many from now on; those that are here stay.
    pub fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// A place, unless all are taken or the gateway drains.
    pub fn enter(self: &Arc<Self>) -> Option<Place> {
        if self.count.fetch_add(1, Ordering::AcqRel) >= self.max.load(Ordering::Relaxed) {
            self.count.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let signal = Arc::new(Signal::default());
        self.signals.lock().insert(number, signal.clone());
        // Looked at after the place is known, so that a drain that began meanwhile is not missed.
        signal.drain.store(self.draining.load(Ordering::SeqCst), Ordering::Release);
        Some(Place { connections: self.clone(), number, signal })
    }

    /// Tells every connection, and all that still come, to end.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        for signal in self.signals.lock().values() {
            signal.drain.store(true, Ordering::Release);
            signal.waker.wake();
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }
}

impl Place {
    /// Whether the connection must end; wakes the task when that changes.
    pub fn poll_drain(&self, context: &mut Context<'_>) -> bool {
        self.signal.waker.register(context.waker());
        self.signal.drain.load(Ordering::Acquire)
    }

    /// Waits until the connection must end.
    pub async fn draining(&self) {
        std::future::poll_fn(|context| match self.poll_drain(context) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        })
        .await;
    }

    /// Unique among the connections of this gateway; in logs.
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.signals.lock().remove(&self.number);
        self.connections.count.fetch_sub(1, Ordering::AcqRel);
    }
}
