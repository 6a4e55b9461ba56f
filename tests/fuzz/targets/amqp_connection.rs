//! A stream of bytes to a server and to a client, cut anywhere: the events and the answers are the same as when it comes
//! whole. The driver takes every link, accepts every delivery, and sends a message for each credit it hears of.
#![no_main]

use std::{sync::Arc, time::Instant};

use amqp::{
    Attach, Config, Connection, DeliveryState, DeliveryTag, Event, LinkId, MESSAGE_FORMAT, Outgoing, Role, SaslCode,
    SendError,
};
use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;

fn send(connection: &mut Connection, link: LinkId, settled: bool) {
    let outgoing =
        Outgoing { tag: DeliveryTag::from([1; 16]), message_format: MESSAGE_FORMAT, settled, payload: &[0; 700] };
    let sendable = connection.sendable(link);
    let sent = connection.send(link, &outgoing);
    let is_too_large = matches!(sent, Err(SendError::TooLarge { .. }));
    assert!(sendable == 0 || sent.is_ok() || is_too_large, "{sendable} could be sent, and {sent:?}");
}

fn act(connection: &mut Connection, event: Event) {
    match event {
        Event::SaslInit(_) | Event::SaslResponse(_) => connection.sasl_outcome(SaslCode::Ok),
        Event::SaslOutcome(_) | Event::Open(_) => connection.open(),
        Event::Attach { link, attach } => {
            assert!(connection.accept(link, attach.answer(), 10));
        }
        Event::Delivery(delivery) => {
            let is_waiting = connection.settle(delivery.link, delivery.id, DeliveryState::Accepted);
            assert_eq!(is_waiting, !delivery.settled);
        }
        Event::Credit { link, drain, .. } => {
            send(connection, link, drain);
            connection.drained(link);
        }
        Event::Outcome(outcome) => {
            let is_waiting = connection.settle(outcome.link, outcome.id, DeliveryState::Released);
            assert_eq!(is_waiting, !outcome.settled);
        }
        _ => {}
    }
}

/// What came of the stream.
fn play(mut connection: Connection, stream: &[u8], piece_bytes: usize, now: Instant) -> (Vec<String>, Vec<u8>) {
    let (mut input, mut seen) = (BytesMut::new(), Vec::new());
    for piece in stream.chunks(piece_bytes) {
        input.extend_from_slice(piece);
        loop {
            match connection.receive(&mut input, now) {
                Ok(Some(event)) => {
                    seen.push(format!("{event:?}"));
                    act(&mut connection, event);
                }
                Ok(None) => break,
                Err(violation) => seen.push(violation.to_string()),
            }
        }
    }
    let mut output = Vec::new();
    while !connection.output().is_empty() {
        let piece = connection.output().to_vec();
        connection.consume_output(piece.len(), now);
        output.extend(piece);
    }
    (seen, output)
}

fn client(now: Instant) -> Connection {
    let mut client = Connection::client(Arc::new(Config::default()), None, now);
    client.open();
    if let Some(session) = client.begin() {
        let _ = client.attach(session, Attach::new("out", Role::Sender), 0);
        let _ = client.attach(session, Attach::new("in", Role::Receiver), 5);
    }
    client
}

fuzz_target!(|input: &[u8]| {
    let Some((cut, stream)) = input.split_first() else { return };
    let (now, piece_bytes) = (Instant::now(), usize::from(*cut).max(1));
    let server = || Connection::server(Arc::new(Config::default()), now);
    let whole = stream.len().max(1);
    assert_eq!(play(server(), stream, whole, now), play(server(), stream, piece_bytes, now));
    assert_eq!(play(client(now), stream, whole, now), play(client(now), stream, piece_bytes, now));
});
