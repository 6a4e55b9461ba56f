//! What an append costs: `cargo bench -p eventlog`. Prints a table; takes about a second per line.
//!
//! Appenders are tasks of one current-thread runtime, as in a gateway; each has one append of one record in flight, or
//! appends at a pace. CPU is the whole process: appenders, runtime, writer thread, kernel.
#![allow(clippy::unwrap_used, reason = "a failure ends the benchmark")]

use std::{
    path::Path,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use eventlog::{
    Append, EventLog, Topic,
    embedded::{Config, EmbeddedLog},
};

const RECORD_BYTES: usize = 400;
const DURATION: Duration = Duration::from_secs(1);

struct Case {
    appenders: u32,
    /// Appends per second of all together; None: as fast as receipts come.
    pace: Option<u32>,
    commit_interval: Duration,
}

struct Outcome {
    latencies: Vec<Duration>,
    elapsed: Duration,
    cpu: Duration,
    commits: u64,
}

fn main() {
    let folder = tempfile::tempdir().unwrap(); // of TMPDIR: choose a real disk
    println!("appenders     pace  interval  appends/s  records/commit  CPU us/append   p50 us   p99 us  p99.9 us");
    for (appenders, pace) in [(1, None), (200, None), (6400, None), (200, Some(5_000)), (200, Some(20_000))] {
        for interval in [0, 250, 500, 1000, 2000] {
            let case = Case { appenders, pace, commit_interval: Duration::from_micros(interval) };
            print(&case, &run(&case, folder.path(), DURATION));
        }
    }
}

fn run(case: &Case, folder: &Path, duration: Duration) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let directory = folder.join(format!("{}-{:?}-{:?}", case.appenders, case.pace, case.commit_interval));
    let commit_interval_microseconds = case.commit_interval.as_micros() as u64;
    let config = Config { directory, commit_interval_microseconds, ..Config::default() };
    let log = Arc::new(EmbeddedLog::open(config).unwrap());
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        let topic = Rc::new(Topic::new("events"));
        log.create_topic(&topic, 4).await.unwrap();
        let (cpu, started) = (cpu(), Instant::now());
        let appenders: Vec<_> = (0..case.appenders)
            .map(|number| {
                let between = case.pace.map(|pace| Duration::from_secs(1) * case.appenders / pace);
                tokio::task::spawn_local(appender(log.clone(), topic.clone(), number, between, started + duration))
            })
            .collect();
        let mut latencies = Vec::new();
        for appender in appenders {
            latencies.extend(appender.await.unwrap());
        }
        latencies.sort_unstable();
        let commits = log.statistics().commits.load(std::sync::atomic::Ordering::Relaxed);
        Outcome { latencies, elapsed: started.elapsed(), cpu: self::cpu() - cpu, commits }
    })
}

async fn appender(
    log: Arc<EmbeddedLog>,
    topic: Rc<Topic>,
    number: u32,
    between: Option<Duration>,
    until: Instant,
) -> Vec<Duration> {
    let mut latencies = Vec::new();
    let record = Bytes::from(vec![b'x'; RECORD_BYTES]);
    let mut next = Instant::now() + between.unwrap_or_default().mul_f64(f64::from(number % 97) / 97.0);
    while Instant::now() < until {
        if let Some(between) = between {
            tokio::time::sleep_until(next.into()).await;
            next += between;
        }
        let started = Instant::now();
        let append = Append { topic: (*topic).clone(), partition: number % 4, record: record.clone() };
        log.append(vec![append]).await.unwrap();
        latencies.push(started.elapsed());
    }
    latencies
}

/// User and system time of this process so far; counts in steps of 10 ms.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

fn print(case: &Case, outcome: &Outcome) {
    let appends = outcome.latencies.len();
    let quantile = |share: f64| outcome.latencies[((appends - 1) as f64 * share) as usize].as_micros();
    println!(
        "{:>9} {:>8} {:>9} {:>10.0} {:>15.1} {:>14.1} {:>8} {:>8} {:>9}",
        case.appenders,
        case.pace.map_or("free".to_owned(), |pace| pace.to_string()),
        case.commit_interval.as_micros(),
        appends as f64 / outcome.elapsed.as_secs_f64(),
        appends as f64 / outcome.commits.max(1) as f64,
        outcome.cpu.as_micros() as f64 / appends as f64,
        quantile(0.5),
        quantile(0.99),
        quantile(0.999),
    );
}
