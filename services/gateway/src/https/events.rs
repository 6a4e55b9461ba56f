//! `GET /ironhub/v1/events`: the built-in endpoint as lines of JSON, an extension of IronHub.
//!
//! Parameters: `device`, `partition`, `since` (`earliest`, `latest` or an ISO 8601 time), `limit`, `follow`. Without
//! `follow` the answer ends where the log ended when the request came, merged by time; with it, events are sent as they
//! come. A slow reader slows only itself: at most a chunk waits for it, and the next is begun.

use auth::Operation;
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use eventlog::{Offset, ReadLimit, Start, Stored, decode_record};
use futures::StreamExt;
use http::{HeaderValue, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use model::{Annotation, DeviceId, EventPartition, Record, Timestamp, event_partition};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::{authorization::authorize, body::Body, error::ApiError, query::Query, route::Call};
use crate::Front;

/// Chunks that wait for a slow reader. Each may end with a message of the largest size.
const CHUNKS_MAX: usize = 1;
/// Lines are sent when so many bytes are together.
const CHUNK_BYTES: usize = 64 * 1024;
/// One read of a partition.
const READ: ReadLimit = ReadLimit { records: 256, bytes: 256 * 1024 };

/// What the caller asked for.
struct Wanted {
    device: Option<DeviceId>,
    partitions: Vec<EventPartition>,
    start: Start,
    limit: u64,
    follow: bool,
}

/// Answers with a stream of lines.
pub(super) async fn read(call: Call<'_>) -> Result<Response<Body>, ApiError> {
    authorize(call.context, &call.parts.headers, Operation::ReadEvents, &["messages", "events"])?;
    let front = call.context.front.clone();
    let wanted = Wanted::parse(&call.query, &front)?;
    let mut cursors = Vec::new();
    for partition in &wanted.partitions {
        let next = front.event_log.find(&front.events, *partition, wanted.start).await?;
        let end = front.event_log.bounds(&front.events, *partition).await?.next;
        cursors.push(Cursor { partition: *partition, next, end, waiting: Default::default() });
    }
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    tokio::spawn(async move {
        let mut lines = Lines { sender, chunk: Vec::new(), left: wanted.limit, device: wanted.device };
        // The reader going away is the normal end of following.
        let _ = send(&front, &mut cursors, &mut lines, wanted.follow).await;
    });
    let frames = futures::stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
    let body = BodyExt::boxed(StreamBody::new(frames.map(|chunk| Ok(Frame::data(chunk)))));
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

impl Wanted {
    fn parse(query: &Query, front: &Front) -> Result<Self, ApiError> {
        let invalid = |name: &str, expected: &str| ApiError::argument(format!("{name}: expected {expected}"));
        let device: Option<DeviceId> =
            query.get("device").map(str::parse).transpose().map_err(|_| invalid("device", "a device id"))?;
        let partition: Option<EventPartition> =
            query.get("partition").map(str::parse).transpose().map_err(|_| invalid("partition", "a number"))?;
        if partition.is_some_and(|partition| partition >= front.event_partitions) {
            return Err(invalid("partition", &format!("a number below {}", front.event_partitions)));
        }
        let of_device = device.as_ref().map(|device| event_partition(device, front.event_partitions));
        let partitions = match of_device.or(partition) {
            Some(partition) => vec![partition],
            None => (0..front.event_partitions).collect(),
        };
        let start = match query.get("since") {
            None | Some("latest") => Start::Latest,
            Some("earliest") => Start::Earliest,
            Some(time) => Timestamp::parse(time)
                .map(Start::Time)
                .ok_or_else(|| invalid("since", "earliest, latest or a time such as 2026-01-01T00:00:00Z"))?,
        };
        let limit = query.get("limit").map(str::parse).transpose().map_err(|_| invalid("limit", "a number"))?;
        let follow = match query.get("follow") {
            None | Some("false") => false,
            Some("" | "true") => true,
            Some(_) => return Err(invalid("follow", "true or false")),
        };
        Ok(Self { device, partitions, start, limit: limit.unwrap_or(u64::MAX), follow })
    }
}

/// How far one partition has been read.
struct Cursor {
    partition: EventPartition,
    next: Offset,
    /// Where the log ended when the request came.
    end: Offset,
    waiting: std::collections::VecDeque<Stored>,
}

impl Cursor {
    async fn fill(&mut self, front: &Front, to: Offset) -> Result<(), ApiError> {
        if self.waiting.is_empty() && self.next < to {
            let mut read = front.event_log.read(&front.events, self.partition, self.next, READ).await?;
            read.retain(|stored| stored.offset < to);
            self.next = read.last().map_or(to, |last| last.offset + 1);
            self.waiting = read.into();
        }
        Ok(())
    }
}

/// The reader is gone, or has got all it wanted, or the log failed.
struct Ended;

async fn send(front: &Front, cursors: &mut [Cursor], lines: &mut Lines, follow: bool) -> Result<(), Ended> {
    let ended = |error: ApiError| {
        tracing::warn!(?error, "reading the events failed");
        Ended
    };
    let mut appended = front.event_log.appended();
    loop {
        // The oldest first: every cursor has its next event at hand, or has none.
        for cursor in cursors.iter_mut() {
            cursor.fill(front, cursor.end).await.map_err(ended)?;
        }
        let oldest = cursors
            .iter_mut()
            .filter(|cursor| !cursor.waiting.is_empty())
            .min_by_key(|cursor| cursor.waiting.front().map(|stored| stored.time));
        if let Some(cursor) = oldest {
            if let Some(stored) = cursor.waiting.pop_front() {
                lines.add(cursor.partition, stored).await?;
            }
            continue;
        }
        lines.flush().await?;
        if !follow {
            return Ok(());
        }
        tokio::select! {
            changed = appended.changed() => changed.map_err(|_| Ended)?,
            () = lines.sender.closed() => return Err(Ended),
        }
        for cursor in cursors.iter_mut() {
            let bounds = front.event_log.bounds(&front.events, cursor.partition).await;
            cursor.end = bounds.map_err(|error| ended(error.into()))?.next;
        }
    }
}

/// Lines on their way to the reader.
struct Lines {
    sender: mpsc::Sender<Bytes>,
    chunk: Vec<u8>,
    left: u64,
    device: Option<DeviceId>,
}

impl Lines {
    async fn add(&mut self, partition: EventPartition, stored: Stored) -> Result<(), Ended> {
        let Ok(record) = decode_record(stored.record) else {
            tracing::error!(partition, offset = stored.offset, "an event cannot be decoded and is left out");
            return Ok(());
        };
        let sender = record.annotation(Annotation::ConnectionDeviceId);
        if self.device.as_ref().is_some_and(|device| sender != Some(device.as_str())) {
            return Ok(());
        }
        let event = event(partition, stored.offset, stored.time, &record);
        self.chunk.extend_from_slice(event.to_string().as_bytes());
        self.chunk.push(b'\n');
        self.left = self.left.saturating_sub(1);
        if self.chunk.len() >= CHUNK_BYTES || self.left == 0 {
            self.flush().await?;
        }
        if self.left == 0 { Err(Ended) } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Ended> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = Bytes::from(std::mem::take(&mut self.chunk));
        self.sender.send(chunk).await.map_err(|_| Ended)
    }
}

/// One event as a reader of Event Hubs names its parts.
fn event(partition: EventPartition, offset: Offset, time: Timestamp, record: &Record<'_>) -> Value {
    let time = time.to_string();
    let mut system = Map::new();
    for (property, value) in &record.system_properties {
        system.insert(property.name().to_owned(), json!(value));
    }
    for (annotation, value) in &record.annotations {
        system.insert(annotation.name().to_owned(), json!(value));
    }
    system.insert(Annotation::EnqueuedTime.name().to_owned(), json!(time));
    let properties: Map<String, Value> =
        record.application_properties.iter().map(|(name, value)| (name.to_string(), json!(value))).collect();
    let mut event = json!({
        "partition": partition,
        "offset": offset,
        "sequenceNumber": offset,
        "enqueuedTime": time,
        "systemProperties": system,
        "properties": properties,
    });
    match body(record) {
        Ok(body) => event["body"] = body,
        Err(base64) => event["bodyBase64"] = json!(base64),
    }
    event
}

/// JSON when it is, else text when it is UTF-8, else base64.
fn body(record: &Record<'_>) -> Result<Value, String> {
    if let Ok(value) = serde_json::from_slice(&record.body) {
        return Ok(value);
    }
    match std::str::from_utf8(&record.body) {
        Ok(text) => Ok(json!(text)),
        Err(_) => Err(BASE64_STANDARD.encode(&record.body)),
    }
}
