//! What the parts of a process say about themselves.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;

/// How a part is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Not usable yet, for the given reason; the process is not ready.
    Starting(String),
    /// Does everything it is there for.
    Ready,
    /// Does less than it should, for instance refuses writes because the disk is full. The process stays ready:
    /// what still works should be reachable.
    Degraded(String),
    /// Will not recover by itself; the process is neither ready nor live.
    Failed(String),
}

impl State {
    fn name(&self) -> &'static str {
        match self {
            Self::Starting(_) => "starting",
            Self::Ready => "ready",
            Self::Degraded(_) => "degraded",
            Self::Failed(_) => "failed",
        }
    }

    fn reason(&self) -> Option<&str> {
        match self {
            Self::Ready => None,
            Self::Starting(reason) | Self::Degraded(reason) | Self::Failed(reason) => Some(reason),
        }
    }
}

type Probe = Arc<dyn Fn() -> State + Send + Sync>;

/// The health of a process: named parts, each with a state. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct Health {
    parts: Arc<Mutex<BTreeMap<&'static str, Probe>>>,
}

impl Health {
    /// No parts yet, which counts as ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part that reports its own changes; it starts as `Starting`. The same name again replaces the part.
    pub fn part(&self, name: &'static str) -> Part {
        let state = Arc::new(Mutex::new(State::Starting("has not reported yet".to_owned())));
        let shared = Arc::clone(&state);
        self.probe(name, move || locked(&shared).clone());
        Part { name, state }
    }

    /// Adds a part that is asked whenever someone wants to know. The probe must not block.
    pub fn probe(&self, name: &'static str, probe: impl Fn() -> State + Send + Sync + 'static) {
        locked(&self.parts).insert(name, Arc::new(probe));
    }

    /// The state of every part now.
    pub fn report(&self) -> Report {
        let probes: Vec<(&'static str, Probe)> =
            locked(&self.parts).iter().map(|(name, probe)| (*name, Arc::clone(probe))).collect();
        Report::new(probes.into_iter().map(|(name, probe)| (name, probe())))
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.report().fmt(f)
    }
}

/// One part's side of [`Health`]. Dropping it leaves the last state in place.
#[derive(Clone, Debug)]
pub struct Part {
    name: &'static str,
    state: Arc<Mutex<State>>,
}

impl Part {
    /// Reports a state; a change is logged, once.
    pub fn set(&self, state: State) {
        let before = std::mem::replace(&mut *locked(&self.state), state.clone());
        if before != state {
            match state.reason() {
                None => tracing::info!(part = self.name, "{}", state.name()),
                Some(reason) => tracing::warn!(part = self.name, reason, "{}", state.name()),
            }
        }
    }
}

/// A snapshot of all parts; its JSON is what `/healthz` answers.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// `ready`, `degraded`, `starting` or `failed`: the worst of the parts.
    pub status: &'static str,
    pub parts: BTreeMap<&'static str, PartReport>,
}

/// One part in a [`Report`].
#[derive(Clone, Debug, Serialize)]
pub struct PartReport {
    pub state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Report {
    fn new(states: impl Iterator<Item = (&'static str, State)>) -> Self {
        let mut status = State::Ready.name();
        let mut parts = BTreeMap::new();
        for (name, state) in states {
            status = worse(status, state.name());
            parts.insert(name, PartReport { state: state.name(), reason: state.reason().map(str::to_owned) });
        }
        Self { status, parts }
    }

    /// Whether the process should get traffic: nothing starts and nothing failed.
    pub fn is_ready(&self) -> bool {
        matches!(self.status, "ready" | "degraded")
    }

    /// Whether the process should go on running: nothing failed for good.
    pub fn is_live(&self) -> bool {
        self.status != "failed"
    }
}

fn worse(one: &'static str, other: &'static str) -> &'static str {
    const ORDER: [&str; 4] = ["ready", "degraded", "starting", "failed"];
    let rank = |name: &str| ORDER.iter().position(|candidate| *candidate == name);
    if rank(one) >= rank(other) { one } else { other }
}

/// The states are plain values, so a panic elsewhere while the lock was held leaves nothing half done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_part_decides_and_degraded_stays_ready() {
        let health = Health::new();
        assert!(health.report().is_ready());

        let log = health.part("event-log");
        assert_eq!(health.report().status, "starting");
        assert!(!health.report().is_ready() && health.report().is_live());

        log.set(State::Ready);
        assert_eq!(health.report().status, "ready");
        health.probe("disk", || State::Degraded("no space left".to_owned()));
        let report = health.report();
        assert_eq!(report.status, "degraded");
        assert!(report.is_ready() && report.is_live());
        assert_eq!(report.parts.get("disk").and_then(|part| part.reason.as_deref()), Some("no space left"));

        log.set(State::Failed("gone".to_owned()));
        assert!(!health.report().is_ready() && !health.report().is_live());
    }

    #[test]
    fn the_report_is_json_that_names_parts_and_reasons() -> Result<(), serde_json::Error> {
        let health = Health::new();
        health.part("a").set(State::Ready);
        health.part("b").set(State::Degraded("slow".to_owned()));
        let text = serde_json::to_string(&health.report())?;
        let expected =
            r#"{"status":"degraded","parts":{"a":{"state":"ready"},"b":{"state":"degraded","reason":"slow"}}}"#;
        assert_eq!(text, expected);
        Ok(())
    }
}
