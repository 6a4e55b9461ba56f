//! The simulated hub: three shard nodes and two gateways on one thread, with pretended disks, links and clocks that fail as
//! a seed says, then heal. A seed that fails once fails always.
//!
//! ```text
//!   main.rs   a process for each seed          world.rs    hosts, time, crashes     workload/  what devices and back ends do
//!   run.rs    one seed from start to end       network.rs  byte streams             oracle/    what must never be seen
//!   libc.rs   time and randomness under std    hub.rs      the software under test  faults.rs  what goes wrong, and when
//! ```
//!
//! `cargo test --test sim` runs some seeds, `make sim SEEDS=1000` many, `make sim SEED=17` one, with its trace.

mod faults;
mod hub;
mod libc;
mod mqtt_client;
mod network;
mod oracle;
mod random;
mod run;
mod workload;
mod world;

use std::{
    process::{Command, ExitCode, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use eventlog::{EventLog, Topic, embedded::EmbeddedLog};
use run::Verdict;
use tempfile::TempDir;

/// How many seeds run when nobody says.
const SEEDS: u64 = 12;
/// How long things go wrong, in the simulated time of a run.
const FAULTS_FOR: Duration = Duration::from_secs(30);
/// A run that takes longer, in real time, hangs.
const REAL_TIME_MAX: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    // `cargo test something` asks every test program for tests of that name.
    let mut filters = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).peekable();
    if filters.peek().is_some() && !filters.any(|filter| "simulation".contains(&filter)) {
        return ExitCode::SUCCESS;
    }
    match number("SIM_SEED") {
        Some(seed) => run_one(seed),
        None => run_many(number("SIM_FIRST_SEED").unwrap_or(1), number("SIM_SEEDS").unwrap_or(SEEDS)),
    }
}

/// In this process, which nothing else has happened in.
fn run_one(seed: u64) -> ExitCode {
    // On a thread of its own, so that nothing that is not simulated has drawn from the randomness of this one.
    let (event_log, _folder) = match std::thread::spawn(event_log).join() {
        Ok(Ok(made)) => made,
        failed => {
            println!("VIOLATION no event log: {:?}", failed.map(|failed| failed.map(|_| ())));
            return ExitCode::FAILURE;
        }
    };
    let Verdict { violations, trace, fingerprint, summary } = run::run(seed, FAULTS_FOR, event_log);
    let is_wanted = !violations.is_empty() || std::env::var("SIM_TRACE").is_ok_and(|value| !value.is_empty());
    trace.iter().filter(|_| is_wanted).for_each(|line| println!("{line}"));
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

/// One process for each seed, as many at a time as there are processors. The first seed runs twice: it has to come to the
/// same both times.
fn run_many(first: u64, count: u64) -> ExitCode {
    println!("\nrunning {} tests", count + 1);
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let workers = std::thread::available_parallelism().map_or(1, |number| number.get());
    let failed = Arc::new(AtomicU64::new(0));
    let fingerprints = parking_lot::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number > count {
                        return;
                    }
                    let seed = first + number % count;
                    let (is_well, output) = run_process(seed);
                    let name = if number == count { format!("seed {seed} again") } else { format!("seed {seed}") };
                    println!("test {name} ... {}", if is_well { "ok" } else { "FAILED" });
                    if !is_well {
                        failed.fetch_add(1, Ordering::Relaxed);
                        println!("{output}\nreproduce with: make sim SEED={seed}");
                    }
                    if seed == first {
                        fingerprints.lock().push(output.lines().last().unwrap_or_default().to_owned());
                    }
                }
            });
        }
    });
    let fingerprints = fingerprints.into_inner();
    if fingerprints.iter().any(|one| Some(one) != fingerprints.first()) {
        println!("the same seed came to different ends: {fingerprints:?}");
        failed.fetch_add(1, Ordering::Relaxed);
    }
    let failed = failed.load(Ordering::Relaxed);
    let (verdict, passed) = (if failed == 0 { "ok" } else { "FAILED" }, (count + 1).saturating_sub(failed));
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out; finished in {seconds:.2}s\n"
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_process(seed: u64) -> (bool, String) {
    let spawned = std::env::current_exe().and_then(|program| {
        let mut command = Command::new(program);
        command.env("SIM_SEED", seed.to_string()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()
    });
    let child = match spawned {
        Ok(child) => child,
        Err(error) => return (false, format!("no process: {error}")),
    };
    let id = child.id();
    let done = Arc::new(AtomicU64::new(0));
    let watched = done.clone();
    let watch = std::thread::spawn(move || {
        let began = Instant::now();
        while watched.load(Ordering::Relaxed) == 0 && began.elapsed() < REAL_TIME_MAX {
            std::thread::sleep(Duration::from_millis(50));
        }
        if watched.load(Ordering::Relaxed) == 0 {
            let _ = Command::new("kill").arg(id.to_string()).status();
        }
    });
    let ended = child.wait_with_output();
    done.store(1, Ordering::Relaxed);
    let _ = watch.join();
    match ended {
        Ok(output) => (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(error) => (false, error.to_string()),
    }
}
