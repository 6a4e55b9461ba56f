//! Golden scripts of AMQP clients that cannot run here: what they say frame by frame, and what they must hear.
//!
//! ```text
//! # a remark
//! > what the client says: `amqp`, `sasl` (headers), `0 begin{...}` (channel and frame); behind `|` a payload
//! < what the hub says next
//! ```
//!
//! Lines that are said one after the other are one write. `<name>` stands for a value: a known one is put in or compared,
//! an unknown one is kept; `<>` is anything. The notation is that of the library's transcripts.

use std::collections::HashMap;

use amqp::{AMQP_HEADER, FRAME_HEADER_BYTES, FrameHeader, FrameKind, Performative, SASL_HEADER, Transfer, Value};
use anyhow::{Context, bail, ensure};
use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::{Device, Hub, Presented, TlsStream, connect_with, patience::PATIENCE};

#[allow(clippy::expect_used, reason = "a script that cannot be read is a failed test")]
#[path = "../../services/libs/amqp/tests/it/notation.rs"]
mod notation;

/// Fields of each performative, by its code: the hub writes all of them (amqp R1).
const FIELDS: [(u8, usize); 9] =
    [(0x10, 10), (0x11, 8), (0x12, 14), (0x13, 11), (0x14, 11), (0x15, 6), (0x16, 3), (0x17, 1), (0x18, 1)];
const FRAME_BYTES_MAX: u32 = 65_536;

/// One connection whose client side is a script.
pub struct AmqpScript {
    stream: TlsStream,
    input: BytesMut,
    names: HashMap<String, String>,
}

/// A delivery as it came, frame by frame.
pub struct Frames {
    pub first: Transfer,
    /// Of all of its frames.
    pub sizes: Vec<usize>,
    /// Whether frames after the first one say who they are.
    pub repeats: bool,
    pub payload: Vec<u8>,
}

/// Bytes as a script writes them: `0x…`.
pub fn as_binary(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// The bytes of a value as a script writes it: `b"…"` or `0x…`.
pub fn bytes_of(text: &str) -> anyhow::Result<Vec<u8>> {
    match text.strip_prefix("b\"").and_then(|text| text.strip_suffix('"')) {
        Some(text) => Ok(text.as_bytes().to_vec()),
        None => Ok(notation::hexadecimal(text.strip_prefix("0x").context("no binary")?)),
    }
}

/// What a script's text is on the wire.
pub fn encoded(text: &str) -> Vec<u8> {
    notation::encode(text)
}

impl AmqpScript {
    /// A connection to the hub on which nothing was said; `<host>` is the hub's name.
    pub async fn new(hub: &Hub, presented: Option<&Presented>) -> anyhow::Result<Self> {
        let stream = connect_with(hub.amqp, &hub.host_name, &hub.authority, presented).await?;
        let names = HashMap::from([("host".to_owned(), hub.host_name.clone())]);
        Ok(Self { stream, input: BytesMut::new(), names })
    }

    /// The same of a client that has opened the connection on frames of 64 KiB and put the token, on channel 0.
    pub async fn authenticated(hub: &Hub, token: &str) -> anyhow::Result<Self> {
        let mut script = Self::new(hub, None).await?;
        script.set("token", token);
        script.play(AUTHENTICATION).await?;
        Ok(script)
    }

    /// The same of a client with a way of its own to begin; the script knows the device's `id` and its `token`.
    pub async fn opened(hub: &Hub, device: &Device, script: &str) -> anyhow::Result<Self> {
        let mut client = Self::new(hub, None).await?;
        client.set("id", &device.device_id);
        client.set("token", &device.token());
        client.play(script).await?;
        Ok(client)
    }

    /// Gives a name a value.
    pub fn set(&mut self, name: &str, value: &str) {
        self.names.insert(name.to_owned(), value.to_owned());
    }

    /// What a name stands for.
    pub fn get(&self, name: &str) -> anyhow::Result<&str> {
        self.names.get(name).map(String::as_str).with_context(|| format!("no <{name}>"))
    }

    /// Says and hears what the script says, line by line.
    pub async fn play(&mut self, script: &str) -> anyhow::Result<()> {
        let mut out = Vec::new();
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(said) = line.strip_prefix("> ") {
                out.extend(notation::wire(&self.filled_in(said)?));
            } else if let Some(expected) = line.strip_prefix("< ") {
                self.say(&std::mem::take(&mut out)).await?;
                let heard = self.hear().await.with_context(|| format!("waiting for: {expected}"))?;
                self.compare(expected, &heard).with_context(|| format!("expected: {expected}\n   heard: {heard}"))?;
            } else {
                bail!("what is this line? {line}");
            }
        }
        self.say(&out).await
    }

    async fn say(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }

    /// The next delivery, however many frames it has.
    pub async fn delivery(&mut self) -> anyhow::Result<Frames> {
        let (mut frames, mut more): (Option<Frames>, _) = (None, true);
        while more {
            let (size, performative, payload) = self.performative().await?;
            let Performative::Transfer(transfer) = performative else { bail!("no transfer: {performative:?}") };
            more = transfer.more;
            let frames = frames.get_or_insert_with(|| Frames {
                first: transfer.clone(),
                sizes: Vec::new(),
                repeats: false,
                payload: Vec::new(),
            });
            frames.repeats |= !frames.sizes.is_empty() && transfer.delivery_id.is_some();
            frames.sizes.push(size);
            frames.payload.extend_from_slice(&payload);
        }
        frames.context("no frames")
    }

    async fn performative(&mut self) -> anyhow::Result<(usize, Performative, Bytes)> {
        let frame = self.frame().await?;
        let header = header(&frame)?;
        let (performative, length) = Performative::decode(frame.get(header.body_offset..).unwrap_or_default())?;
        Ok((frame.len(), performative, frame.slice(header.body_offset + length..)))
    }

    /// The next header or frame, in words.
    async fn hear(&mut self) -> anyhow::Result<String> {
        let frame = self.frame().await?;
        match *frame.first_chunk::<FRAME_HEADER_BYTES>().context("half a frame")? {
            AMQP_HEADER => return Ok("amqp".to_owned()),
            SASL_HEADER => return Ok("sasl".to_owned()),
            _ => {}
        }
        let header = header(&frame)?;
        let body = frame.get(header.body_offset..).unwrap_or_default();
        if body.is_empty() {
            return Ok("heartbeat".to_owned());
        }
        if header.kind == FrameKind::Sasl {
            return Ok(notation::describe(&Value::decode(body)?));
        }
        let (_, length) = Performative::decode(body)?;
        let (performative, payload) = body.split_at(length);
        check_fields(performative)?;
        let text = format!("{} {}", header.channel, notation::describe(&Value::decode(performative)?));
        Ok(if payload.is_empty() { text } else { format!("{text} | {}", sections(payload)) })
    }

    async fn frame(&mut self) -> anyhow::Result<Bytes> {
        let bytes = self.bytes(FRAME_HEADER_BYTES).await?;
        let first = *bytes.first_chunk::<FRAME_HEADER_BYTES>().context("half a frame")?;
        if first == AMQP_HEADER || first == SASL_HEADER {
            return Ok(self.input.split_to(FRAME_HEADER_BYTES).freeze());
        }
        let size = header(&first)?.size;
        self.bytes(size).await?;
        Ok(self.input.split_to(size).freeze())
    }

    /// At least so many bytes, which stay.
    async fn bytes(&mut self, count: usize) -> anyhow::Result<&[u8]> {
        while self.input.len() < count {
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.input)).await.context("the hub is silent")?;
            ensure!(read? > 0, "the hub closed the connection");
        }
        Ok(&self.input)
    }

    /// The line with the values of its names.
    fn filled_in(&self, line: &str) -> anyhow::Result<String> {
        let mut text = String::new();
        for (literal, name) in pieces(line)? {
            text.push_str(literal);
            text.push_str(name.map_or(Ok(""), |name| self.get(name))?);
        }
        Ok(text)
    }

    /// Whether that was heard; what unknown names stand for is kept.
    fn compare(&mut self, expected: &str, heard: &str) -> anyhow::Result<()> {
        let mut rest = heard;
        let mut open: Option<&str> = None;
        for (literal, name) in pieces(expected)? {
            // What stands before the literal is the value of the name before it.
            let at = match open {
                None => rest.starts_with(literal).then_some(0),
                Some(_) if literal.is_empty() && name.is_none() => Some(rest.len()),
                Some(_) => rest.find(literal),
            };
            let at = at.with_context(|| format!("'{literal}' is not in: {rest}"))?;
            let (value, behind) = rest.split_at(at);
            if let Some(name) = open.filter(|name| !name.is_empty()) {
                self.names.insert(name.to_owned(), value.to_owned());
            }
            rest = behind.strip_prefix(literal).unwrap_or_default();
            open = name;
            if let Some(known) = name.and_then(|name| self.names.get(name)) {
                rest = rest.strip_prefix(known.as_str()).with_context(|| format!("no '{known}' but: {rest}"))?;
                open = None;
            }
        }
        ensure!(rest.is_empty(), "more than expected: {rest}");
        Ok(())
    }
}

/// Literal texts, each with the name that follows it; the last one has none.
fn pieces(line: &str) -> anyhow::Result<Vec<(&str, Option<&str>)>> {
    let (mut pieces, mut rest) = (Vec::new(), line);
    while let Some((literal, behind)) = rest.split_once('<') {
        let (name, behind) = behind.split_once('>').context("a name without end")?;
        pieces.push((literal, Some(name)));
        rest = behind;
    }
    pieces.push((rest, None));
    Ok(pieces)
}

fn header(frame: &[u8]) -> anyhow::Result<FrameHeader> {
    Ok(FrameHeader::decode(*frame.first_chunk().context("half a frame")?, FRAME_BYTES_MAX)?)
}

/// All fields are there, and the constructors are those that every client reads (amqp R1, R2).
fn check_fields(performative: &[u8]) -> anyhow::Result<()> {
    let [0, 0x53, code, 0xc0 | 0xd0, ..] = performative else { bail!("another constructor: {performative:02x?}") };
    let Value::Described(described) = Value::decode(performative)? else { bail!("not described") };
    let Value::List(fields) = described.value() else { bail!("no list") };
    let count = FIELDS.iter().find(|(of, _)| of == code).map(|(_, count)| *count);
    ensure!(count == Some(fields.iter().count()), "some fields are not there: {performative:02x?}");
    Ok(())
}

/// The sections of a message in words; or how long a piece of one is.
fn sections(payload: &[u8]) -> String {
    const SECTIONS_MAX: u32 = 16;
    // Sections one after the other are the items of a list; it is said nowhere how many there are.
    for count in 1..=SECTIONS_MAX {
        let size = u32::try_from(payload.len() + 4).unwrap_or(u32::MAX);
        let list = [&[0xd0_u8][..], size.to_be_bytes().as_slice(), &count.to_be_bytes(), payload].concat();
        if let Ok(Value::List(sections)) = Value::decode(&list) {
            return sections.iter().map(|section| notation::describe(&section)).collect::<Vec<_>>().join(" ");
        }
    }
    format!("{} bytes", payload.len())
}

const AUTHENTICATION: &str = r#"
    > amqp
    > 0 open{"script", "<host>", 65536, 8191us}
    > 0 begin{NULL, 1, 5000, 5000, 262143}
    > 0 attach{"cbs-sender", 0, false, 0ub, 0ub, source{"$cbs"}, target{"$cbs"}, NULL, false, 0}
    > 0 attach{"cbs-receiver", 1, true, 0ub, 0ub, source{"$cbs"}, target{"$cbs"}}
    > 0 flow{NULL, 5000, 1, 5000, 1, 0, 10}
    > 0 transfer{0, 0, 0x00, 0, false, false} | properties{"put"} application-properties map{"operation": "put-token", "type": "servicebus.windows.net:sastoken", "name": "<host>"} amqp-value "<token>"
    < amqp
    < 0 open<>
    < 0 begin<>
    < 0 attach<>
    < 0 flow<>
    < 0 attach<>
    < 0 disposition{true, 0, NULL, true, accepted{}, NULL}
    < 0 transfer<> map{"status-code": 200i, "status-description": "OK"} amqp-value NULL
"#;
