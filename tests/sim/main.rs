//! The simulated hub: four shard nodes and two gateways on one thread, with pretended disks, links and clocks that fail as
//! a seed says, then heal. A seed that fails once fails always.
//!
//! ```text
//!   seeds.rs  a process for each seed          world.rs    hosts, time, crashes     workload/  what devices and back ends do
//!   run.rs    one seed from start to end       network.rs  byte streams             oracle/    what must never be seen
//!   libc.rs   time and randomness under std    hub.rs      the software under test  faults.rs  what goes wrong, and when
//! ```
//!
//! `cargo test --test sim` runs some seeds, `make sim SEEDS=1000` many, `make sim SEED=17` one, with its trace. With
//! `RUST_LOG=info` that one shows what the hub logs as well, at simulated times.

mod faults;
mod hub;
mod libc;
mod mqtt_client;
mod network;
mod oracle;
mod random;
mod run;
mod seeds;
mod workload;
mod world;

use std::{process::ExitCode, sync::Arc, time::Duration};

use eventlog::{EventLog, Topic, embedded::EmbeddedLog};
use run::Verdict;
use tempfile::TempDir;

/// How many seeds run when nobody says.
const SEEDS: u64 = 16;
/// How long things go wrong, in the simulated time of a run.
const FAULTS_FOR: Duration = Duration::from_secs(30);

#[expect(clippy::disallowed_methods, reason = "a program of its own, started by cargo, which passes no flags on")]
fn main() -> ExitCode {
    let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let number = |name: &str| text(name).and_then(|value| value.parse().ok());
    // `cargo test something` asks every test program for tests of that name.
    let mut filters = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).peekable();
    if filters.peek().is_some() && !filters.any(|filter| "simulation".contains(&filter)) {
        return ExitCode::SUCCESS;
    }
    let Some(seed) = number("SIM_SEED") else {
        return seeds::run(number("SIM_FIRST_SEED").unwrap_or(1), number("SIM_SEEDS").unwrap_or(SEEDS));
    };
    if text("RUST_LOG").is_some() {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
    run_one(seed, text("SIM_TRACE").is_some())
}

/// In this process, which nothing else has happened in. The trace is shown when it is wanted, or needed.
fn run_one(seed: u64, is_trace_wanted: bool) -> ExitCode {
    let made = event_log().map_err(|error| println!("VIOLATION no event log: {error}"));
    let Ok((event_log, _folder)) = made else { return ExitCode::FAILURE };
    // On a thread of its own, so that nothing that is not simulated has drawn from its randomness before.
    let simulated = std::thread::spawn(move || run::run(seed, FAULTS_FOR, event_log));
    let Ok(Verdict { violations, trace, fingerprint, summary }) = simulated.join() else { return ExitCode::FAILURE };
    trace.iter().filter(|_| is_trace_wanted || !violations.is_empty()).for_each(|line| println!("{line}"));
    violations.iter().for_each(|violation| println!("VIOLATION {violation}"));
    println!("seed {seed}: fingerprint {fingerprint:016x}: {summary}");
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What gateways cannot be without. It is not simulated, and nothing is appended.
fn event_log() -> anyhow::Result<(Arc<dyn EventLog>, TempDir)> {
    let folder = tempfile::tempdir()?;
    let directory = folder.path().to_owned();
    let log = EmbeddedLog::open(eventlog::embedded::Config { directory, ..Default::default() })?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(log.create_topic(&Topic::new(hub::EVENTS), 2))?;
    Ok((Arc::new(log), folder))
}
