//! Credit and windows, between two ends of a connection.

use amqp::{Attach, Config, Error, Event, Role, SendError, condition};

use crate::pair::{Pair, send};

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

/// Otherwise it would wait for ever: no more comes, and nobody says so.
#[test]
fn a_drain_ends_also_when_messages_use_its_credit_up() {
    let mut pair = Pair::open(Config::default(), Config::default());
    let session = pair.begin();
    let (client, server) = pair.link(session, Role::Receiver, "l", 2);
    assert!(pair.client.connection.drain(client));
    pair.pump();
    for tag in 0..2 {
        send(&mut pair.server.connection, server, tag, b"x", true).unwrap();
    }
    pair.pump();
    let [Event::Delivery(_), Event::Delivery(_), Event::Drained { link }] = pair.client_events.as_slice() else {
        panic!("{:?}", pair.client_events)
    };
    assert_eq!(*link, client);
    assert!(!pair.server.connection.drained(server), "it was said already");
    // Two were on their way when it asked.
    pair.client.connection.set_credit(client, 2);
    pair.pump();
    for tag in 0..2 {
        send(&mut pair.server.connection, server, tag, b"x", true).unwrap();
    }
    assert!(pair.client.connection.drain(client));
    pair.pump();
    assert!(matches!(pair.client_events.last(), Some(Event::Drained { .. })), "{:?}", pair.client_events);
}

#[test]
fn a_drain_ends_behind_the_last_frame_of_a_message() {
    let mut pair = Pair::open(
        Config { incoming_window: 2, ..Config::default() },
        Config { frame_bytes_max: 512, ..Config::default() },
    );
    let session = pair.begin();
    let (client, server) = pair.link(session, Role::Receiver, "l", 5);
    assert!(pair.client.connection.drain(client));
    pair.pump();
    send(&mut pair.server.connection, server, 1, &[0; 3_000], true).unwrap();
    assert!(pair.server.connection.drained(server));
    pair.pump();
    let [Event::Delivery(_), Event::Drained { .. }] = pair.client_events.as_slice() else {
        panic!("{:?}", pair.client_events)
    };
    assert_eq!(pair.server.connection.sendable(server), 0);
}
