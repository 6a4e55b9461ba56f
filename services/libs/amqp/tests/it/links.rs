//! Links and their deliveries, between two ends of a connection.

use amqp::{Attach, Config, DeliveryState, Error, Event, Role, SendError, condition};
use bytes::BytesMut;

use crate::pair::{Pair, send};

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
    let mut pair = Pair::open(Config { links_max: 3, ..Config::default() }, Config::default());
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

/// amqp R17: some clients take a word of the sender about its deliveries for one about their own.
#[test]
fn a_sender_says_nothing_of_its_deliveries_before_it_is_asked() {
    let mut pair = Pair::open(Config::default(), Config::default());
    let session = pair.begin();
    let (client, server) = pair.link(session, Role::Receiver, "l", 10);
    let id = send(&mut pair.server.connection, server, 1, b"x", false).unwrap();
    pair.pump();
    assert!(!pair.server.connection.settle(server, id, DeliveryState::Accepted));
    assert!(pair.server.take_output(pair.now).is_empty());
    assert!(pair.client.connection.settle(client, id, DeliveryState::Accepted));
    pair.pump();
    assert!(!pair.server.connection.settle(server, id, DeliveryState::Accepted), "the client has settled");
    assert!(pair.server.take_output(pair.now).is_empty());
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
