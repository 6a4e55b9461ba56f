//! Spreads messages evenly over time: one turn every 1/rate seconds, handed to the connections one after the other.

use std::{
    cell::RefCell,
    collections::VecDeque,
    rc::Rc,
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::measurement::Counters;

/// Shorter sleeps cost more than they spread.
const PERIOD_MIN: Duration = Duration::from_micros(100);

/// When one connection should have sent its next messages.
#[derive(Default)]
pub struct Turns {
    due: RefCell<VecDeque<Instant>>,
    added: Notify,
}

impl Turns {
    pub fn take(&self) -> Option<Instant> {
        self.due.borrow_mut().pop_front()
    }

    /// Waits for another turn; returns at once when one came since the last wait.
    pub async fn wait(&self) {
        self.added.notified().await;
    }

    fn add(&self, due: Instant) {
        self.due.borrow_mut().push_back(due);
        self.added.notify_one();
    }
}

/// Gives turns until the run is stopped.
pub async fn run(rate: u32, connections: Vec<Rc<Turns>>, counters: Rc<Counters>) -> anyhow::Result<()> {
    let period = Duration::from_secs_f64(1.0 / f64::from(rate)).max(PERIOD_MIN);
    let clock = Arc::new(Notify::new());
    let weak = Arc::downgrade(&clock);
    thread::Builder::new().name("pacer".into()).spawn(move || tick(&weak, period))?;
    let start = Instant::now();
    let mut given = 0_u64;
    let mut next = connections.iter().cycle();
    while !counters.stopped() {
        clock.notified().await;
        let wanted = (start.elapsed().as_secs_f64() * f64::from(rate)) as u64;
        for number in given..wanted {
            let due = start + Duration::from_secs_f64(number as f64 / f64::from(rate));
            if let Some(turns) = next.next() {
                turns.add(due);
            }
        }
        given = wanted;
    }
    Ok(())
}

/// Wakes the pacer until it is gone. A thread of its own, because the runtime's timer has steps of a millisecond, which
/// would bunch what should be spread.
fn tick(clock: &Weak<Notify>, period: Duration) {
    while let Some(clock) = clock.upgrade() {
        clock.notify_one();
        drop(clock);
        #[expect(clippy::disallowed_methods, reason = "a thread of its own, no runtime")]
        thread::sleep(period);
    }
}
