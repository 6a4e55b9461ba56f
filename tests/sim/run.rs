//! One run of the simulation: what follows from one seed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use eventlog::EventLog;
use parking_lot::Mutex;

use crate::{faults, hub, libc, oracle::Oracle, random::Random, world::World};

/// What devices and back ends are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// The hub and its devices are made.
    Preparing,
    /// Devices come and go, back ends write and send, hosts and links fail.
    Working,
    /// Nothing fails any more, nobody begins anything new, and connections stay.
    Quiet,
    /// Everything that waits is fetched.
    Draining,
    /// Looked at what is left, too.
    Finished,
}

/// What all hosts have in common because it is not part of the system.
pub struct Shared {
    pub oracle: Mutex<Oracle>,
    pub event_log: Arc<dyn EventLog>,
    /// Nodes whose disks are gone and whose place nobody has taken yet. One at a time: more would be too many.
    pub lost_nodes: Mutex<Vec<u64>>,
    phase: AtomicU8,
}

impl Shared {
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Preparing,
            1 => Phase::Working,
            2 => Phase::Quiet,
            3 => Phase::Draining,
            _ => Phase::Finished,
        }
    }

    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
        self.oracle.lock().note(|| format!("-- {phase:?}"));
    }

    /// Waits until the phase has come.
    pub async fn reach(&self, phase: Phase) {
        while self.phase() < phase {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What a run found.
pub struct Verdict {
    pub violations: Vec<String>,
    /// The newest events, for people.
    pub trace: Vec<String>,
    /// Of every event: two runs of a seed have the same.
    pub fingerprint: u64,
    pub summary: String,
}

const PREPARING_MAX: Duration = Duration::from_secs(30);
/// Connections that were replaced meanwhile are told so within that time,
const QUIET: Duration = Duration::from_secs(20);
/// and whatever waits can be had within that.
const DRAINING_MAX: Duration = Duration::from_secs(300);

/// Runs the seed, with faults for so long. The event log has the topic that gateways want.
pub fn run(seed: u64, faults_for: Duration, event_log: Arc<dyn EventLog>) -> Verdict {
    libc::seed(seed);
    let mut random = Random::new(seed);
    let shared = Arc::new(Shared {
        oracle: Mutex::default(),
        event_log,
        lost_nodes: Mutex::default(),
        phase: AtomicU8::new(Phase::Preparing as u8),
    });
    let mut world = World::new(random.fork(), shared.clone());
    world.heal();
    if world.advance_until(PREPARING_MAX, |shared| shared.phase() > Phase::Preparing) {
        faults::inject(&mut world, &mut random.fork(), faults_for);
        world.heal();
        shared.enter(Phase::Quiet);
        world.advance(QUIET);
        shared.oracle.lock().check_quiet();
        shared.enter(Phase::Draining);
        if world.advance_until(DRAINING_MAX, |shared| shared.phase() == Phase::Finished) {
            shared.oracle.lock().check_end();
        } else {
            shared.oracle.lock().violation("the healed hub does not answer everything that it is asked");
        }
    } else {
        shared.oracle.lock().violation("a hub without faults could not be made");
    }
    (hub::SHARDS).chain(hub::GATEWAYS).chain([hub::DEVICES]).for_each(|host| world.kill(host, false));
    let mut oracle = shared.oracle.lock();
    Verdict {
        violations: std::mem::take(&mut oracle.violations),
        trace: oracle.take_trace(),
        fingerprint: oracle.fingerprint(),
        summary: oracle.summary(),
    }
}
