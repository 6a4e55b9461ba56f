//! `ironhub backup` and `ironhub restore`.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufReader, IsTerminal, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::{Context, ensure};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::Method;
use serde_json::{Value, json};

use super::{
    api_client::{ApiClient, Call},
    output::Output,
    target::Target,
};
use crate::{arguments::TargetArguments, configuration::Environment};

/// Frames are put together into requests of about so many bytes; the hub takes four times as many.
const REQUEST_BYTES: usize = 1 << 20;
/// The largest frame that the hub takes.
const FRAME_BYTES_MAX: usize = 1 << 20;
const PROGRESS_EVERY_BYTES: u64 = 16 << 20;

/// Writes the hub's backup beside the file first: a file that is there is a whole one.
pub async fn backup(arguments: TargetArguments, file: &Path, environment: &Environment) -> anyhow::Result<()> {
    let client = ApiClient::new(Target::find(&arguments, environment)?)?;
    let response = client.send(Call::new(Method::GET, &["ironhub", "v1", "backup"])).await?;
    let beside = file.with_extension("part");
    let cannot = || format!("cannot write {}", beside.display());
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside);
    let mut written = opened.with_context(cannot)?;
    let mut progress = Progress::new("written");
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.context("the backup broke off; the hub's log says why")?;
        let Ok(data) = frame.into_data() else { continue };
        written.write_all(&data).with_context(cannot)?;
        progress.add(data.len());
    }
    written.sync_all().with_context(cannot)?;
    fs::rename(&beside, file).with_context(|| format!("cannot write {}", file.display()))?;
    let bytes = progress.bytes;
    Output { json: json!({ "bytes": bytes }), text: format!("{}: {bytes} bytes", file.display()) }
        .print(arguments.json);
    Ok(())
}

/// Sends the rows, and the settings when all rows are there: with them the keys change that this program uses.
pub async fn restore(
    arguments: TargetArguments,
    file: &Path,
    again: bool,
    environment: &Environment,
) -> anyhow::Result<()> {
    let client = ApiClient::new(Target::find(&arguments, environment)?)?;
    let mut frames = Frames::open(file)?;
    let header = frames.next()?.context("the file is empty")?;
    let mut sent = Sent { client: &client, begin: !again, rows: 0, expected_rows: None };
    let mut progress = Progress::new("restored");
    let mut request = BytesMut::new();
    while let Some(frame) = frames.next()? {
        if request.len() + frame.len() > REQUEST_BYTES && !request.is_empty() {
            sent.send(request.split().freeze()).await?;
        }
        progress.add(frame.len());
        request.extend_from_slice(&frame);
    }
    sent.send(request.freeze()).await?;
    let (rows, expected) = (sent.rows, sent.expected_rows);
    ensure!(expected == Some(rows), "the file has {rows} rows; its end says {expected:?}: it is not whole");
    sent.send(header).await?;
    Output { json: json!({ "rows": rows }), text: format!("{rows} rows and the settings are restored") }
        .print(arguments.json);
    Ok(())
}

struct Sent<'a> {
    client: &'a ApiClient,
    /// The hub must be empty still.
    begin: bool,
    rows: u64,
    expected_rows: Option<u64>,
}

impl Sent<'_> {
    async fn send(&mut self, frames: Bytes) -> anyhow::Result<()> {
        let begin = [("begin", "true")];
        let query: &[(&str, &str)] = if std::mem::take(&mut self.begin) { &begin } else { &[] };
        let path = ["ironhub", "v1", "restore"];
        let call = Call { query, bytes: Some(frames), ..Call::new(Method::POST, &path) };
        let answer = self.client.call(call).await?;
        self.rows += answer.get("rows").and_then(Value::as_u64).unwrap_or_default();
        self.expected_rows = self.expected_rows.or(answer.get("expectedRows").and_then(Value::as_u64));
        Ok(())
    }
}

/// The frames of a file, with their lengths.
struct Frames {
    file: BufReader<File>,
    name: String,
}

impl Frames {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
        Ok(Self { file: BufReader::new(file), name })
    }

    fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        let mut length = [0; 4];
        if self.file.by_ref().take(4).read(&mut length)? == 0 {
            return Ok(None);
        }
        let bytes = u32::from_be_bytes(length) as usize;
        ensure!(bytes <= FRAME_BYTES_MAX, "{} is no backup", self.name);
        let mut frame = BytesMut::zeroed(4 + bytes);
        let (head, rest) = frame.split_at_mut(4);
        head.copy_from_slice(&length);
        self.file.read_exact(rest).with_context(|| format!("{} is cut off", self.name))?;
        Ok(Some(frame.freeze()))
    }
}

/// On a terminal: how far it is.
struct Progress {
    what: &'static str,
    bytes: u64,
    shown: u64,
}

impl Progress {
    fn new(what: &'static str) -> Self {
        Self { what, bytes: 0, shown: 0 }
    }

    fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        if self.bytes - self.shown >= PROGRESS_EVERY_BYTES && std::io::stderr().is_terminal() {
            self.shown = self.bytes;
            eprintln!("{} MiB {}", self.bytes >> 20, self.what);
        }
    }
}
