//! A client and a server that talk through memory, over a clock that stands still.

use std::{sync::Arc, time::Instant};

use amqp::{
    Attach, AttachTarget, Config, Connection, DeliveryTag, Event, LinkId, Outgoing, Role, SaslCode, SaslLogin,
    SendError, SessionId, Source, Target, Violation,
};
use bytes::BytesMut;

use crate::referee::Referee;

/// One end, with what it has read and not understood.
pub struct End {
    pub connection: Connection,
    input: BytesMut,
    pub violation: Option<Violation>,
}

impl End {
    pub fn new(connection: Connection) -> Self {
        Self { connection, input: BytesMut::new(), violation: None }
    }

    /// Takes bytes in pieces of the given size; the driver hears of each event before the next one comes. Opens and SASL
    /// are answered for it.
    pub fn read(
        &mut self,
        bytes: &[u8],
        piece_bytes: usize,
        now: Instant,
        mut driver: impl FnMut(&mut Connection, Event),
    ) {
        for piece in bytes.chunks(piece_bytes.max(1)) {
            self.input.extend_from_slice(piece);
            loop {
                match self.connection.receive(&mut self.input, now) {
                    Ok(Some(event)) => {
                        match &event {
                            Event::Open(_) => self.connection.open(),
                            Event::SaslInit(_) => self.connection.sasl_outcome(SaslCode::Ok),
                            _ => {}
                        }
                        driver(&mut self.connection, event);
                    }
                    Ok(None) => break,
                    Err(violation) => {
                        self.violation = Some(violation);
                        break;
                    }
                }
            }
        }
    }

    pub fn take_output(&mut self, now: Instant) -> Vec<u8> {
        let mut all = Vec::new();
        while !self.connection.output().is_empty() {
            let output = self.connection.output();
            all.extend_from_slice(output);
            let count = output.len();
            self.connection.consume_output(count, now);
        }
        all
    }
}

pub struct Pair {
    pub client: End,
    pub server: End,
    pub now: Instant,
    pub piece_bytes: usize,
    pub client_events: Vec<Event>,
    pub server_events: Vec<Event>,
    /// Bytes from client to server, and back.
    pub sent: (usize, usize),
    pub referee: Referee,
}

impl Pair {
    /// Two ends whose connection is open.
    pub fn open(client: Config, server: Config) -> Self {
        let now = Instant::now();
        let mut pair = Self {
            client: End::new(Connection::client(Arc::new(client), None, now)),
            server: End::new(Connection::server(Arc::new(server), now)),
            now,
            piece_bytes: 4096,
            client_events: Vec::new(),
            server_events: Vec::new(),
            sent: (0, 0),
            referee: Referee::default(),
        };
        pair.client.connection.open();
        pair.pump();
        assert!(matches!(pair.client_events.as_slice(), [Event::Open(_)]));
        pair.forget_events();
        pair
    }

    pub fn with_sasl(login: SaslLogin) -> Self {
        let (now, config) = (Instant::now(), Arc::new(Config::default()));
        Self {
            client: End::new(Connection::client(config.clone(), Some(login), now)),
            server: End::new(Connection::server(config, now)),
            now,
            piece_bytes: 1,
            client_events: Vec::new(),
            server_events: Vec::new(),
            sent: (0, 0),
            referee: Referee::default(),
        }
    }

    /// Carries bytes until nobody has anything to say.
    pub fn pump(&mut self) {
        loop {
            let (from_client, from_server) = (self.client.take_output(self.now), self.server.take_output(self.now));
            if from_client.is_empty() && from_server.is_empty() {
                return;
            }
            self.referee.hear(0, &from_client);
            self.referee.hear(1, &from_server);
            self.sent.0 += from_client.len();
            self.sent.1 += from_server.len();
            let (server_events, client_events) = (&mut self.server_events, &mut self.client_events);
            self.server.read(&from_client, self.piece_bytes, self.now, |_, event| server_events.push(event));
            self.client.read(&from_server, self.piece_bytes, self.now, |_, event| client_events.push(event));
        }
    }

    pub fn forget_events(&mut self) {
        self.client_events.clear();
        self.server_events.clear();
    }

    pub fn begin(&mut self) -> SessionId {
        let session = self.client.connection.begin().expect("a session");
        self.pump();
        session
    }

    /// A link between both; `role` is the client's. Its id at the client, and at the server.
    pub fn link(&mut self, session: SessionId, role: Role, name: &str, credit: u32) -> (LinkId, LinkId) {
        let attach = Attach {
            source: Some(Source::at(name)),
            target: Some(AttachTarget::Target(Target::at(name))),
            ..Attach::new(name, role)
        };
        let client = self.client.connection.attach(session, attach, credit).expect("a link");
        self.pump();
        let asked = self.server_events.iter().find_map(|event| match event {
            Event::Attach { link, attach } => Some((*link, attach.answer())),
            _ => None,
        });
        let (server, answer) = asked.expect("the server was asked");
        assert!(self.server.connection.accept(server, answer, credit));
        self.pump();
        self.forget_events();
        (client, server)
    }
}

pub fn send(
    connection: &mut Connection,
    link: LinkId,
    tag: u8,
    payload: &[u8],
    settled: bool,
) -> Result<u32, SendError> {
    let outgoing =
        Outgoing { tag: DeliveryTag::from([tag; 16]), message_format: amqp::MESSAGE_FORMAT, settled, payload };
    connection.send(link, &outgoing)
}
