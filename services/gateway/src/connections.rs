//! The live connections of a gateway, and how to tell all of them that the end has come.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::Context,
    time::Duration,
};

use futures::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

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
        self.signals.lock().values().for_each(|signal| signal.end());
    }

    /// Tells every connection to end, one after the other, evenly over that time and in no order; those that still come,
    /// at once.
    pub async fn drain_over(&self, spread: Duration) {
        self.draining.store(true, Ordering::SeqCst);
        let present: Vec<Arc<Signal>> = self.signals.lock().values().cloned().collect();
        let (begin, count) = (Instant::now(), present.len() as f64);
        for (number, signal) in present.into_iter().enumerate() {
            sleep_until(begin + spread.mul_f64(number as f64 / count)).await;
            signal.end();
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }
}

impl Signal {
    fn end(&self) {
        self.drain.store(true, Ordering::Release);
        self.waker.wake();
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

#[cfg(test)]
mod tests {
    use super::*;

    const SPREAD: Duration = Duration::from_secs(10);

    fn must_end(places: &[Place]) -> usize {
        places.iter().filter(|place| place.signal.drain.load(Ordering::Acquire)).count()
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_is_spread_evenly_and_newcomers_have_no_turn() {
        let connections = Connections::new(2000);
        let places: Vec<Place> = (0..1000).flat_map(|_| connections.enter()).collect();
        let begin = Instant::now();
        let draining = connections.clone();
        let draining = tokio::spawn(async move { draining.drain_over(SPREAD).await });
        for second in 1..10 {
            sleep_until(begin + Duration::from_secs(second)).await;
            let told = must_end(&places);
            assert!((100 * second as usize).abs_diff(told) <= 2, "{told} after {second} s");
        }
        assert_eq!(must_end(&connections.enter().into_iter().collect::<Vec<_>>()), 1);
        assert!(draining.await.is_ok() && begin.elapsed() <= SPREAD);
        assert_eq!(must_end(&places), 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_there_means_nothing_to_wait_for() {
        let connections = Connections::new(1);
        let begin = Instant::now();
        connections.drain_over(SPREAD).await;
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }
}
