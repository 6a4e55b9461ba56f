//! What is counted while a scenario runs, and what comes of it.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    console,
    histogram::Histogram,
    server_process::{Memory, ServerProcess},
};

/// Kinds of errors that are told apart; the rest is counted together.
const ERROR_KINDS_MAX: usize = 20;

/// Counters that all tasks of a run share; they live on one thread.
#[derive(Default)]
pub struct Counters {
    done: Cell<u64>,
    measured: Cell<u64>,
    measuring: Cell<bool>,
    stopped: Cell<bool>,
    latency: RefCell<Histogram>,
    errors: RefCell<BTreeMap<String, u64>>,
}

impl Counters {
    /// `count` things were done, without a latency to tell.
    pub fn add(&self, count: u64) {
        self.done.set(self.done.get() + count);
        if self.measuring.get() {
            self.measured.set(self.measured.get() + count);
        }
    }

    /// One thing was done and took that long.
    pub fn record(&self, latency: Duration) {
        self.record_many(1, latency);
    }

    /// `count` things were done at once and took that long together.
    pub fn record_many(&self, count: u64, latency: Duration) {
        self.add(count);
        if self.measuring.get() {
            self.latency.borrow_mut().record(latency);
        }
    }

    pub fn error(&self, error: &anyhow::Error) {
        let mut errors = self.errors.borrow_mut();
        let text = format!("{error:#}");
        let kind = if errors.len() < ERROR_KINDS_MAX || errors.contains_key(&text) { text } else { "others".into() };
        *errors.entry(kind).or_default() += 1;
    }

    /// Counts an error unless the run is over.
    pub fn unless_stopped(&self, result: anyhow::Result<()>) {
        if let Err(error) = result
            && !self.stopped()
        {
            self.error(&error);
        }
    }

    pub fn stop(&self) {
        self.stopped.set(true);
    }

    /// Whether tasks should end.
    pub fn stopped(&self) -> bool {
        self.stopped.get()
    }

    /// How many things were done so far.
    pub fn done(&self) -> u64 {
        self.done.get()
    }

    /// An error if there was any.
    pub fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(self.error_count() == 0, "{:?}", self.errors.borrow());
        Ok(())
    }

    fn error_count(&self) -> u64 {
        self.errors.borrow().values().sum()
    }

    /// Measures for a while; prints a line each second.
    pub async fn measure(
        &self,
        what: &str,
        unit: &str,
        duration: Duration,
        server: Option<ServerProcess>,
    ) -> anyhow::Result<Measurement> {
        self.measured.set(0);
        *self.latency.borrow_mut() = Histogram::default();
        self.measuring.set(true);
        let before = Sample::take(server)?;
        self.progress(what, unit, duration).await;
        let after = Sample::take(server)?;
        self.measuring.set(false);
        Ok(self.conclude(&before, &after, server.map(ServerProcess::memory).transpose()?))
    }

    /// Prints a line each second until the time is over.
    pub async fn progress(&self, what: &str, unit: &str, duration: Duration) {
        let end = Instant::now() + duration;
        let mut last = (Instant::now(), self.done.get());
        while Instant::now() < end {
            let pause = (end - Instant::now()).min(Duration::from_secs(1));
            tokio::time::sleep(pause).await;
            let now = (Instant::now(), self.done.get());
            let rate = (now.1 - last.1) as f64 / (now.0 - last.0).as_secs_f64();
            let (done, errors) = (now.1, self.error_count());
            console::progress(&format!("{what}: {rate:>9.0} {unit}/s, {done} so far, {errors} errors"));
            last = now;
        }
    }

    fn conclude(&self, before: &Sample, after: &Sample, memory: Option<Memory>) -> Measurement {
        let count = self.measured.get();
        let seconds = (after.at - before.at).as_secs_f64();
        let per_item = |used: Duration| if count == 0 { f64::NAN } else { used.as_secs_f64() * 1e6 / count as f64 };
        let latency = self.latency.borrow();
        let milliseconds = |share| latency.quantile(share).map(|duration| duration.as_secs_f64() * 1e3);
        let server_cpu = after.server.zip(before.server).map(|(after, before)| after - before);
        Measurement {
            count,
            seconds,
            per_second: count as f64 / seconds,
            errors: self.errors.borrow().clone(),
            latency_p50_milliseconds: milliseconds(0.5),
            latency_p99_milliseconds: milliseconds(0.99),
            latency_p999_milliseconds: milliseconds(0.999),
            server_cpu_microseconds: server_cpu.map(per_item),
            server_cpu_cores: server_cpu.map(|used| used.as_secs_f64() / seconds),
            generator_cpu_microseconds: per_item(after.generator - before.generator),
            server_resident_bytes: memory.map(|memory| memory.resident),
            server_private_bytes: memory.map(|memory| memory.private),
        }
    }
}

struct Sample {
    at: Instant,
    server: Option<Duration>,
    generator: Duration,
}

impl Sample {
    fn take(server: Option<ServerProcess>) -> anyhow::Result<Self> {
        let server = server.map(ServerProcess::cpu_time).transpose()?;
        Ok(Self { at: Instant::now(), server, generator: ServerProcess::this().cpu_time()? })
    }
}

/// The result of one measured stretch. "Per item": per message, connect or request.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Measurement {
    pub count: u64,
    pub seconds: f64,
    pub per_second: f64,
    pub errors: BTreeMap<String, u64>,
    pub latency_p50_milliseconds: Option<f64>,
    pub latency_p99_milliseconds: Option<f64>,
    pub latency_p999_milliseconds: Option<f64>,
    /// Per item; user and system time.
    pub server_cpu_microseconds: Option<f64>,
    pub server_cpu_cores: Option<f64>,
    /// Per item.
    pub generator_cpu_microseconds: f64,
    pub server_resident_bytes: Option<u64>,
    pub server_private_bytes: Option<u64>,
}

impl Measurement {
    /// Each figure's median of several rounds; errors are added up.
    pub fn median(rounds: &[Self]) -> Self {
        let figure = |of: &dyn Fn(&Self) -> f64| {
            let mut values: Vec<f64> = rounds.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
        };
        let optional = |of: fn(&Self) -> Option<f64>| {
            let known = rounds.iter().all(|round| of(round).is_some());
            (known && !rounds.is_empty()).then(|| figure(&|round| of(round).unwrap_or(f64::NAN)))
        };
        let mut errors = BTreeMap::new();
        for (kind, count) in rounds.iter().flat_map(|round| &round.errors) {
            *errors.entry(kind.clone()).or_default() += count;
        }
        Self {
            count: figure(&|round| round.count as f64) as u64,
            seconds: figure(&|round| round.seconds),
            per_second: figure(&|round| round.per_second),
            errors,
            latency_p50_milliseconds: optional(|round| round.latency_p50_milliseconds),
            latency_p99_milliseconds: optional(|round| round.latency_p99_milliseconds),
            latency_p999_milliseconds: optional(|round| round.latency_p999_milliseconds),
            server_cpu_microseconds: optional(|round| round.server_cpu_microseconds),
            server_cpu_cores: optional(|round| round.server_cpu_cores),
            generator_cpu_microseconds: figure(&|round| round.generator_cpu_microseconds),
            server_resident_bytes: optional(|round| round.server_resident_bytes.map(|bytes| bytes as f64))
                .map(|bytes| bytes as u64),
            server_private_bytes: optional(|round| round.server_private_bytes.map(|bytes| bytes as f64))
                .map(|bytes| bytes as u64),
        }
    }
}
