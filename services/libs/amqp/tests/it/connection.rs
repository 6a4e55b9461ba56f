//! Both ends of a connection at once: what they agree on, what they bound, what they hold while idle.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use amqp::{
    Attach, Config, Connection, DeliveryState, Disposition, Error, Event, FrameKind, Performative, Role, SaslCode,
    SaslLogin, Secret, SendError, Violation, condition, put_frame,
};
use bytes::BytesMut;

use crate::pair::{Pair, send};

fn small() -> Config {
    Config { sessions_max: 2, links_max: 3, unsettled_outgoing_max: 2, unsettled_incoming_max: 2, ..Config::default() }
}

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
fn a_payload_in_one_frame_is_a_slice_of_what_was_read() {
    let mut pair = Pair::open(Config::default(), Config::default());
    let session = pair.begin();
    let (sender, _) = pair.link(session, Role::Sender, "l", 10);
    send(&mut pair.client.connection, sender, 1, &[7; 1000], false).unwrap();
    let wire = pair.client.take_output(pair.now);
    let mut input = BytesMut::from(wire.as_slice());
    let read = input.as_ptr_range();
    let Ok(Some(Event::Delivery(delivery))) = pair.server.connection.receive(&mut input, pair.now) else { panic!() };
    assert_eq!(delivery.payload.as_ref(), [7; 1000]);
    let payload = delivery.payload.as_ptr_range();
    assert!(read.start <= payload.start && payload.end <= read.end, "it was copied");
}

#[test]
fn neighbours_are_settled_by_one_frame() {
    let mut pair = Pair::open(Config::default(), Config::default());
    let session = pair.begin();
    let (sender, receiver) = pair.link(session, Role::Sender, "l", 1000);
    let ids: Vec<u32> = (0..100).map(|_| send(&mut pair.client.connection, sender, 1, b"m", false).unwrap()).collect();
    assert_eq!(ids, (0..100).collect::<Vec<_>>(), "amqp R5");
    pair.pump();
    for id in ids {
        // One is not accepted: three ranges.
        let state = if id == 50 { DeliveryState::Released } else { DeliveryState::Accepted };
        assert!(pair.server.connection.settle(receiver, id, state));
    }
    let wire = pair.server.take_output(pair.now);
    assert!(wire.len() < 100, "{} bytes", wire.len());
    pair.client.read(&wire, wire.len(), pair.now, |_, event| pair.client_events.push(event));
    assert_eq!(pair.client_events.len(), 100);
}

/// amqp R5: counted over the session, not over the link.
#[test]
fn delivery_ids_are_one_row_for_all_links_of_a_session() {
    let mut pair = Pair::open(Config::default(), Config { frame_bytes_max: 512, ..Config::default() });
    let session = pair.begin();
    let (_, first) = pair.link(session, Role::Receiver, "a", 10);
    let (_, second) = pair.link(session, Role::Receiver, "b", 10);
    let server = &mut pair.server.connection;
    let large = [0; 2000];
    let ids = [(first, large.as_slice()), (second, b"x"), (first, b""), (second, &large)]
        .map(|(link, payload)| send(server, link, 1, payload, true).unwrap());
    assert_eq!(ids, [0, 1, 2, 3]);
    pair.pump();
    let received = pair.client_events.iter().filter(|event| matches!(event, Event::Delivery(_))).count();
    assert_eq!((received, pair.client.violation), (4, None));
}

#[test]
fn sessions_and_links_are_bounded() {
    let mut pair = Pair::open(Config::default(), small());
    let session = pair.begin();
    for name in ["a", "b", "c"] {
        pair.link(session, Role::Sender, name, 1);
    }
    let other = pair.begin();
    pair.forget_events();
    pair.client.connection.attach(other, Attach::new("d", Role::Sender), 0).unwrap();
    pair.pump();
    let Some(Event::End { error: Some(error), .. }) = pair.client_events.last() else {
        panic!("{:?}", pair.client_events)
    };
    assert_eq!(&*error.condition, condition::RESOURCE_LIMIT_EXCEEDED);
    // A detached link makes room, and so does an ended session.
    let third = pair.begin();
    assert!(pair.client.connection.end(session, None));
    pair.pump();
    pair.forget_events();
    pair.link(third, Role::Sender, "e", 1);
    pair.begin();
    assert_eq!(pair.server.violation, None);
    assert!(pair.client.connection.begin().is_some());
    pair.pump();
    assert_eq!(pair.server.violation, Some(Violation::TooManySessions(2)));
    let Some(Event::Close { error: Some(error) }) = pair.client_events.last() else {
        panic!("{:?}", pair.client_events)
    };
    assert_eq!(&*error.condition, condition::RESOURCE_LIMIT_EXCEEDED);
}

#[test]
fn what_waits_for_an_outcome_is_bounded() {
    let mut pair = Pair::open(Config::default(), small());
    let session = pair.begin();
    let (client, server) = pair.link(session, Role::Receiver, "l", 10);
    let connection = &mut pair.server.connection;
    assert_eq!(connection.sendable(server), 2);
    let first = send(connection, server, 1, b"a", false).unwrap();
    send(connection, server, 2, b"b", false).unwrap();
    assert_eq!(send(connection, server, 3, b"c", false), Err(SendError::TooManyUnsettled));
    assert!(send(connection, server, 3, b"c", true).is_ok(), "nobody waits for this one");
    pair.pump();
    assert!(pair.client.connection.settle(client, first, DeliveryState::Accepted));
    pair.pump();
    assert!(send(&mut pair.server.connection, server, 3, b"c", false).is_ok());
}

/// amqp R20: credit is no bound, because a sender may not know of it, or not care; this is one.
#[test]
fn what_waits_to_be_settled_is_bounded_whatever_the_credit() {
    let mut pair = Pair::open(Config::default(), small());
    let session = pair.begin();
    let (sender, receiver) = pair.link(session, Role::Sender, "l", 10);
    for tag in 0..3 {
        send(&mut pair.client.connection, sender, tag, b"x", false).unwrap();
    }
    pair.pump();
    let [Event::Delivery(_), Event::Delivery(_), Event::Detach { link, error: Some(error) }] =
        pair.server_events.as_slice()
    else {
        panic!("{:?}", pair.server_events)
    };
    assert_eq!((*link, &*error.condition), (receiver, condition::TRANSFER_LIMIT_EXCEEDED));
}

/// By the end of their link, or by a sender that settles for itself.
#[test]
fn what_nobody_waits_for_any_more_does_not_count() {
    let mut pair = Pair::open(Config::default(), small());
    let session = pair.begin();
    let (first, _) = pair.link(session, Role::Sender, "a", 10);
    let (second, receiver) = pair.link(session, Role::Sender, "b", 10);
    let send_two = |pair: &mut Pair, link| {
        pair.forget_events();
        let ids = [1, 2].map(|tag| send(&mut pair.client.connection, link, tag, b"x", false).unwrap());
        pair.pump();
        let events = pair.server_events.as_slice();
        assert!(matches!(events, [Event::Delivery(_), Event::Delivery(_)]), "{events:?}");
        ids
    };
    send_two(&mut pair, first);
    pair.client.connection.detach(first, None);
    pair.pump();
    let [from, to] = send_two(&mut pair, second);
    let settled = Disposition {
        role: Role::Sender,
        first: from,
        last: Some(to),
        settled: true,
        state: Some(DeliveryState::Accepted),
        batchable: None,
    };
    let mut wire = Vec::new();
    put_frame(FrameKind::Amqp, 0, &mut wire, |out| Performative::Disposition(settled).encode(out));
    pair.server.read(&wire, wire.len(), pair.now, |_, event| panic!("{event:?}"));
    assert!(!pair.server.connection.settle(receiver, from, DeliveryState::Accepted));
    send_two(&mut pair, second);
}

#[test]
fn incomplete_deliveries_are_bounded_in_all() {
    let server = Config { incomplete_bytes_max: 3_000, ..Config::default() };
    let mut pair =
        Pair::open(Config { frame_bytes_max: 512, ..Config::default() }, Config { incoming_window: 4, ..server });
    let (one, two) = (pair.begin(), pair.begin());
    let (first, _) = pair.link(one, Role::Sender, "a", 10);
    let (second, _) = pair.link(two, Role::Sender, "b", 10);
    // Four frames of each go out, then the window is used up.
    send(&mut pair.client.connection, first, 1, &[0; 5_000], false).unwrap();
    send(&mut pair.client.connection, second, 1, &[0; 5_000], false).unwrap();
    let wire = pair.client.take_output(pair.now);
    pair.referee.hear(0, &wire);
    let now = pair.now;
    pair.server.read(&wire, wire.len(), now, |_, event| pair.server_events.push(event));
    let Some(Event::Detach { error: Some(error), .. }) = pair.server_events.last() else {
        panic!("{:?}", pair.server_events)
    };
    assert_eq!(&*error.condition, condition::RESOURCE_LIMIT_EXCEEDED);
    // What was dropped does not count any more.
    pair.pump();
    pair.forget_events();
    let (third, _) = pair.link(two, Role::Sender, "c", 10);
    send(&mut pair.client.connection, third, 1, &[0; 900], false).unwrap();
    pair.pump();
    assert!(matches!(pair.server_events.last(), Some(Event::Delivery(_))), "{:?}", pair.server_events);
}

#[test]
fn nothing_is_read_while_too_much_waits_to_be_written() {
    let mut pair = Pair::open(Config::default(), Config { output_bytes_max: 1_000, ..Config::default() });
    let session = pair.begin();
    let (_, server) = pair.link(session, Role::Receiver, "l", 10);
    let (sender, receiver) = pair.link(session, Role::Sender, "m", 10);
    assert!(send(&mut pair.server.connection, server, 1, &[0; 2_000], true).is_ok());
    assert_eq!(send(&mut pair.server.connection, server, 2, b"", true), Err(SendError::OutputFull));
    assert_eq!((pair.server.connection.is_reading(), pair.server.connection.sendable(server)), (false, 0));
    send(&mut pair.client.connection, sender, 1, b"x", false).unwrap();
    let (wire, now) = (pair.client.take_output(pair.now), pair.now);
    let mut input = BytesMut::from(wire.as_slice());
    assert_eq!(pair.server.connection.receive(&mut input, now), Ok(None));
    assert_eq!(input.len(), wire.len());
    pair.server.take_output(now);
    let Ok(Some(Event::Delivery(delivery))) = pair.server.connection.receive(&mut input, now) else { panic!() };
    assert_eq!(delivery.link, receiver);
}

#[test]
fn a_message_beyond_what_the_receiver_takes_is_not_sent() {
    let client = Config { message_bytes_max: 10, ..Config::default() };
    let mut pair = Pair::open(client, Config::default());
    let session = pair.begin();
    let (_, server) = pair.link(session, Role::Receiver, "l", 10);
    assert_eq!(send(&mut pair.server.connection, server, 1, &[0; 11], true), Err(SendError::TooLarge { max: 10 }));
    assert_eq!(send(&mut pair.server.connection, server, 1, &[0; 10], true), Ok(0));
}

#[test]
fn ids_of_what_is_gone_mean_nothing() {
    let mut pair = Pair::open(Config::default(), Config::default());
    let session = pair.begin();
    let (sender, receiver) = pair.link(session, Role::Sender, "l", 10);
    let id = send(&mut pair.client.connection, sender, 1, b"x", false).unwrap();
    pair.pump();
    assert!(pair.client.connection.detach(sender, None));
    pair.pump();
    // The same handle, another link.
    let (again, _) = pair.link(session, Role::Sender, "l", 10);
    assert_ne!(sender, again);
    let server = &mut pair.server.connection;
    assert!(!server.settle(receiver, id, DeliveryState::Accepted));
    assert!(!server.set_credit(receiver, 5) && !server.drain(receiver) && !server.detach(receiver, None));
    assert_eq!(send(&mut pair.client.connection, sender, 1, b"x", false), Err(SendError::Gone));
    assert!(pair.client.connection.end(session, None));
    assert!(!pair.client.connection.end(session, None));
    pair.pump();
    assert_eq!(pair.client.connection.attach(session, Attach::new("n", Role::Sender), 0), None);
    assert_ne!(pair.begin(), session);
    assert_eq!((&pair.client.violation, &pair.server.violation), (&None, &None));
}

/// The answer is not taken for a wish of the peer, and the place is free again.
#[test]
fn a_link_can_be_given_up_before_it_is_answered() {
    let mut pair = Pair::open(small(), Config::default());
    let session = pair.begin();
    for _ in 0..5 {
        pair.forget_events();
        let link = pair.client.connection.attach(session, Attach::new("l", Role::Receiver), 3).unwrap();
        pair.pump();
        assert!(pair.client.connection.detach(link, None));
        let Some(Event::Attach { link, attach }) = pair.server_events.pop() else { panic!() };
        assert!(pair.server.connection.accept(link, attach.answer(), 0));
        pair.pump();
        assert_eq!(pair.client_events, []);
        assert_eq!(pair.server_events, [Event::Detach { link, error: None }]);
    }
}

/// New credit crosses the answer to the old drain: none of it is lost.
#[test]
fn credit_that_crosses_a_drain_counts() {
    let mut pair = Pair::open(Config::default(), Config::default());
    let session = pair.begin();
    let (client, server) = pair.link(session, Role::Receiver, "l", 3);
    assert!(pair.client.connection.drain(client));
    let wire = pair.client.take_output(pair.now);
    pair.server.read(&wire, wire.len(), pair.now, |_, _| {});
    assert!(pair.server.connection.drained(server));
    assert!(pair.client.connection.set_credit(client, 4));
    pair.pump();
    assert_eq!(pair.server.connection.sendable(server), 4);
    for tag in 0..20 {
        send(&mut pair.server.connection, server, tag, b"x", true).unwrap();
        pair.pump();
    }
}

#[test]
fn a_receiver_drains_and_stops() {
    let mut pair = Pair::open(Config::default(), Config::default());
    let session = pair.begin();
    let (client, server) = pair.link(session, Role::Receiver, "l", 5);
    assert!(pair.client.connection.drain(client));
    pair.pump();
    assert_eq!(pair.server_events, [Event::Credit { link: server, credit: 5, drain: true }]);
    send(&mut pair.server.connection, server, 1, b"last", true).unwrap();
    assert!(pair.server.connection.drained(server));
    assert_eq!(send(&mut pair.server.connection, server, 1, b"more", true), Err(SendError::NoCredit));
    pair.pump();
    assert!(
        matches!(pair.client_events.as_slice(), [Event::Delivery(_), Event::Drained { .. }]),
        "{:?}",
        pair.client_events
    );
    assert!(pair.client.connection.set_credit(client, 3));
    pair.pump();
    assert_eq!(pair.server.connection.sendable(server), 3);
}

/// Credit is the receiver's to give, whatever the driver of the sender says.
#[test]
fn a_sender_gives_itself_no_credit() {
    let mut pair = Pair::open(Config::default(), Config::default());
    let session = pair.begin();
    let (client, server) = pair.link(session, Role::Receiver, "l", 0);
    pair.client.connection.attach(session, Attach::new("n", Role::Receiver), 0).unwrap();
    pair.pump();
    let Some(Event::Attach { link, attach }) = pair.server_events.pop() else { panic!("{:?}", pair.server_events) };
    assert!(pair.server.connection.accept(link, attach.answer(), 1000));
    assert_eq!(pair.server.connection.sendable(link), 0);
    assert!(!pair.server.connection.set_credit(server, 5) && !pair.server.connection.drain(server));
    assert_eq!(pair.server.connection.sendable(server), 0);
    let sender = pair.client.connection.attach(session, Attach::new("m", Role::Sender), 7).unwrap();
    pair.pump();
    let Some(Event::Attach { link, attach }) = pair.server_events.last() else { panic!("{:?}", pair.server_events) };
    assert!(pair.server.connection.accept(*link, attach.answer(), 0));
    pair.pump();
    assert_eq!(send(&mut pair.client.connection, sender, 1, b"x", true), Err(SendError::NoCredit));
    pair.client.connection.set_credit(client, 1);
    pair.pump();
    assert_eq!(pair.server.connection.sendable(server), 1);
}

/// Who waits for the answer to an attach has heard of it when the detach comes (amqp R19).
#[test]
fn the_detach_of_a_refused_link_begins_a_piece_of_its_own() {
    let mut pair = Pair::open(Config::default(), Config::default());
    let session = pair.begin();
    for name in ["a", "b"] {
        pair.client.connection.attach(session, Attach::new(name, Role::Receiver), 1).unwrap();
    }
    pair.pump();
    for event in pair.server_events.drain(..) {
        let Event::Attach { link, .. } = event else { continue };
        assert!(pair.server.connection.refuse(link, Error::new(condition::NOT_FOUND, "why")));
    }
    let (mut pieces, server) = (Vec::new(), &mut pair.server.connection);
    while let [_, ..] = server.output() {
        pieces.push(server.output().to_vec());
        server.consume_output(pieces.last().unwrap().len(), pair.now);
    }
    let first_codes: Vec<u8> = pieces.iter().map(|piece| piece[10]).collect();
    assert_eq!(first_codes, [0x12, 0x16, 0x16], "attach; detach and attach; detach");
}

/// The sending end of a link that the client refuses or that we detach: nothing is left behind.
#[test]
fn a_half_sent_delivery_ends_with_its_link() {
    let mut pair = Pair::open(
        Config { incoming_window: 1, ..Config::default() },
        Config { frame_bytes_max: 512, ..Config::default() },
    );
    let session = pair.begin();
    let (_, first) = pair.link(session, Role::Receiver, "a", 5);
    let (_, second) = pair.link(session, Role::Receiver, "b", 5);
    send(&mut pair.server.connection, first, 1, &[0; 3_000], false).unwrap();
    assert_eq!(send(&mut pair.server.connection, second, 1, b"x", false), Err(SendError::NoWindow));
    assert!(pair.server.connection.detach(first, Some(Error::new(condition::DETACH_FORCED, "moved"))));
    pair.pump();
    assert!(matches!(pair.client_events.as_slice(), [Event::Detach { .. }]), "{:?}", pair.client_events);
    assert!(matches!(pair.server_events.as_slice(), [Event::WindowOpen(_)]), "{:?}", pair.server_events);
    assert!(send(&mut pair.server.connection, second, 1, b"x", false).is_ok());
}

#[test]
fn windows_are_renewed_at_half() {
    let mut pair = Pair::open(Config::default(), Config { incoming_window: 10, ..Config::default() });
    let session = pair.begin();
    let (sender, _) = pair.link(session, Role::Sender, "l", 1000);
    for count in 1..=30 {
        let before = pair.sent.1;
        send(&mut pair.client.connection, sender, 1, b"x", true).unwrap();
        pair.pump();
        assert_eq!(pair.sent.1 > before, count % 5 == 0, "amqp R23, message {count}");
    }
}

/// A driver that asks how much it can send, and never tries in vain, hears of the window as well.
#[test]
fn an_open_window_is_told_to_who_did_not_try() {
    let mut pair = Pair::open(Config { incoming_window: 2, ..Config::default() }, Config::default());
    let session = pair.begin();
    let (_, server) = pair.link(session, Role::Receiver, "l", 100);
    assert_eq!(pair.server.connection.sendable(server), 2);
    for tag in 0..2 {
        send(&mut pair.server.connection, server, tag, b"x", true).unwrap();
    }
    assert_eq!(pair.server.connection.sendable(server), 0);
    pair.pump();
    assert!(matches!(pair.server_events.first(), Some(Event::WindowOpen(_))), "{:?}", pair.server_events);
    assert!(pair.server.connection.sendable(server) > 0);
}

#[test]
fn no_more_sessions_than_the_peer_has_channels() {
    let mut pair = Pair::open(Config::default(), Config { channel_max: 1, ..Config::default() });
    assert!(pair.client.connection.begin().is_some() && pair.client.connection.begin().is_some());
    assert_eq!(pair.client.connection.begin(), None);
    pair.pump();
    assert_eq!((&pair.client.violation, &pair.server.violation), (&None, &None));
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
