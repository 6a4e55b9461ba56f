//! An MQTT client at the other end of a simulated stream: packets in WebSocket frames.

use std::io;

use ironhub_tests::frame;
use mqtt::client::{Answer, decode_answer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::network::Stream;

const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const READ_BYTES: usize = 16 << 10;

pub struct MqttClient {
    stream: Stream,
    /// Frames that are not whole yet.
    frames: Vec<u8>,
    /// Packets that are not whole yet.
    packets: Vec<u8>,
}

/// What the hub sent.
#[derive(Debug)]
pub enum Packet {
    ConnAck { session_present: bool, code: u8 },
    SubAck { codes: Vec<u8> },
    Publish { topic: String, payload: Vec<u8>, packet_id: Option<u16> },
    Other,
}

impl MqttClient {
    pub fn new(stream: Stream) -> Self {
        Self { stream, frames: Vec::new(), packets: Vec::new() }
    }

    /// Sends packets, written one behind the other.
    pub async fn send(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut packets = Vec::new();
        write(&mut packets);
        self.stream.write_all(&frame(BINARY, &packets)).await
    }

    /// The next packet; an error when the hub has ended the connection. Dropping the future loses nothing.
    pub async fn receive(&mut self) -> io::Result<Packet> {
        loop {
            if let Some(packet) = self.decode()? {
                return Ok(packet);
            }
            if self.unframe()? {
                continue;
            }
            self.frames.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.frames).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn decode(&mut self) -> io::Result<Option<Packet>> {
        let decoded = decode_answer(&self.packets).map_err(|error| io::Error::other(format!("{error:?}")))?;
        let Some((answer, length)) = decoded else { return Ok(None) };
        let packet = match answer {
            Answer::ConnAck { session_present, code } => Packet::ConnAck { session_present, code },
            Answer::SubAck { codes, .. } => Packet::SubAck { codes: codes.to_vec() },
            Answer::Publish { topic, payload, packet_id, .. } => {
                Packet::Publish { topic: topic.to_owned(), payload: payload.to_vec(), packet_id }
            }
            Answer::PubAck(_) | Answer::UnsubAck(_) | Answer::PingResponse => Packet::Other,
        };
        self.packets.drain(..length);
        Ok(Some(packet))
    }

    /// Takes a whole frame, if there is one.
    fn unframe(&mut self) -> io::Result<bool> {
        let (header, length) = match self.frames.as_slice() {
            [_, 127, a, b, c, d, e, f, g, h, ..] => (10, u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) as usize),
            [_, 126, a, b, ..] => (4, usize::from(u16::from_be_bytes([*a, *b]))),
            [_, length @ 0..126, ..] => (2, usize::from(*length)),
            _ => return Ok(false),
        };
        if self.frames.len() < header + length {
            return Ok(false);
        }
        match self.frames.first() {
            Some(&BINARY) => {
                self.packets.extend_from_slice(self.frames.get(header..header + length).unwrap_or_default())
            }
            Some(&CLOSE) => return Err(io::ErrorKind::ConnectionAborted.into()),
            _ => {}
        }
        self.frames.drain(..header + length);
        Ok(true)
    }
}
