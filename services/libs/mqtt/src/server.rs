//! One connection as the server sees it: what may come when, and by when.

use std::time::{Duration, Instant};

use crate::{
    Connect, ConnectReturnCode, Decoded, Malformed, Packet, Publish, QualityOfService, Subscribe, Unsubscribe, decode,
    encode,
};

/// Bounds of one connection.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes behind the fixed header: a message of 256 KiB with its topic.
    pub packet_bytes_max: usize,
    /// Topic filters in one SUBSCRIBE or UNSUBSCRIBE.
    pub filters_per_packet_max: usize,
    /// From the accepted connection to a complete CONNECT (mqtt §2.3).
    pub connect_timeout: Duration,
    /// The longest silence of a client, whatever keep-alive it asks for (mqtt §2.5).
    pub silence_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            packet_bytes_max: 262_144 + 65_535 + 4,
            filters_per_packet_max: 100,
            connect_timeout: Duration::from_secs(30),
            silence_max: Duration::from_secs(1767),
        }
    }
}

/// What the peer did that ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    #[error("malformed packet: {0}")]
    Malformed(#[from] Malformed),
    #[error("the first packet is not CONNECT")]
    NotConnect,
    #[error("a second CONNECT")]
    SecondConnect,
    #[error("quality of service 2 is not offered")]
    ExactlyOnce,
    #[error("no CONNECT in time")]
    ConnectTimeout,
    #[error("no packet within one and a half keep-alive periods")]
    KeepAlive,
}

/// What the peer wants. PUBLISH borrows from the input of [`ServerConnection::receive`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    Connect(Box<Connect>),
    Publish(Publish<'a>),
    PubAck(u16),
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
    /// Answered already.
    Ping,
    Disconnect,
}

/// The protocol state of one connection; a few words, no buffers.
#[derive(Debug)]
pub struct ServerConnection {
    connected: bool,
    /// The longest silence now allowed.
    silence: Duration,
    last_packet: Instant,
}

impl ServerConnection {
    /// A connection accepted now.
    pub fn new(limits: &Limits, now: Instant) -> Self {
        Self { connected: false, silence: limits.connect_timeout, last_packet: now }
    }

    /// Takes one packet from the front of `input`: the event and how many bytes it took; `None` when it is incomplete.
    /// Answers that need no decision go to `out`.
    pub fn receive<'a>(
        &mut self,
        input: &'a [u8],
        limits: &Limits,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<Option<(Event<'a>, usize)>, Violation> {
        let Decoded::Packet { packet, length } = decode(input, limits)? else { return Ok(None) };
        self.last_packet = now;
        let event = match packet {
            Packet::Connect(_) if self.connected => return Err(Violation::SecondConnect),
            Packet::Connect(connect) => self.connect(connect, limits)?,
            _ if !self.connected => return Err(Violation::NotConnect),
            Packet::Publish(publish) if publish.quality_of_service == QualityOfService::ExactlyOnce => {
                return Err(Violation::ExactlyOnce);
            }
            Packet::ExactlyOnceStep => return Err(Violation::ExactlyOnce),
            Packet::Publish(publish) => Event::Publish(publish),
            Packet::PubAck(packet_id) => Event::PubAck(packet_id),
            Packet::Subscribe(subscribe) => Event::Subscribe(subscribe),
            Packet::Unsubscribe(unsubscribe) => Event::Unsubscribe(unsubscribe),
            Packet::PingRequest => {
                encode::ping_response(out);
                Event::Ping
            }
            Packet::Disconnect => Event::Disconnect,
        };
        Ok(Some((event, length)))
    }

    fn connect<'a>(&mut self, connect: Box<Connect>, limits: &Limits) -> Result<Event<'a>, Violation> {
        if connect.will.as_ref().is_some_and(|will| will.quality_of_service == QualityOfService::ExactlyOnce) {
            return Err(Violation::ExactlyOnce);
        }
        self.connected = true;
        self.silence = match connect.keep_alive_seconds {
            0 => limits.silence_max,
            seconds => (Duration::from_secs(seconds.into()) * 3 / 2).min(limits.silence_max),
        };
        Ok(Event::Connect(connect))
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to say.
    pub fn deadline(&self) -> Instant {
        self.last_packet + self.silence
    }

    /// The violation, when the deadline has passed.
    pub fn handle_timeout(&self, now: Instant) -> Option<Violation> {
        let late = if self.connected { Violation::KeepAlive } else { Violation::ConnectTimeout };
        (now >= self.deadline()).then_some(late)
    }

    /// Bytes that are on their way count as a sign of life: a large message on a slow line is no silence.
    pub fn received_bytes(&mut self, now: Instant) {
        if self.connected {
            self.last_packet = now;
        }
    }

    /// Answers CONNECT positively.
    pub fn accept(&self, session_present: bool, out: &mut Vec<u8>) {
        encode::connack(session_present, ConnectReturnCode::Accepted, out);
    }

    /// Answers CONNECT negatively; the caller closes the connection afterwards (mqtt §2.4).
    pub fn refuse(&self, code: ConnectReturnCode, out: &mut Vec<u8>) {
        encode::connack(false, code, out);
    }

    /// The last words after a violation, where the protocol has some: an unknown version is told in that version.
    pub fn answer_violation(&self, violation: Violation, out: &mut Vec<u8>) {
        match violation {
            Violation::Malformed(Malformed::ProtocolLevel(5)) => {
                out.extend_from_slice(&encode::CONNACK_5_UNSUPPORTED_VERSION);
            }
            Violation::Malformed(Malformed::ProtocolLevel(_)) => {
                encode::connack(false, ConnectReturnCode::UnacceptableProtocolVersion, out);
            }
            _ => {}
        }
    }

    /// Sends a message at most once.
    pub fn publish(&self, topic: &str, payload: &[u8], out: &mut Vec<u8>) {
        encode::encode_publish(topic, payload, None, false, out);
    }

    /// Sends a message at least once; `duplicate` when it was sent before.
    pub fn publish_at_least_once(
        &self,
        topic: &str,
        payload: &[u8],
        packet_id: u16,
        duplicate: bool,
        out: &mut Vec<u8>,
    ) {
        encode::encode_publish(topic, payload, Some(packet_id), duplicate, out);
    }

    /// Acknowledges a PUBLISH.
    pub fn puback(&self, packet_id: u16, out: &mut Vec<u8>) {
        encode::puback(packet_id, out);
    }

    /// Answers SUBSCRIBE: for each filter in order the granted quality of service, or `None` for a refusal (0x80).
    pub fn suback(&self, packet_id: u16, granted: &[Option<QualityOfService>], out: &mut Vec<u8>) {
        let code = |granted: &Option<QualityOfService>| granted.map_or(0x80, |quality| quality as u8);
        encode::suback(packet_id, granted.iter().map(code), out);
    }

    /// Answers UNSUBSCRIBE.
    pub fn unsuback(&self, packet_id: u16, out: &mut Vec<u8>) {
        encode::unsuback(packet_id, out);
    }
}
