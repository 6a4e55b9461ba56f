//! `ironhub device import`: a stream of lines becomes calls of up to 100 entries, many in flight.
//!
//! ```text
//!   file -> lines.rs, csv.rs (a thread) --by device--> caller.rs 1..N -> POST /devices
//!                                                          '--> progress.rs: counts, failures
//! ```
//!
//! Memory is bounded however long the file is: each caller has one call in flight and one that waits.

mod caller;
mod csv;
mod lines;
mod progress;

use std::{fs::File, io, path::Path, sync::Arc};

use anyhow::Context;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use self::{
    caller::Caller,
    lines::{Batch, Batches, Lines},
    progress::Progress,
};
use super::api_client::ApiClient;
use crate::arguments::ImportArguments;

/// Calls that wait for a caller.
const WAITING_BATCHES_MAX: usize = 1;

/// Imports the file; fails when a line of it failed.
pub async fn run(client: ApiClient, arguments: ImportArguments, json: bool) -> anyhow::Result<()> {
    let input = open(&arguments.file)?;
    let progress = Arc::new(Progress::new(arguments.result.as_deref())?);
    let client = Arc::new(client);
    let mut callers = JoinSet::new();
    let mut queues = Vec::new();
    for _ in 0..arguments.clients {
        let (queue, batches) = mpsc::channel::<Batch>(WAITING_BATCHES_MAX);
        queues.push(queue);
        let caller = Caller { client: client.clone(), progress: progress.clone(), mode: arguments.mode };
        callers.spawn(caller.run(batches));
    }
    let (end, reader) = oneshot::channel();
    let reading = progress.clone();
    // A thread of its own: the end of the program does not wait for a standard input that says nothing.
    std::thread::spawn(move || end.send(read(input, Batches::new(queues), &reading)));
    let showing = tokio::spawn(progress.clone().show());
    // A caller that gives up drops its queue, which ends the reader; its error says more than the reader's.
    let mut given_up = None;
    while let Some(ended) = callers.join_next().await {
        if let Err(error) = ended? {
            given_up.get_or_insert(error);
            callers.abort_all();
        }
    }
    showing.abort();
    match given_up {
        Some(error) => {
            progress.print_summary(json);
            Err(error.context("the import stopped before its end"))
        }
        None => {
            let read = reader.await.context("reading the file broke off")?;
            progress.finish(json, read.with_context(|| name_of(&arguments.file)))
        }
    }
}

/// `-` is the standard input.
fn name_of(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

fn open(path: &Path) -> anyhow::Result<Box<dyn io::Read + Send>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin()));
    }
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Box::new(file))
}

/// Reads to the end of the input, or until nobody takes any more. What stands before an error is imported.
fn read(input: Box<dyn io::Read + Send>, mut batches: Batches, progress: &Progress) -> anyhow::Result<()> {
    let read = read_lines(input, &mut batches, progress);
    batches.flush();
    read
}

fn read_lines(input: Box<dyn io::Read + Send>, batches: &mut Batches, progress: &Progress) -> anyhow::Result<()> {
    let mut lines = Lines::new(io::BufReader::new(input))?;
    while let Some((number, entry)) = lines.next()? {
        match entry {
            Ok(entry) => {
                if !batches.add(number, entry) {
                    return Ok(());
                }
            }
            Err(error) => progress.failed(&progress::Failure::of_line(number, &error)),
        }
    }
    Ok(())
}
