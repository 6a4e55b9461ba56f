//! The input as entries of bulk requests, and entries as batches.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    io::{BufRead, Read},
};

use anyhow::Context;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::csv::{self, Header};

/// Longest line, or record of several lines.
pub const LINE_BYTES_MAX: usize = 256 * 1024;
/// Entries of one call at most (rest §4).
const BATCH_ENTRIES_MAX: usize = 100;
/// Bytes of one call; the hub takes 1 MiB.
const BATCH_BYTES_MAX: usize = 512 * 1024;

/// Where an entry stands in the file, and what it says.
#[derive(Clone, Debug)]
pub struct Entry {
    pub line: u64,
    pub members: Map<String, Value>,
}

impl Entry {
    /// A member that is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.members.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }
}

/// Entries of one call.
pub type Batch = Vec<Entry>;

/// Reads entries: JSON lines when the input begins with an object, else CSV.
pub struct Lines<R> {
    input: R,
    /// `None`: JSON lines.
    header: Option<Header>,
    line: u64,
}

/// What stands in a line, or in several for a record of CSV.
enum Found {
    Entry(anyhow::Result<Map<String, Value>>),
    Empty,
    End,
}

impl<R: BufRead> Lines<R> {
    pub fn new(mut input: R) -> anyhow::Result<Self> {
        let header = Self::header(&mut input).context("line 1")?;
        let (header, line) = header.map_or((None, 0), |(header, lines)| (Some(header), lines));
        Ok(Self { input, header, line })
    }

    fn header(input: &mut R) -> anyhow::Result<Option<(Header, u64)>> {
        if input.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
            input.consume(3);
        }
        if input.fill_buf()?.trim_ascii_start().first() == Some(&b'{') {
            return Ok(None);
        }
        let (names, lines) = csv::record(input)?.context("the file is empty")?;
        Ok(Some((Header::parse(&names)?, lines)))
    }

    /// The next entry with its line, or why the line is none; `None` at the end.
    #[expect(clippy::type_complexity, reason = "an error of the input is not an error of a line")]
    pub fn next(&mut self) -> anyhow::Result<Option<(u64, anyhow::Result<Map<String, Value>>)>> {
        loop {
            let line = self.line + 1;
            match self.read().with_context(|| format!("line {line}"))? {
                Found::Entry(entry) => return Ok(Some((line, entry.and_then(with_id)))),
                Found::Empty => {}
                Found::End => return Ok(None),
            }
        }
    }

    fn read(&mut self) -> anyhow::Result<Found> {
        if let Some(header) = &self.header {
            let Some((cells, lines)) = csv::record(&mut self.input)? else { return Ok(Found::End) };
            self.line += lines;
            let is_empty = cells.iter().all(String::is_empty);
            return Ok(if is_empty { Found::Empty } else { Found::Entry(header.entry(cells)) });
        }
        let mut text = Vec::new();
        read_line(&mut self.input, &mut text)?;
        if text.is_empty() {
            return Ok(Found::End);
        }
        self.line += 1;
        if text.trim_ascii().is_empty() {
            return Ok(Found::Empty);
        }
        Ok(Found::Entry(serde_json::from_slice(&text).context("the line is no JSON object")))
    }
}

fn with_id(entry: Map<String, Value>) -> anyhow::Result<Map<String, Value>> {
    let id = entry.get("id").and_then(Value::as_str).unwrap_or_default();
    anyhow::ensure!(!id.is_empty(), "the line has no id");
    Ok(entry)
}

/// Appends the next line with its end; nothing at the end of the input.
pub fn read_line(input: &mut impl BufRead, text: &mut Vec<u8>) -> anyhow::Result<()> {
    let before = text.len();
    input.by_ref().take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', text)?;
    anyhow::ensure!(text.len() - before <= LINE_BYTES_MAX, "a line is longer than {LINE_BYTES_MAX} bytes");
    Ok(())
}

/// Entries on their way to callers: all of one device to the same one, so that they keep their order.
pub struct Batches {
    queues: Vec<mpsc::Sender<Batch>>,
    pending: Vec<Pending>,
}

#[derive(Default)]
struct Pending {
    batch: Batch,
    bytes: usize,
    /// The hub refuses a request that names an identity twice.
    identities: HashSet<(String, String)>,
}

impl Batches {
    pub fn new(queues: Vec<mpsc::Sender<Batch>>) -> Self {
        let pending = queues.iter().map(|_| Pending::default()).collect();
        Self { queues, pending }
    }

    /// Waits for room when its caller is busy. Returns false when nobody takes entries any more.
    pub fn add(&mut self, line: u64, members: Map<String, Value>) -> bool {
        let entry = Entry { line, members };
        let text = |name| entry.text(name).unwrap_or_default().to_owned();
        let identity = (text("id"), text("moduleId"));
        let caller = caller_of(&identity.0, self.queues.len());
        let bytes = serde_json::to_vec(&entry.members).map_or(0, |text| text.len());
        let Some(pending) = self.pending.get(caller) else { return false };
        let full = pending.batch.len() == BATCH_ENTRIES_MAX || pending.bytes + bytes > BATCH_BYTES_MAX;
        if (full || pending.identities.contains(&identity)) && !self.send(caller) {
            return false;
        }
        if let Some(pending) = self.pending.get_mut(caller) {
            pending.bytes += bytes;
            pending.identities.insert(identity);
            pending.batch.push(entry);
        }
        true
    }

    /// Sends what is left.
    pub fn flush(mut self) {
        for caller in 0..self.queues.len() {
            self.send(caller);
        }
    }

    fn send(&mut self, caller: usize) -> bool {
        let (Some(pending), Some(queue)) = (self.pending.get_mut(caller), self.queues.get(caller)) else {
            return false;
        };
        let batch = std::mem::take(pending).batch;
        batch.is_empty() || queue.blocking_send(batch).is_ok()
    }
}

fn caller_of(device_id: &str, callers: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    device_id.hash(&mut hasher);
    (hasher.finish() % callers.max(1) as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> anyhow::Result<Vec<(u64, Option<String>)>> {
        let mut lines = Lines::new(text.as_bytes())?;
        let mut found = Vec::new();
        while let Some((line, entry)) = lines.next()? {
            found.push((line, entry.ok().and_then(|entry| entry.get("id")?.as_str().map(str::to_owned))));
        }
        Ok(found)
    }

    #[test]
    fn both_forms_are_told_apart_and_bad_lines_do_not_stop_the_rest() -> anyhow::Result<()> {
        let (first, third) = ((1, Some("a".to_owned())), (4, Some("c".to_owned())));
        assert_eq!(ids("\u{feff}{\"id\":\"a\"}\n\n{\"no\":1}\n{\"id\":\"c\"}")?, [first, (3, None), third]);
        assert_eq!(ids("id,status\r\na,enabled\n,\nb\n")?, [(2, Some("a".to_owned())), (4, None)]);
        assert!(Lines::new(&b""[..]).is_err());
        Ok(())
    }

    #[test]
    fn an_identity_stands_once_in_a_batch_and_batches_are_bounded() -> anyhow::Result<()> {
        let (queue, mut receiver) = mpsc::channel(10);
        let mut batches = Batches::new(vec![queue]);
        let entry = |id: &str| Map::from_iter([("id".to_owned(), Value::from(id))]);
        let names = (0..101).map(|number| format!("d{number}")).chain(["d100".to_owned()]);
        assert!(names.enumerate().all(|(line, id)| batches.add(line as u64, entry(&id))));
        batches.flush();
        let mut sizes = Vec::new();
        while let Some(batch) = receiver.blocking_recv() {
            sizes.push(batch.len());
        }
        assert_eq!(sizes, [100, 1, 1]);
        Ok(())
    }
}
