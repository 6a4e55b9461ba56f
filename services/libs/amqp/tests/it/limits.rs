//! What one connection bounds, whatever its peer does.

use amqp::{
    Attach, Config, DeliveryState, Disposition, Event, FrameKind, Performative, Role, SendError, Violation, condition,
    put_frame,
};
use bytes::BytesMut;

use crate::pair::{Pair, send};

fn small() -> Config {
    Config { sessions_max: 2, links_max: 3, unsettled_outgoing_max: 2, unsettled_incoming_max: 2, ..Config::default() }
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
fn no_more_sessions_than_the_peer_has_channels() {
    let mut pair = Pair::open(Config::default(), Config { channel_max: 1, ..Config::default() });
    assert!(pair.client.connection.begin().is_some() && pair.client.connection.begin().is_some());
    assert_eq!(pair.client.connection.begin(), None);
    pair.pump();
    assert_eq!((&pair.client.violation, &pair.server.violation), (&None, &None));
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
