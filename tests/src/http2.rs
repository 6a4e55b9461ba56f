//! HTTP/2 frames by hand (RFC 9113), for peers that do what no library does.

use std::{collections::BTreeMap, convert::Infallible, future::pending};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::{patience::PATIENCE, tls::TlsStream};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADER_BYTES: usize = 9;
/// An empty SETTINGS frame.
const SETTINGS: [u8; HEADER_BYTES] = [0, 0, 0, http2_kind::SETTINGS, 0, 0, 0, 0, 0];

/// Types and flags of frames.
pub mod http2_kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const CONTINUATION: u8 = 9;

    pub const ACK: u8 = 1;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
}

/// A frame of the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http2Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream_id: u32,
    pub payload: Vec<u8>,
}

impl Http2Frame {
    /// The error code of RST_STREAM and GOAWAY.
    pub fn error_code(&self) -> Option<u32> {
        let code = match self.kind {
            http2_kind::RST_STREAM => self.payload.get(..4),
            http2_kind::GOAWAY => self.payload.get(4..8),
            _ => None,
        };
        code.and_then(|code| code.try_into().ok()).map(u32::from_be_bytes)
    }
}

/// What the hub said to a flood, until it ended the connection.
#[derive(Debug, Default)]
pub struct Said {
    /// Frames by type and error code.
    pub frames: BTreeMap<(u8, Option<u32>), usize>,
}

impl Said {
    /// How many frames of that type came, with that error code.
    pub fn count(&self, kind: u8, error_code: Option<u32>) -> usize {
        self.frames.get(&(kind, error_code)).copied().unwrap_or(0)
    }
}

/// A frame as it goes over the wire.
pub fn http2_frame(kind: u8, flags: u8, stream_id: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length[1..], &[kind, flags], &stream_id.to_be_bytes(), payload].concat()
}

/// A whole head in one frame; `flags` are added to END_HEADERS. Its fields are literals that no table remembers
/// (RFC 7541 §6.2.2).
pub fn headers_frame(stream_id: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        put_string(name, &mut block);
        put_string(value, &mut block);
    }
    http2_frame(http2_kind::HEADERS, http2_kind::END_HEADERS | flags, stream_id, &block)
}

fn put_string(text: &str, out: &mut Vec<u8>) {
    const PREFIX_MAX: usize = 127;
    let mut length = text.len();
    if length < PREFIX_MAX {
        out.push(length as u8);
    } else {
        out.push(PREFIX_MAX as u8);
        length -= PREFIX_MAX;
        while length >= 128 {
            out.push(length as u8 | 128);
            length /= 128;
        }
        out.push(length as u8);
    }
    out.extend_from_slice(text.as_bytes());
}

/// One connection, behind the preface.
pub struct Http2 {
    stream: TlsStream,
    input: Vec<u8>,
}

impl Http2 {
    /// Begins on a TLS connection that negotiated it.
    pub async fn open(stream: TlsStream) -> anyhow::Result<Self> {
        anyhow::ensure!(stream.get_ref().1.alpn_protocol() == Some(b"h2"), "HTTP/2 was not negotiated");
        let mut http2 = Self { stream, input: Vec::new() };
        http2.send(&[PREFACE, &SETTINGS].concat()).await?;
        Ok(http2)
    }

    /// Sends the bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }

    /// The hub's next frame; `None` when it has closed the connection.
    pub async fn receive(&mut self) -> anyhow::Result<Option<Http2Frame>> {
        timeout(PATIENCE, read_frame(&mut self.stream, &mut self.input)).await.context("the hub says nothing")?
    }

    /// Reads on to a frame of that type.
    pub async fn receive_kind(&mut self, kind: u8) -> anyhow::Result<Http2Frame> {
        loop {
            match self.receive().await? {
                Some(frame) if frame.kind == kind => return Ok(frame),
                Some(frame) if frame.kind == http2_kind::GOAWAY => bail!("the hub goes away: {frame:?}"),
                Some(_) => {}
                None => bail!("the hub closed the connection"),
            }
        }
    }

    /// Sends all of it, and reads all the while, until the hub ends the connection. Fails when it does not.
    pub async fn flood(self, pieces: impl Iterator<Item = Vec<u8>>) -> anyhow::Result<Said> {
        let Self { stream, mut input } = self;
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut said = Said::default();
        let sending = async {
            for piece in pieces {
                if writer.write_all(&piece).await.is_err() || writer.flush().await.is_err() {
                    break;
                }
                tokio::task::yield_now().await; // the hub may have something to say
            }
            pending::<Infallible>().await
        };
        let reading = async {
            while let Some(frame) = read_frame(&mut reader, &mut input).await? {
                *said.frames.entry((frame.kind, frame.error_code())).or_default() += 1;
            }
            anyhow::Ok(())
        };
        let ended = async {
            tokio::select! {
                ended = reading => ended,
                never = sending => match never {},
            }
        };
        timeout(PATIENCE, ended).await.context("the hub endures it without end")??;
        Ok(said)
    }
}

/// However it closes, that is its end.
async fn read_frame(reader: &mut (impl AsyncRead + Unpin), input: &mut Vec<u8>) -> anyhow::Result<Option<Http2Frame>> {
    loop {
        if let Some((frame, length)) = decode(input) {
            input.drain(..length);
            return Ok(Some(frame));
        }
        match reader.read_buf(input).await {
            Ok(0) | Err(_) => return Ok(None),
            Ok(_) => {}
        }
    }
}

/// The first frame and its length; `None` when it is incomplete.
fn decode(input: &[u8]) -> Option<(Http2Frame, usize)> {
    let (&[a, b, c, kind, flags, e, f, g, h], rest) = input.split_first_chunk::<HEADER_BYTES>()?;
    let length = u32::from_be_bytes([0, a, b, c]) as usize;
    let payload = rest.get(..length)?.to_vec();
    let stream_id = u32::from_be_bytes([e, f, g, h]) & !(1 << 31);
    Some((Http2Frame { kind, flags, stream_id, payload }, HEADER_BYTES + length))
}
