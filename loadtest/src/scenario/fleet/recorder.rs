//! What is counted while a fleet runs: by operation, phase and slot of time.

use std::{cell::RefCell, collections::BTreeMap, time::Duration};

use super::operation::Operation;
use crate::{
    fleet_report::{ErrorCount, Phase, PhaseTotals, Slot, SlotOperation},
    histogram::Histogram,
};

/// Kinds of errors that are told apart; the rest is counted together.
const ERROR_KINDS_MAX: usize = 60;
const OPERATIONS: usize = Operation::ALL.len();

/// Counters that all tasks of a run share; they live on one thread.
pub struct Recorder {
    state: RefCell<State>,
}

struct State {
    phase: Phase,
    connected: u32,
    /// Of the slot that goes on.
    slot: Box<[Histogram; OPERATIONS]>,
    slot_errors: u64,
    totals: BTreeMap<(Phase, Operation), Totals>,
    errors: BTreeMap<(Phase, Operation, String), u64>,
    slots: Vec<Slot>,
}

#[derive(Default)]
struct Totals {
    latency: Histogram,
    errors: u64,
}

impl Default for Recorder {
    fn default() -> Self {
        let state = State {
            phase: Phase::RampUp,
            connected: 0,
            slot: Box::default(),
            slot_errors: 0,
            totals: BTreeMap::new(),
            errors: BTreeMap::new(),
            slots: Vec::new(),
        };
        Self { state: state.into() }
    }
}

impl Recorder {
    /// One operation is done and took that long.
    pub fn done(&self, operation: Operation, latency: Duration) {
        let mut state = self.state.borrow_mut();
        let phase = state.phase;
        if let Some(histogram) = state.slot.get_mut(operation as usize) {
            histogram.record(latency);
        }
        state.totals.entry((phase, operation)).or_default().latency.record(latency);
    }

    /// One operation failed.
    pub fn failed(&self, operation: Operation, why: impl Into<String>) {
        let mut state = self.state.borrow_mut();
        let phase = state.phase;
        state.slot_errors += 1;
        state.totals.entry((phase, operation)).or_default().errors += 1;
        let mut kind = (phase, operation, why.into());
        if state.errors.len() >= ERROR_KINDS_MAX && !state.errors.contains_key(&kind) {
            kind.2 = "others".to_owned();
        }
        *state.errors.entry(kind).or_default() += 1;
    }

    /// A device is connected.
    pub fn connected(&self) {
        self.state.borrow_mut().connected += 1;
    }

    /// It is no longer.
    pub fn disconnected(&self) {
        self.state.borrow_mut().connected -= 1;
    }

    /// The ramp-up is over.
    pub fn begin_steady(&self) {
        self.state.borrow_mut().phase = Phase::Steady;
    }

    /// Ends a slot of time.
    pub fn close_slot(&self, began: Duration, length: Duration, without_service: u32) {
        let mut state = self.state.borrow_mut();
        let operations = state.slot.iter_mut().map(|latency| SlotOperation::take(latency, length)).collect();
        let slot = Slot {
            began_seconds: began.as_secs_f64(),
            phase: state.phase,
            connected: state.connected,
            without_service,
            errors: std::mem::take(&mut state.slot_errors),
            operations,
        };
        state.slots.push(slot);
    }

    /// The slots that are over.
    pub fn slots(&self) -> Vec<Slot> {
        self.state.borrow().slots.clone()
    }

    /// Those of them that began then or later.
    pub fn slots_since(&self, began: Duration) -> Vec<Slot> {
        let state = self.state.borrow();
        state.slots.iter().filter(|slot| slot.began_seconds >= began.as_secs_f64()).cloned().collect()
    }

    /// How many errors there were so far.
    pub fn error_count(&self) -> u64 {
        self.state.borrow().errors.values().sum()
    }

    /// One operation's figures in a phase of that length.
    pub fn totals(&self, phase: Phase, operation: Operation, length: Duration) -> PhaseTotals {
        let state = self.state.borrow();
        let totals = state.totals.get(&(phase, operation));
        totals.map(|totals| PhaseTotals::new(&totals.latency, totals.errors, length)).unwrap_or_default()
    }

    /// All errors, by phase, operation and kind.
    pub fn errors(&self) -> Vec<ErrorCount> {
        let state = self.state.borrow();
        let count = |((phase, operation, what), count): (&(Phase, Operation, String), &u64)| ErrorCount {
            phase: *phase,
            operation: operation.name(),
            what: what.clone(),
            count: *count,
        };
        state.errors.iter().map(count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_slot_has_what_happened_in_it() {
        let recorder = Recorder::default();
        recorder.connected();
        recorder.done(Operation::Connect, Duration::from_millis(10));
        recorder.close_slot(Duration::ZERO, SECOND, 1);
        recorder.begin_steady();
        (0..4).for_each(|_| recorder.done(Operation::Telemetry, Duration::from_millis(2)));
        recorder.failed(Operation::Method, "404");
        recorder.close_slot(SECOND, 2 * SECOND, 0);
        let slots = recorder.slots();
        let count = |slot: usize, operation| slots[slot].operations[operation as usize].per_second;
        assert_eq!((count(0, Operation::Connect), count(0, Operation::Telemetry)), (1.0, 0.0));
        assert_eq!((count(1, Operation::Connect), count(1, Operation::Telemetry)), (0.0, 2.0));
        assert_eq!((slots[0].errors, slots[1].errors, slots[1].connected), (0, 1, 1));
        assert_eq!((slots[0].phase, slots[1].phase), (Phase::RampUp, Phase::Steady));
    }

    #[test]
    fn phases_are_counted_apart_and_kinds_of_errors_are_bounded() {
        let recorder = Recorder::default();
        recorder.failed(Operation::Connect, "refused");
        recorder.begin_steady();
        (0..1000).for_each(|number| recorder.failed(Operation::Connect, number.to_string()));
        assert_eq!(recorder.totals(Phase::RampUp, Operation::Connect, SECOND).errors, 1);
        assert_eq!(recorder.totals(Phase::Steady, Operation::Connect, SECOND).errors, 1000);
        let errors = recorder.errors();
        assert!(errors.len() <= ERROR_KINDS_MAX + 1);
        assert_eq!(errors.iter().map(|error| error.count).sum::<u64>(), 1001);
    }
}
