//! The first words: protocol headers, SASL, open.

use std::{sync::Arc, time::Instant};

use super::{Config, Connection, Event, Violation};
use crate::{
    AMQP_HEADER, Open, Performative, SASL_HEADER, SaslChallenge, SaslCode, SaslFrame, SaslInit, SaslMechanisms,
    SaslOutcome, SaslResponse, Secret, Symbol, Symbols,
};

/// How far a connection is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stage {
    /// Server: whatever the client begins with.
    FirstHeader,
    /// Server: the client says who it is.
    SaslInit,
    /// Server: the client answers a challenge.
    SaslResponse,
    /// Server: the driver decides.
    SaslDecision,
    /// Client: the server echoes the SASL header.
    SaslHeader(Box<SaslLogin>),
    /// Client: the server says what it offers.
    SaslMechanisms(Box<SaslLogin>),
    /// Client: the server decides.
    SaslOutcome,
    /// The AMQP header, after SASL or as the echo of ours.
    AmqpHeader {
        is_echo: bool,
    },
    Frames,
    /// We have closed, and wait for the peer's close.
    Closing,
    Closed,
}

impl Stage {
    pub fn is_header(&self) -> bool {
        matches!(self, Self::FirstHeader | Self::SaslHeader(_) | Self::AmqpHeader { .. })
    }

    pub fn is_sasl(&self) -> bool {
        matches!(self, Self::SaslInit | Self::SaslResponse | Self::SaslMechanisms(_) | Self::SaslOutcome)
    }

    pub fn is_reading(&self) -> bool {
        !matches!(self, Self::SaslDecision | Self::Closed)
    }
}

/// How a client says who it is.
#[derive(Clone, Debug, PartialEq)]
pub struct SaslLogin {
    pub mechanism: Symbol,
    pub initial_response: Option<Secret>,
    /// The host that the client wants to reach.
    pub hostname: Option<String>,
}

impl Connection {
    /// The client's end of a connection, with or without SASL. Without, [`open`](Self::open) may follow at once; with
    /// it, after [`Event::SaslOutcome`].
    pub fn client(config: Arc<Config>, login: Option<SaslLogin>, now: Instant) -> Self {
        let (header, stage) = match login {
            Some(login) => (SASL_HEADER, Stage::SaslHeader(Box::new(login))),
            None => (AMQP_HEADER, Stage::AmqpHeader { is_echo: true }),
        };
        let mut connection = Self::new(config, stage, now);
        connection.shared.output.raw(&header);
        connection
    }

    pub(super) fn on_header(&mut self, header: [u8; 8]) -> Result<(), Violation> {
        let offers_sasl = !self.shared.config.mechanisms.is_empty();
        let stage = std::mem::replace(&mut self.stage, Stage::Closed);
        self.stage = match (header, stage) {
            (SASL_HEADER, Stage::FirstHeader) if offers_sasl => {
                self.shared.output.raw(&SASL_HEADER);
                let mechanisms = Symbols(self.shared.config.mechanisms.clone());
                self.shared.output.sasl_frame(&SaslFrame::Mechanisms(SaslMechanisms { mechanisms }));
                Stage::SaslInit
            }
            (AMQP_HEADER, Stage::FirstHeader | Stage::AmqpHeader { is_echo: false }) => {
                self.shared.output.raw(&AMQP_HEADER);
                Stage::Frames
            }
            (AMQP_HEADER, Stage::AmqpHeader { is_echo: true }) => Stage::Frames,
            (SASL_HEADER, Stage::SaslHeader(login)) => Stage::SaslMechanisms(login),
            // A server says what it speaks, then the driver closes (amqp §1.2).
            (_, stage) => {
                if matches!(stage, Stage::FirstHeader | Stage::AmqpHeader { is_echo: false }) {
                    self.shared.output.raw(&AMQP_HEADER);
                }
                return Err(Violation::ProtocolHeader(header));
            }
        };
        Ok(())
    }

    pub(super) fn on_sasl_frame(&mut self, frame: SaslFrame) -> Result<(), Violation> {
        let stage = std::mem::replace(&mut self.stage, Stage::Closed);
        self.stage = match (frame, stage) {
            (SaslFrame::Init(init), Stage::SaslInit) => self.on_sasl_init(init)?,
            (SaslFrame::Response(SaslResponse { response }), Stage::SaslResponse) => {
                self.shared.event(Event::SaslResponse(response));
                Stage::SaslDecision
            }
            (SaslFrame::Mechanisms(offer), Stage::SaslMechanisms(login)) => self.on_sasl_mechanisms(&offer, *login)?,
            (SaslFrame::Outcome(outcome), Stage::SaslOutcome) => self.on_sasl_outcome(&outcome),
            _ => return Err(Violation::Unexpected("a SASL frame")),
        };
        Ok(())
    }

    fn on_sasl_init(&mut self, init: SaslInit) -> Result<Stage, Violation> {
        if !self.shared.config.mechanisms.contains(&init.mechanism) {
            self.write_sasl_outcome(SaslCode::Auth);
            return Err(Violation::Mechanism(init.mechanism.to_string()));
        }
        self.shared.event(Event::SaslInit(Box::new(init)));
        Ok(Stage::SaslDecision)
    }

    fn on_sasl_mechanisms(&mut self, offer: &SaslMechanisms, login: SaslLogin) -> Result<Stage, Violation> {
        let SaslLogin { mechanism, initial_response, hostname } = login;
        if !offer.mechanisms.contains(&mechanism) {
            return Err(Violation::Mechanism(mechanism.to_string()));
        }
        self.shared.output.sasl_frame(&SaslFrame::Init(SaslInit { mechanism, initial_response, hostname }));
        Ok(Stage::SaslOutcome)
    }

    fn on_sasl_outcome(&mut self, outcome: &SaslOutcome) -> Stage {
        self.shared.event(Event::SaslOutcome(outcome.code));
        if outcome.code != SaslCode::Ok {
            return Stage::Closed;
        }
        self.shared.output.raw(&AMQP_HEADER);
        Stage::AmqpHeader { is_echo: true }
    }

    /// Answers [`Event::SaslInit`] or [`Event::SaslResponse`] with a question.
    pub fn sasl_challenge(&mut self, challenge: Vec<u8>) {
        if self.stage == Stage::SaslDecision {
            self.shared.output.sasl_frame(&SaslFrame::Challenge(SaslChallenge { challenge: Secret(challenge) }));
            self.stage = Stage::SaslResponse;
        }
    }

    /// Answers [`Event::SaslInit`] or [`Event::SaslResponse`] with the verdict. If it is not `Ok`, write the output and
    /// close the socket.
    pub fn sasl_outcome(&mut self, code: SaslCode) {
        if self.stage == Stage::SaslDecision {
            self.write_sasl_outcome(code);
            self.stage = if code == SaslCode::Ok { Stage::AmqpHeader { is_echo: false } } else { Stage::Closed };
        }
    }

    fn write_sasl_outcome(&mut self, code: SaslCode) {
        // The words of the real service (amqp §1.2).
        let additional_data = (code == SaslCode::Ok).then(|| Secret(b"Welcome!".to_vec()));
        self.shared.output.sasl_frame(&SaslFrame::Outcome(SaslOutcome { code, additional_data }));
    }

    /// Opens the connection from our side: a client to begin with, a server to answer [`Event::Open`].
    pub fn open(&mut self) {
        if self.is_open_sent || !matches!(self.stage, Stage::Frames | Stage::AmqpHeader { is_echo: true }) {
            return;
        }
        let config = &self.shared.config;
        let open = Open {
            container_id: config.container_id.clone(),
            hostname: config.hostname.clone(),
            max_frame_size: Some(config.frame_bytes_max),
            channel_max: Some(config.channel_max),
            idle_time_out: Some(u32::try_from(config.idle_timeout.as_millis()).unwrap_or(u32::MAX)),
            outgoing_locales: None,
            incoming_locales: None,
            offered_capabilities: None,
            desired_capabilities: None,
            properties: None,
        };
        self.shared.output.frame(0, &Performative::Open(Box::new(open)));
        self.is_open_sent = true;
    }

    pub(super) fn on_open(&mut self, open: Box<Open>) -> Result<(), Violation> {
        if self.is_open_received {
            return Err(Violation::Unexpected("a second open"));
        }
        self.is_open_received = true;
        self.remote_channel_max = open.channel_max.unwrap_or(u16::MAX);
        let config = &self.shared.config;
        let peer_max = open.max_frame_size.unwrap_or(u32::MAX).max(crate::FRAME_BYTES_MIN);
        self.shared.frame_bytes_max = config.frame_bytes_max.min(peer_max);
        self.silence.opened(config, open.idle_time_out.unwrap_or(0))?;
        self.shared.event(Event::Open(open));
        Ok(())
    }
}
