//! Both ends of a connection: how they come together, and apart; what they hold while idle.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use amqp::{Config, Connection, Error, Event, Role, SaslCode, SaslLogin, Secret, SendError, Violation, condition};
use bytes::BytesMut;

use crate::pair::{Pair, send};

#[test]
fn sasl_byte_by_byte() {
    let login = SaslLogin {
        mechanism: "PLAIN".into(),
        initial_response: Some(Secret(b"\0user\0secret".to_vec())),
        hostname: Some("hub".to_owned()),
    };
    let mut pair = Pair::with_sasl(login);
    pair.pump();
    let Some(Event::SaslInit(init)) = pair.server_events.first() else { panic!("{:?}", pair.server_events) };
    assert_eq!(init.hostname.as_deref(), Some("hub"));
    assert!(!format!("{init:?}").contains("secret"), "a secret is never printed");
    assert_eq!(pair.client_events, [Event::SaslOutcome(SaslCode::Ok)]);
    pair.client.connection.open();
    pair.pump();
    assert!(matches!(pair.server_events.last(), Some(Event::Open(_))));
    assert!(pair.client.connection.begin().is_some());
}

#[test]
fn a_challenge_is_answered() {
    let now = Instant::now();
    let config = Config { mechanisms: vec!["X-STEPS".into()], ..Config::default() };
    let mut server = Connection::server(Arc::new(config), now);
    let frame = |frame: &amqp::SaslFrame| {
        let mut wire = Vec::new();
        amqp::put_frame(amqp::FrameKind::Sasl, 0, &mut wire, |out| frame.encode(out));
        wire
    };
    let init = amqp::SaslInit { mechanism: "X-STEPS".into(), initial_response: None, hostname: None };
    let response = amqp::SaslResponse { response: Secret(b"42".to_vec()) };
    let mut input = BytesMut::from(
        [
            &amqp::SASL_HEADER,
            frame(&amqp::SaslFrame::Init(init)).as_slice(),
            &frame(&amqp::SaslFrame::Response(response)),
        ]
        .concat()
        .as_slice(),
    );
    assert!(matches!(server.receive(&mut input, now), Ok(Some(Event::SaslInit(_)))));
    assert!(!server.is_reading(), "the driver decides first");
    assert_eq!(server.receive(&mut input, now), Ok(None));
    server.sasl_challenge(b"6 * 7".to_vec());
    assert_eq!(server.receive(&mut input, now), Ok(Some(Event::SaslResponse(Secret(b"42".to_vec())))));
    server.sasl_outcome(SaslCode::Ok);
    assert!(server.is_reading());
}

#[test]
fn close_is_answered_and_ends_everything() {
    let mut pair = Pair::open(Config::default(), Config::default());
    let session = pair.begin();
    let (_, server) = pair.link(session, Role::Receiver, "l", 5);
    pair.server.connection.close(Some(Error::new(condition::CONNECTION_FORCED, "upgrade")));
    assert_eq!(send(&mut pair.server.connection, server, 1, b"x", true), Err(SendError::Gone));
    pair.pump();
    let [Event::Close { error: Some(error) }] = pair.client_events.as_slice() else {
        panic!("{:?}", pair.client_events)
    };
    assert_eq!(&*error.condition, condition::CONNECTION_FORCED);
    assert_eq!(pair.server_events, [Event::Close { error: None }]);
    assert!(pair.client.connection.is_closed() && pair.server.connection.is_closed());
    let mut late = BytesMut::from(b"anything".as_slice());
    assert_eq!(pair.server.connection.receive(&mut late, pair.now), Ok(None));
    assert!(late.is_empty());
}

#[test]
fn bytes_on_their_way_are_a_sign_of_life_and_standing_ones_are_not() {
    let mut pair = Pair::open(Config::default(), Config::default());
    let server = &mut pair.server.connection;
    let start = pair.now;
    let mut input = BytesMut::new();
    input.extend_from_slice(&[0, 0, 1]);
    let later = start + Duration::from_secs(400);
    assert_eq!(server.receive(&mut input, later), Ok(None));
    assert_eq!(server.receive(&mut input, later + Duration::from_secs(400)), Ok(None));
    assert_eq!(server.handle_timeout(later + Duration::from_secs(479)), Ok(()));
    assert_eq!(server.handle_timeout(later + Duration::from_secs(480)), Err(Violation::Silence));
}

#[test]
fn silence_counts_from_what_was_last_heard_however_late_the_open_came() {
    let config = Config { silence_max: Duration::from_secs(10), ..Config::default() };
    let (start, open) = (Instant::now(), start_of_a_client());
    let mut server = Connection::server(Arc::new(config), start);
    let late = start + Duration::from_secs(29);
    assert_eq!(server.deadline(), start + Duration::from_secs(30));
    let mut input = BytesMut::from(open.as_slice());
    assert!(matches!(server.receive(&mut input, late), Ok(Some(Event::Open(_)))));
    server.open();
    assert_eq!(server.deadline(), late + Duration::from_secs(10));
    assert_eq!(server.handle_timeout(late + Duration::from_secs(9)), Ok(()));
    assert_eq!(server.handle_timeout(late + Duration::from_secs(10)), Err(Violation::Silence));
}

fn start_of_a_client() -> Vec<u8> {
    let mut client = Connection::client(Arc::new(Config::default()), None, Instant::now());
    client.open();
    client.output().to_vec()
}

/// What a connection holds on the heap is measured by `cargo bench -p amqp --bench idle`.
#[test]
fn a_connection_and_an_event_are_small() {
    assert!(size_of::<Connection>() <= 512, "{}", size_of::<Connection>());
    assert!(size_of::<Event>() <= 112, "{}", size_of::<Event>());
}
