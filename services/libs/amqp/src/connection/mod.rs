//! One connection: bytes and instants in, events and bytes out.

mod commands;
mod config;
mod event;
mod handshake;
mod incoming;
mod link;
mod numbers;
mod outgoing;
mod output;
mod session;
mod shared;
mod silence;
mod unsettled;

use std::{sync::Arc, time::Instant};

use bytes::{Buf, BytesMut};

pub use config::Config;
pub use event::{Delivery, Event, LinkId, Outcome, Outgoing, SendError, SessionId, Violation};
pub use handshake::SaslLogin;

use handshake::Stage;
use numbers::{Numbers, lowest_free};
use output::Output;
use session::Session;
use shared::{Fault, Shared};
use silence::Silence;

use crate::{Begin, Close, End, Error, FRAME_HEADER_BYTES, FrameHeader, FrameKind, Performative, condition};

/// A connection with its sessions and links. It owns no buffer while nothing is under way.
#[derive(Debug)]
pub struct Connection {
    shared: Shared,
    stage: Stage,
    is_open_sent: bool,
    is_open_received: bool,
    /// The highest channel that the peer takes from us.
    remote_channel_max: u16,
    silence: Silence,
    /// By our channel.
    sessions: Vec<Option<Box<Session>>>,
    /// From the peer's channels to ours.
    remote_channels: Numbers,
}

impl Connection {
    /// The server's end of a connection that was accepted now.
    pub fn server(config: Arc<Config>, now: Instant) -> Self {
        Self::new(config, Stage::FirstHeader, now)
    }

    fn new(config: Arc<Config>, stage: Stage, now: Instant) -> Self {
        Self {
            silence: Silence::new(&config, now),
            shared: Shared::new(config),
            stage,
            is_open_sent: false,
            is_open_received: false,
            remote_channel_max: u16::MAX,
            sessions: Vec::new(),
            remote_channels: Numbers::default(),
        }
    }

    /// Takes frames from the front of `input` until something happened, and says what. `None`: more bytes are needed, or
    /// [`is_reading`](Self::is_reading) is false. Bytes of an incomplete frame stay in `input`; the next ones are to be
    /// appended to them. After an error write the output, then close the socket.
    pub fn receive(&mut self, input: &mut BytesMut, now: Instant) -> Result<Option<Event>, Violation> {
        self.silence.received(input.len(), now);
        loop {
            if let Some(event) = self.shared.events.pop_front() {
                self.silence.left(input.len());
                return Ok(Some(event));
            }
            if self.stage == Stage::Closed {
                input.clear();
            }
            let is_taken = self.is_reading() && self.step(input).inspect_err(|violation| self.fail(violation))?;
            if !is_taken {
                self.silence.left(input.len());
                return Ok(None);
            }
        }
    }

    /// Whether [`receive`](Self::receive) takes anything. It does not while an answer is awaited (to SASL, to an open),
    /// nor while too much waits to be written.
    pub fn is_reading(&self) -> bool {
        self.stage.is_reading()
            && (self.is_open_sent || !self.is_open_received)
            && self.shared.output.len() < self.shared.config.output_bytes_max
    }

    /// What is to be written to the peer next. There may be more behind it that has to come by itself, so look again once
    /// it is written; empty: nothing more.
    pub fn output(&mut self) -> &[u8] {
        self.shared.output.unwritten()
    }

    /// So many bytes of [`output`](Self::output) were written now.
    pub fn consume_output(&mut self, count: usize, now: Instant) {
        self.shared.output.consume(count);
        if count > 0 {
            self.silence.wrote(now);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn deadline(&self) -> Instant {
        self.silence.deadline()
    }

    /// Breaks our silence, or gives a silent peer up. Call it when the deadline has passed.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Violation> {
        if let Some(violation) = self.silence.violation(now) {
            self.fail(&violation);
            return Err(violation);
        }
        if self.silence.is_heartbeat_due(now) {
            // What waits to be written will break the silence as well.
            if self.shared.output.len() == 0 && self.is_open_sent {
                self.shared.output.frame_with(0, |_| {});
            }
            self.silence.wrote(now);
            self.sessions.iter_mut().flatten().for_each(|session| session.shrink());
            self.shared.events.shrink_to_fit();
        }
        Ok(())
    }

    /// Whether nothing more will come and nothing more can be said.
    pub fn is_closed(&self) -> bool {
        self.stage == Stage::Closed
    }

    /// Says goodbye, once: the peer's close comes as [`Event::Close`], if it comes. Before the connection is open there
    /// is nobody to say it to.
    pub fn close(&mut self, error: Option<Error>) {
        match self.stage {
            Stage::Frames => self.open(),
            Stage::Closing => return,
            _ => {
                self.stage = Stage::Closed;
                return;
            }
        }
        self.shared.output.frame(0, &Performative::Close(Close { error }));
        self.stage = Stage::Closing;
        self.forget_sessions();
    }

    fn forget_sessions(&mut self) {
        for mut session in self.sessions.drain(..).flatten() {
            session.release(&mut self.shared);
        }
        self.sessions = Vec::new();
    }

    /// Tells the peer what it did, where it can understand that.
    fn fail(&mut self, violation: &Violation) {
        let condition = match violation {
            Violation::Frame(_) | Violation::Channel { .. } | Violation::Handle(_) => condition::FRAMING_ERROR,
            Violation::Malformed(_) => condition::DECODE_ERROR,
            Violation::TooManySessions(_) | Violation::Silence => condition::RESOURCE_LIMIT_EXCEEDED,
            _ => condition::NOT_ALLOWED,
        };
        self.close(Some(Error::new(condition, violation.to_string())));
        self.stage = Stage::Closed;
    }

    /// Takes one header or frame; `false` if it is not complete.
    fn step(&mut self, input: &mut BytesMut) -> Result<bool, Violation> {
        let Some(first) = input.first_chunk::<FRAME_HEADER_BYTES>().copied() else { return Ok(false) };
        if self.stage.is_header() {
            input.advance(FRAME_HEADER_BYTES);
            self.on_header(first)?;
            return Ok(true);
        }
        let header = FrameHeader::decode(first, self.frame_bytes_max())?;
        if input.len() < header.size {
            return Ok(false);
        }
        match (header.kind, &self.stage) {
            (FrameKind::Amqp, Stage::Frames | Stage::Closing) => self.on_frame(header, input)?,
            (FrameKind::Sasl, stage) if stage.is_sasl() => {
                let frame = input.split_to(header.size);
                self.on_sasl_frame(crate::SaslFrame::decode(frame.get(header.body_offset..).unwrap_or_default())?)?;
            }
            _ => return Err(Violation::Unexpected("it is of the other layer")),
        }
        Ok(true)
    }

    fn frame_bytes_max(&self) -> u32 {
        let config = &self.shared.config;
        let is_open = self.is_open_received && self.stage == Stage::Frames;
        if is_open { config.frame_bytes_max } else { config.handshake_frame_bytes_max.min(config.frame_bytes_max) }
    }

    fn on_frame(&mut self, header: FrameHeader, input: &mut BytesMut) -> Result<(), Violation> {
        // A frame without a body says that the peer is there.
        if header.size == header.body_offset {
            input.advance(header.size);
            return Ok(());
        }
        let body = input.get(header.body_offset..header.size).unwrap_or_default();
        let (performative, length) = Performative::decode(body)?;
        let payload_offset = header.body_offset + length;
        if let Performative::Transfer(transfer) = performative {
            let payload = input.split_to(header.size).freeze().slice(payload_offset..);
            return self.in_session(header.channel, |session, shared| session.on_transfer(transfer, payload, shared));
        }
        if payload_offset != header.size {
            return Err(crate::Malformed::TrailingBytes.into());
        }
        input.advance(header.size);
        self.on_performative(header.channel, performative)
    }

    fn on_performative(&mut self, channel: u16, performative: Performative) -> Result<(), Violation> {
        if self.stage == Stage::Closing && !matches!(performative, Performative::Close(_)) {
            return Ok(());
        }
        match performative {
            Performative::Open(open) => self.on_open(open),
            Performative::Close(close) => {
                self.on_close(close);
                Ok(())
            }
            Performative::Begin(begin) => self.on_begin(channel, &begin),
            Performative::End(end) => self.on_end(channel, end),
            Performative::Attach(attach) => {
                self.in_session(channel, |session, shared| session.on_attach(attach, shared))
            }
            Performative::Flow(flow) => self.in_session(channel, |session, shared| session.on_flow(&flow, shared)),
            Performative::Disposition(disposition) => self.in_session(channel, |session, shared| {
                session.on_disposition(disposition, shared);
                Ok(())
            }),
            Performative::Detach(detach) => self.in_session(channel, |session, shared| {
                session.on_detach(detach, shared);
                Ok(())
            }),
            // Taken apart before, because of its payload.
            Performative::Transfer(_) => Err(Violation::Unexpected("a transfer")),
        }
    }

    /// Lets a session take a frame; what breaks the session ends it and nothing else.
    fn in_session(
        &mut self,
        channel: u16,
        take: impl FnOnce(&mut Session, &mut Shared) -> Result<(), Fault>,
    ) -> Result<(), Violation> {
        if !self.is_open_received {
            return Err(Violation::Unexpected("a frame of a session before the open"));
        }
        let Some(session) = session_by_remote_channel(&mut self.sessions, &self.remote_channels, channel) else {
            // Late words about a session that is gone (amqp R31), or about all of them.
            let may_be_late = self.stage == Stage::Closing || self.remote_channels.may_be_gone(channel.into());
            return if may_be_late { Ok(()) } else { Err(Violation::Channel { channel, problem: "has no session" }) };
        };
        if session.is_ending {
            return Ok(());
        }
        match take(session, &mut self.shared) {
            Ok(()) => Ok(()),
            Err(Fault::Connection(violation)) => Err(violation),
            Err(Fault::Session(error)) => {
                session.end(Some(error.clone()), &mut self.shared);
                self.shared.event(Event::End { session: session.id, error: Some(Box::new(error)) });
                Ok(())
            }
        }
    }

    fn on_close(&mut self, close: Close) {
        if self.stage == Stage::Frames {
            self.close(None);
        }
        self.stage = Stage::Closed;
        self.shared.event(Event::Close { error: close.error.map(Box::new) });
    }

    fn on_begin(&mut self, channel: u16, begin: &Begin) -> Result<(), Violation> {
        if !self.is_open_received {
            return Err(Violation::Unexpected("a begin before the open"));
        }
        if channel > self.shared.config.channel_max {
            return Err(Violation::Channel { channel, problem: "is beyond channel-max" });
        }
        if self.remote_channels.get(channel.into()).is_some() {
            return Err(Violation::Channel { channel, problem: "has a session already" });
        }
        let place = match begin.remote_channel {
            Some(ours) => usize::from(ours),
            None => self.new_session().ok_or(Violation::TooManySessions(self.shared.config.sessions_max))?,
        };
        let session = self.sessions.get_mut(place).and_then(Option::as_mut);
        let Some(session) = session.filter(|session| session.remote_channel.is_none()) else {
            return Err(Violation::Channel { channel, problem: "answers a session that was not begun" });
        };
        self.remote_channels.insert(channel.into(), place as u32);
        session.on_begin(channel, begin);
        if begin.remote_channel.is_none() {
            session.write_begin(&mut self.shared);
        }
        if !session.is_ending {
            self.shared.event(Event::Begin(session.id));
        }
        Ok(())
    }

    fn new_session(&mut self) -> Option<usize> {
        let limit = self.shared.config.sessions_max.min(usize::from(self.remote_channel_max) + 1);
        let place = lowest_free(&mut self.sessions);
        if place >= limit {
            self.sessions.pop();
            return None;
        }
        let id = SessionId { channel: place as u16, serial: self.shared.next_serial() };
        self.sessions[place] = Some(Box::new(Session::new(id)));
        Some(place)
    }

    /// The peer's end: answered unless it is an answer (amqp R29).
    fn on_end(&mut self, channel: u16, end: End) -> Result<(), Violation> {
        let Some(place) = self.remote_channels.get(channel.into()) else {
            return self.in_session(channel, |_, _| Ok(()));
        };
        self.remote_channels.remove(channel.into());
        let Some(mut session) = self.sessions.get_mut(place as usize).and_then(Option::take) else { return Ok(()) };
        if !session.is_ending {
            session.end(None, &mut self.shared);
            self.shared.event(Event::End { session: session.id, error: end.error.map(Box::new) });
        }
        Ok(())
    }
}

fn session_by_remote_channel<'a>(
    sessions: &'a mut [Option<Box<Session>>],
    remote_channels: &Numbers,
    channel: u16,
) -> Option<&'a mut Session> {
    sessions.get_mut(remote_channels.get(channel.into())? as usize)?.as_deref_mut()
}
