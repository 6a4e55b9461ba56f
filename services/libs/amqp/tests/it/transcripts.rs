//! Plain-text conversations with the server's end of a connection. The file name is the situation.
//!
//! ```text
//! > what the client sends: `amqp`, `sasl` (headers), `0 begin{...}` (channel and frame), `hex 00..`; behind `|` a payload
//! >> the same, but it arrives together with the next line
//! . what the driver does     = what it is told     < what the server sends     + seconds pass     ! violation
//! ```

use std::{
    fmt::Write,
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use amqp::{
    AMQP_HEADER, Attach, Config, Connection, DeliveryState, DeliveryTag, Error, Event, FrameHeader, FrameKind, LinkId,
    Message, Outgoing, Performative, SASL_HEADER, SaslCode, SessionId, Symbol, Value,
};
use bytes::BytesMut;

use crate::notation;

struct Player {
    connection: Connection,
    input: BytesMut,
    now: Instant,
    links: Vec<(LinkId, Attach)>,
    sessions: Vec<SessionId>,
    transcript: String,
}

impl Player {
    fn new(config: Config) -> Self {
        let now = Instant::now();
        Self {
            connection: Connection::server(Arc::new(config), now),
            input: BytesMut::new(),
            now,
            links: Vec::new(),
            sessions: Vec::new(),
            transcript: String::new(),
        }
    }

    fn line(&mut self, line: &str) {
        writeln!(self.transcript, "{line}").unwrap();
        if let Some(frame) = line.strip_prefix(">> ") {
            self.input.extend_from_slice(&notation::wire(frame));
            return;
        }
        if let Some(frame) = line.strip_prefix("> ") {
            self.input.extend_from_slice(&notation::wire(frame));
        } else if let Some(action) = line.strip_prefix(". ") {
            self.act(action);
        } else if let Some(seconds) = line.strip_prefix("+ ") {
            self.now += Duration::from_secs(seconds.parse().unwrap());
            if self.now >= self.connection.deadline()
                && let Err(violation) = self.connection.handle_timeout(self.now)
            {
                writeln!(self.transcript, "! {violation}").unwrap();
            }
        } else {
            return;
        }
        self.receive();
        self.write_output();
    }

    fn receive(&mut self) {
        loop {
            match self.connection.receive(&mut self.input, self.now) {
                Ok(Some(event)) => {
                    let text = self.describe(event);
                    writeln!(self.transcript, "= {text}").unwrap();
                }
                Ok(None) => return,
                Err(violation) => {
                    writeln!(self.transcript, "! {violation}").unwrap();
                    return;
                }
            }
        }
    }

    fn describe(&mut self, event: Event) -> String {
        match event {
            Event::SaslInit(init) => {
                let response = init.initial_response.map(|response| response.0);
                let plain = response.as_deref().and_then(amqp::PlainCredentials::parse);
                let user = plain.map_or(String::new(), |plain| format!(" {}", plain.user));
                format!("sasl {}{user}", init.mechanism)
            }
            Event::Open(open) => format!("open {}", open.container_id),
            Event::Begin(session) => {
                self.sessions.push(session);
                format!("begin S{}", self.sessions.len() - 1)
            }
            Event::Attach { link, attach } => {
                self.links.push((link, (*attach).clone()));
                format!("attach L{} {:?} {:?}", self.links.len() - 1, attach.role, attach.address())
            }
            Event::Delivery(delivery) => format!(
                "delivery {} {} tag {:?} format {:#x} settled {} | {}",
                self.name(delivery.link),
                delivery.id,
                delivery.tag,
                delivery.message_format,
                delivery.settled,
                summary(&delivery.payload)
            ),
            Event::Credit { link, credit, drain } => format!("credit {} {credit} drain {drain}", self.name(link)),
            Event::Outcome(outcome) => format!(
                "outcome {} {} tag {:?} {} settled {}",
                self.name(outcome.link),
                outcome.id,
                outcome.tag,
                outcome.state.as_ref().map_or("none".to_owned(), state_name),
                outcome.settled
            ),
            Event::Detach { link, error } => format!("detach {} {}", self.name(link), condition(error)),
            Event::End { session, error } => {
                let place = self.sessions.iter().position(|found| *found == session).unwrap();
                format!("end S{place} {}", condition(error))
            }
            Event::Close { error } => format!("close {}", condition(error)),
            other => format!("{other:?}"),
        }
    }

    fn name(&self, link: LinkId) -> String {
        format!("L{}", self.links.iter().position(|(found, _)| *found == link).unwrap())
    }

    fn act(&mut self, action: &str) {
        let (words, payload) = action.split_once(" | ").unwrap_or((action, ""));
        let words: Vec<&str> = words.split_whitespace().collect();
        let link = |name: &str| {
            let place: usize = name.trim_start_matches('L').parse().unwrap();
            self.links.get(place).unwrap_or_else(|| panic!("no {name}:\n{}", self.transcript)).clone()
        };
        match words.as_slice() {
            ["sasl", "ok"] => self.connection.sasl_outcome(SaslCode::Ok),
            ["sasl", "auth"] => self.connection.sasl_outcome(SaslCode::Auth),
            ["open"] => self.connection.open(),
            ["accept", name, "credit", credit] => {
                let (link, attach) = link(name);
                assert!(self.connection.accept(link, attach.answer(), credit.parse().unwrap()));
            }
            ["refuse", name, condition] => {
                assert!(self.connection.refuse(link(name).0, error(condition)));
            }
            ["redirect", name, host, address] => {
                assert!(self.connection.refuse(link(name).0, Error::redirect(host, 5671, address)));
            }
            ["settle", name, ids, outcome] => {
                let (link, _) = link(name);
                let (first, last) = ids.split_once("..").unwrap_or((ids, ids));
                for id in first.parse::<u32>().unwrap()..=last.parse().unwrap() {
                    let done = self.connection.settle(link, id, state(outcome));
                    writeln!(self.transcript, "= {done}").unwrap();
                }
            }
            ["send", name, tag, settled] => {
                let outgoing = Outgoing {
                    tag: DeliveryTag::new(&notation::hexadecimal(tag)).unwrap(),
                    message_format: amqp::MESSAGE_FORMAT,
                    settled: *settled == "settled",
                    payload: &notation::encode(payload),
                };
                let sent = self.connection.send(link(name).0, &outgoing);
                writeln!(self.transcript, "= {sent:?}").unwrap();
            }
            ["drained", name] => assert!(self.connection.drained(link(name).0)),
            ["credit", name, credit] => assert!(self.connection.set_credit(link(name).0, credit.parse().unwrap())),
            ["detach", name, condition] => assert!(self.connection.detach(link(name).0, Some(error(condition)))),
            ["end", name, condition] => {
                let session = self.sessions[name.trim_start_matches('S').parse::<usize>().unwrap()];
                assert!(self.connection.end(session, Some(error(condition))));
            }
            ["close", condition] => self.connection.close(Some(error(condition))),
            other => panic!("no such action: {other:?}"),
        }
    }

    fn write_output(&mut self) {
        while !self.connection.output().is_empty() {
            let mut output = self.connection.output().to_vec();
            self.connection.consume_output(output.len(), self.now);
            while !output.is_empty() {
                let length = self.describe_output(&output);
                output.drain(..length);
            }
        }
    }

    /// The frame at the front, and how long it is.
    fn describe_output(&mut self, output: &[u8]) -> usize {
        let first: [u8; 8] = *output.first_chunk().unwrap();
        let (text, length) = match first {
            AMQP_HEADER => ("amqp".to_owned(), 8),
            SASL_HEADER => ("sasl".to_owned(), 8),
            _ => {
                let header = FrameHeader::decode(first, u32::MAX).unwrap();
                let body = &output[header.body_offset..header.size];
                (frame(&header, body), header.size)
            }
        };
        writeln!(self.transcript, "< {text}").unwrap();
        length
    }
}

fn frame(header: &FrameHeader, body: &[u8]) -> String {
    if body.is_empty() {
        return "heartbeat".to_owned();
    }
    if header.kind == FrameKind::Sasl {
        return notation::describe(&Value::decode(body).unwrap());
    }
    let (_, length) = Performative::decode(body).unwrap();
    let (performative, payload) = body.split_at(length);
    let text = format!("{} {}", header.channel, notation::describe(&Value::decode(performative).unwrap()));
    if payload.is_empty() { text } else { format!("{text} | {}", summary(payload)) }
}

/// What is interesting about a payload: its body if it is a message, else its length.
fn summary(payload: &[u8]) -> String {
    let Ok(message) = Message::decode(payload) else { return format!("{} bytes", payload.len()) };
    let mut parts = Vec::new();
    if let Some(annotations) = message.message_annotations {
        parts.push(format!("annotations {}", notation::describe(&Value::Map(annotations))));
    }
    if let Some(properties) = &message.properties {
        let id = |name: &str, id: Option<amqp::MessageId<'_>>| {
            id.map(|id| format!("{name} {}", notation::describe(&id.value())))
        };
        parts.extend(id("message-id", properties.message_id));
        parts.extend(id("correlation-id", properties.correlation_id));
        parts.extend(properties.to.map(|to| format!("to {to}")));
    }
    if let Some(properties) = message.application_properties {
        parts.push(notation::describe(&Value::Map(properties)));
    }
    parts.push(match message.body {
        amqp::Body::Absent => "no body".to_owned(),
        amqp::Body::Data(data) => data.iter().map(data_summary).collect::<Vec<_>>().join(" and "),
        amqp::Body::Value(value) => format!("value {}", notation::describe(&value)),
        amqp::Body::Sequence(_) => "a sequence".to_owned(),
    });
    parts.join(", ")
}

fn data_summary(data: &[u8]) -> String {
    if data.len() < 100 {
        format!("data {}", notation::describe(&Value::Binary(data)))
    } else {
        format!("data of {} bytes", data.len())
    }
}

fn error(condition: &str) -> Error {
    let known = [
        amqp::condition::NOT_FOUND,
        amqp::condition::UNAUTHORIZED_ACCESS,
        amqp::condition::CONNECTION_FORCED,
        amqp::condition::LINK_STOLEN,
        amqp::condition::INTERNAL_ERROR,
    ];
    let condition = known.into_iter().find(|known| *known == condition).expect("a known condition");
    Error::new(Symbol::new(condition), "why")
}

fn state(name: &str) -> DeliveryState {
    match name {
        "accepted" => DeliveryState::Accepted,
        "released" => DeliveryState::Released,
        condition => DeliveryState::rejected(error(condition)),
    }
}

fn state_name(state: &DeliveryState) -> String {
    match state {
        DeliveryState::Accepted => "accepted".to_owned(),
        DeliveryState::Released => "released".to_owned(),
        DeliveryState::Rejected(error) => {
            format!("rejected {}", error.as_ref().map_or("without error", |error| &error.condition))
        }
        other => format!("{other:?}"),
    }
}

fn condition(error: Option<Box<Error>>) -> String {
    error.map_or("without error".to_owned(), |error| error.condition.to_string())
}

fn config() -> Config {
    Config { container_id: "DeviceGateway_0".to_owned(), hostname: Some("localhost".to_owned()), ..Config::default() }
}

/// Plays what the client sends and the driver does, and writes down what comes of it.
fn play(script: &str) -> String {
    let mut player = Player::new(config());
    for line in script.lines().filter(|line| !line.starts_with(['=', '<', '!'])) {
        player.line(line);
    }
    player.transcript
}

/// What was played lies in cargo's folder for test files, so that a changed transcript can be read and taken over.
#[test]
fn every_transcript_plays_as_written() {
    // Cargo runs tests in the package's folder. A path that is compiled in would be that of whoever built them.
    let folder = Path::new("tests/transcripts");
    let (mut count, mut different) = (0, Vec::new());
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let script = fs::read_to_string(&path).unwrap();
        let played = play(&script);
        let name = path.file_name().unwrap().to_owned();
        fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(&name), &played).unwrap();
        if played != script {
            different.push((name, played));
        }
        count += 1;
    }
    for (name, played) in &different {
        println!("{}:\n{played}", name.display());
    }
    assert!(different.is_empty(), "{} transcripts differ", different.len());
    assert!(count >= 20, "only {count} transcripts");
}
