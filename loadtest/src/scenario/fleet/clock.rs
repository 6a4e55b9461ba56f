//! The course of a run: its phases, its slots, and a line for whoever watches.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use super::{operation::Operation, shared::Fleet};
use crate::{console, fleet_report::Slot};

/// A page has that many slots at most, whatever the length of the run.
const SLOTS_MAX: u32 = 600;
/// Between two lines.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// From here on a device counts as one without service, in slots and lines.
pub const NOTICEABLE: Duration = Duration::from_secs(1);

pub struct Clock {
    fleet: Rc<Fleet>,
    began: Instant,
    pub began_at: jiff::Timestamp,
    /// Length of the slots.
    pub slot: Duration,
    steady: Cell<Option<Duration>>,
    end: Cell<Option<Duration>>,
}

impl Clock {
    pub fn start(fleet: Rc<Fleet>) -> Self {
        let planned = fleet.options.ramp_up() + fleet.options.steady();
        let slot = Duration::from_secs(planned.as_secs().div_ceil(SLOTS_MAX.into()).max(1));
        let (steady, end) = (Cell::new(None), Cell::new(None));
        Self { fleet, began: Instant::now(), began_at: jiff::Timestamp::now(), slot, steady, end }
    }

    /// Since the begin of the run.
    pub fn since_begin(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.began)
    }

    pub fn begin_steady(&self) {
        self.steady.set(Some(self.began.elapsed()));
        self.fleet.begin_steady();
    }

    pub fn end_steady(&self) {
        self.end.set(Some(self.began.elapsed()));
    }

    /// How long the ramp-up was.
    pub fn ramp_up(&self) -> Duration {
        self.steady.get().unwrap_or_else(|| self.began.elapsed())
    }

    /// How long the steady phase was.
    pub fn steady(&self) -> Duration {
        self.end.get().unwrap_or_else(|| self.began.elapsed()).saturating_sub(self.ramp_up())
    }

    /// Closes slots and prints lines until it is dropped.
    pub async fn run(self: Rc<Self>) {
        let (mut slot_began, mut line) = (self.began, self.began);
        loop {
            tokio::time::sleep_until((slot_began + self.slot).into()).await;
            let now = Instant::now();
            let without_service = self.fleet.without_service(now, NOTICEABLE);
            let began = self.since_begin(slot_began);
            self.fleet.recorder.close_slot(began, now - slot_began, without_service);
            slot_began = now;
            if now - line >= LINE_EVERY {
                let slots = self.fleet.recorder.slots_since(self.since_begin(line));
                line = now;
                self.print(&slots, now);
            }
        }
    }

    fn print(&self, slots: &[Slot], now: Instant) {
        let Some(last) = slots.last() else { return };
        let mean = |operation: Operation| {
            let each = slots.iter().filter_map(|slot| slot.operations.get(operation as usize));
            each.map(|of| of.per_second).sum::<f64>() / slots.len() as f64
        };
        let all: Vec<_> =
            Operation::ALL.iter().map(|operation| format!("{} {:.0}", operation.name(), mean(*operation))).collect();
        let longest = self.fleet.each(|account| account.service.longest(now).map(|gap| gap.length));
        console::progress(&format!(
            "{:>5.0} s {}: {} connected, {} without service, longest {:.1} s; per second: {}; {} errors",
            self.since_begin(now).as_secs_f64(),
            if self.end.get().is_some() { "end" } else { last.phase.name() },
            last.connected,
            last.without_service,
            longest.into_iter().flatten().max().unwrap_or_default().as_secs_f64(),
            all.join(", "),
            self.fleet.recorder.error_count(),
        ));
    }
}
