//! What devices and back ends saw, and what of it cannot be: one file for each promise.
//!
//! Nobody but the simulation's one thread is here, so events have one order: an operation that ended before another began
//! has the smaller number. An operation that never ends, because its host died, may have taken effect or not, then or later.

mod messages;
mod methods;
mod sessions;
mod twins;

use std::{
    collections::{BTreeMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

pub use messages::{Messages, Settlement, TOKEN_LOCK, Wanted};
pub use methods::Methods;
pub use sessions::{MqttConnection, Sessions};
pub use twins::{Seen, Twins, WriteId};

/// Events that are kept for people.
const TRACE_MAX: usize = 20_000;

/// When something happened, or the beginning or the end of an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event(pub u64);

#[derive(Default)]
pub struct Oracle {
    pub now: Duration,
    events: u64,
    pub violations: Vec<String>,
    trace: VecDeque<String>,
    fingerprint: DefaultHasher,
    /// How often each kind of operation ended in each way.
    outcomes: BTreeMap<(&'static str, String), u64>,
    pub twins: Twins,
    pub messages: Messages,
    pub methods: Methods,
    pub sessions: Sessions,
}

impl Oracle {
    /// The next event.
    pub fn event(&mut self) -> Event {
        self.events += 1;
        Event(self.events)
    }

    /// Takes note of something for people, and for the fingerprint.
    pub fn note(&mut self, what: impl FnOnce() -> String) {
        let line = format!("{:>9.3} {}", self.now.as_secs_f64(), what());
        line.hash(&mut self.fingerprint);
        self.trace.push_back(line);
        if self.trace.len() > TRACE_MAX {
            self.trace.pop_front();
        }
    }

    /// Counts how an operation ended.
    pub fn count(&mut self, operation: &'static str, outcome: impl Into<String>) {
        *self.outcomes.entry((operation, outcome.into())).or_default() += 1;
    }

    pub fn violation(&mut self, what: &str) {
        self.note(|| format!("!! {what}"));
        self.violations.push(what.to_owned());
    }

    /// Takes over what a check found.
    pub fn expect(&mut self, result: Result<(), String>) {
        if let Err(what) = result {
            self.violation(&what);
        }
    }

    /// When nothing has failed for a while.
    pub fn check_quiet(&mut self) {
        let result = self.sessions.check_quiet();
        self.expect(result);
    }

    /// When everything that waited was fetched.
    pub fn check_end(&mut self) {
        for result in [self.twins.check_end(), self.messages.check_end(), self.methods.check_end()] {
            self.expect(result);
        }
    }

    pub fn take_trace(&mut self) -> Vec<String> {
        std::mem::take(&mut self.trace).into()
    }

    pub fn fingerprint(&self) -> u64 {
        self.fingerprint.finish()
    }

    /// How much was done, in one line.
    pub fn summary(&self) -> String {
        let counts = self.outcomes.iter().map(|((operation, outcome), count)| format!("{operation} {outcome} {count}"));
        counts.collect::<Vec<_>>().join(", ")
    }
}
