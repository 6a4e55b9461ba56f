//! A raw WebSocket client: it says frames as it is told, and shows the hub's.

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    time::timeout,
};

use crate::{
    https::{Https, Response},
    patience::PATIENCE,
    tls::TlsStream,
};

/// Where MQTT and AMQP begin on the HTTPS port.
pub const WEBSOCKET_PATH: &str = "/$iothub/websocket";
/// Of the example in RFC 6455 §1.3, and what a server answers to it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The headers of a correct handshake, for a sub-protocol.
pub fn handshake_headers(sub_protocol: &str) -> Vec<(&'static str, &str)> {
    vec![
        ("Connection", "keep-alive, Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
        ("Sec-WebSocket-Protocol", sub_protocol),
    ]
}

/// A frame of the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
    /// The connection is closed.
    End,
}

/// One connection behind its handshake.
pub struct WebSocket {
    stream: TlsStream,
    input: Vec<u8>,
}

/// A frame as a client sends it; `first` is its first byte.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..=125), _) => bytes.push(0x80 | length),
        (_, Ok(length)) => bytes.extend([&[0x80 | 126][..], &length.to_be_bytes()].concat()),
        _ => bytes.extend([&[0x80 | 127][..], &(payload.len() as u64).to_be_bytes()].concat()),
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

impl WebSocket {
    /// Shakes hands on a new connection, with a request as the SDKs send it.
    pub async fn open(https: Https, target: &str, sub_protocol: &str) -> anyhow::Result<(Self, Response)> {
        let mut https = https;
        let response = https.upgrade(target, &handshake_headers(sub_protocol)).await?.expect(101)?;
        anyhow::ensure!(response.header("Sec-WebSocket-Accept") == Some(ACCEPT), "{response}");
        let (stream, input) = https.into_parts();
        Ok((Self { stream, input }, response))
    }

    /// Sends the bytes as they are.
    pub async fn send_raw(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }

    /// Sends a binary message in one frame.
    pub async fn send(&mut self, payload: &[u8]) -> anyhow::Result<()> {
        self.send_raw(&frame(0x82, payload)).await
    }

    /// The next frame of the hub.
    pub async fn receive(&mut self) -> anyhow::Result<Frame> {
        timeout(PATIENCE, self.read()).await.context("the hub says nothing")?
    }

    /// Fails unless the hub says goodbye with that code and closes.
    pub async fn expect_close(mut self, code: u16) -> anyhow::Result<()> {
        match self.receive().await? {
            Frame::Close(Some(said)) if said == code => {}
            other => bail!("{other:?} instead of close {code}"),
        }
        anyhow::ensure!(self.receive().await? == Frame::End, "something behind the goodbye");
        Ok(())
    }

    /// Carries what is written to the returned stream, each read of it as one message, and answers with what comes; it
    /// ends with the WebSocket.
    pub fn into_stream(self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        tokio::spawn(self.carry(theirs));
        ours
    }

    async fn carry(self, inner: DuplexStream) -> anyhow::Result<()> {
        let Self { stream, input } = self;
        let (reader, mut writer) = tokio::io::split(stream);
        let (mut from_test, mut to_test) = tokio::io::split(inner);
        let mut incoming = Incoming { reader, input };
        let outgoing = async {
            let mut payload = vec![0; 32 * 1024];
            loop {
                let count = from_test.read(&mut payload).await?;
                if count == 0 {
                    return anyhow::Ok(());
                }
                writer.write_all(&frame(0x82, payload.get(..count).unwrap_or_default())).await?;
                writer.flush().await?;
            }
        };
        let arriving = async {
            while let Frame::Binary(payload) = incoming.read().await? {
                to_test.write_all(&payload).await?;
            }
            anyhow::Ok(())
        };
        tokio::select! {
            ended = outgoing => ended,
            ended = arriving => ended,
        }
    }

    async fn read(&mut self) -> anyhow::Result<Frame> {
        let mut incoming = Incoming { reader: &mut self.stream, input: std::mem::take(&mut self.input) };
        let frame = incoming.read().await;
        self.input = incoming.input;
        frame
    }
}

struct Incoming<R> {
    reader: R,
    input: Vec<u8>,
}

impl<R: tokio::io::AsyncRead + Unpin> Incoming<R> {
    async fn read(&mut self) -> anyhow::Result<Frame> {
        loop {
            if let Some((frame, length)) = decode(&self.input)? {
                self.input.drain(..length);
                return Ok(frame);
            }
            match self.reader.read_buf(&mut self.input).await {
                Ok(0) | Err(_) => return Ok(Frame::End),
                Ok(_) => {}
            }
        }
    }
}

/// The first frame and its length; `None` when it is incomplete.
fn decode(bytes: &[u8]) -> anyhow::Result<Option<(Frame, usize)>> {
    let (length, start) = match bytes {
        [_, 127, a, b, c, d, e, f, g, h, ..] => (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 10),
        [_, 126, high, low, ..] => (u64::from(u16::from_be_bytes([*high, *low])), 4),
        [_, 126 | 127, ..] => return Ok(None),
        [_, length, ..] => (u64::from(*length), 2),
        _ => return Ok(None),
    };
    let end = start + usize::try_from(length)?;
    let Some(payload) = bytes.get(start..end) else { return Ok(None) };
    let frame = match (bytes.first(), payload) {
        (Some(0x82), payload) => Frame::Binary(payload.to_vec()),
        (Some(0x8a), payload) => Frame::Pong(payload.to_vec()),
        (Some(0x88), []) => Frame::Close(None),
        (Some(0x88), [high, low, ..]) => Frame::Close(Some(u16::from_be_bytes([*high, *low]))),
        (first, _) => bail!("a server does not begin a frame with {first:?}"),
    };
    Ok(Some((frame, end)))
}
