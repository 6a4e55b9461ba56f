//! What an import has done so far: counts for people, failures for a file.

use std::{
    fs::File,
    io::{self, BufWriter, IsTerminal, Write},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use serde::Serialize;
use serde_json::{Value, json};

use super::lines::Entry;
use crate::command::output::Output;

/// Failures that are shown when they go to no file.
const SHOWN_FAILURES_MAX: u64 = 10;

/// A line that failed, as it stands in the result file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure<'a> {
    line: u64,
    id: Option<&'a str>,
    module_id: Option<&'a str>,
    error_code: Option<u64>,
    error: String,
}

impl<'a> Failure<'a> {
    /// A line that was not understood.
    pub fn of_line(line: u64, error: &anyhow::Error) -> Self {
        Self { line, id: None, module_id: None, error_code: None, error: format!("{error:#}") }
    }

    /// An entry that the hub refused with that error.
    pub fn of_entry(entry: &'a Entry, error: &Value) -> Self {
        let text = error.get("errorStatus").and_then(Value::as_str).unwrap_or_default();
        Self {
            line: entry.line,
            id: entry.text("id"),
            module_id: entry.text("moduleId"),
            error_code: error.get("errorCode").and_then(Value::as_u64),
            error: text.to_owned(),
        }
    }
}

pub struct Progress {
    begun: Instant,
    done: AtomicU64,
    failed: AtomicU64,
    result: Mutex<Option<BufWriter<File>>>,
    /// The first error of writing the result file.
    unwritten: Mutex<Option<io::Error>>,
    is_terminal: bool,
}

impl Progress {
    pub fn new(result: Option<&Path>) -> anyhow::Result<Self> {
        let create = |path: &Path| File::create(path).with_context(|| format!("cannot write {}", path.display()));
        let result = result.map(create).transpose()?.map(BufWriter::new);
        Ok(Self {
            begun: Instant::now(),
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            result: Mutex::new(result),
            unwritten: Mutex::default(),
            is_terminal: io::stderr().is_terminal(),
        })
    }

    /// One entry is as the file says.
    pub fn done(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// One line failed.
    pub fn failed(&self, failure: &Failure<'_>) {
        let count = self.failed.fetch_add(1, Ordering::Relaxed);
        let mut result = self.result.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = result.as_mut() {
            let written = serde_json::to_writer(&mut *file, failure).map_err(io::Error::from);
            if let Err(error) = written.and_then(|()| file.write_all(b"\n")) {
                self.unwritten.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        } else if count < SHOWN_FAILURES_MAX {
            let id = failure.id.map(|id| format!(" ({id})")).unwrap_or_default();
            self.say(&format!("line {}{id}: {}", failure.line, failure.error));
        } else if count == SHOWN_FAILURES_MAX {
            self.say("more lines failed; --result FILE keeps them all");
        }
    }

    /// Something that passes, hopefully.
    pub fn note(&self, error: &anyhow::Error) {
        self.say(&format!("{error:#}; trying again"));
    }

    /// Shows the counts until it is dropped.
    pub async fn show(self: Arc<Self>) {
        let every = Duration::from_secs(if self.is_terminal { 1 } else { 10 });
        let mut before = (Instant::now(), 0);
        loop {
            tokio::time::sleep(every).await;
            let (done, failed) = self.counts();
            let now = (Instant::now(), done + failed);
            let rate = (now.1 - before.1) as f64 / (now.0 - before.0).as_secs_f64();
            let line = format!("{done} done, {failed} failed, {rate:.0} per second");
            if self.is_terminal {
                eprint!("\r\x1b[K{line}");
            } else {
                eprintln!("{line}");
            }
            before = now;
        }
    }

    /// The summary, and whether all went well.
    pub fn finish(&self, json: bool, read: anyhow::Result<()>) -> anyhow::Result<()> {
        let flushed = self.result.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map_or(Ok(()), Write::flush);
        self.print_summary(json);
        let unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner).take();
        read?;
        unwritten.map_or(flushed, Err).context("the result file is not complete")?;
        let (done, failed) = self.counts();
        anyhow::ensure!(failed == 0, "{failed} of {} lines failed", done + failed);
        Ok(())
    }

    /// Prints how much was done.
    pub fn print_summary(&self, json: bool) {
        let (done, failed) = self.counts();
        let seconds = self.begun.elapsed().as_secs_f64();
        let rate = done as f64 / seconds.max(f64::MIN_POSITIVE);
        if self.is_terminal {
            eprint!("\r\x1b[K");
        }
        let json_summary = json!({ "done": done, "failed": failed, "seconds": seconds });
        let text = format!("{done} done, {failed} failed in {seconds:.1} s ({rate:.0} per second)");
        Output { json: json_summary, text }.print(json);
    }

    fn counts(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }

    fn say(&self, line: &str) {
        eprintln!("{}{line}", if self.is_terminal { "\r\x1b[K" } else { "" });
    }
}
