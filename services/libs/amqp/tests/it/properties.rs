//! What must hold for any input.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use crate::generate::{Node, id, node, performative};
use crate::pair::{End, Pair, send};
use amqp::{
    Attach, AttachTarget, Config, Connection, DeliveryState, Event, Message, MessageId, MessageWriter, Performative,
    RawValue, Role, SaslFrame, SendError, Source, Target, Value, put_value,
};
use proptest::{collection::vec, prelude::*, sample::Index};

proptest! {
    #[test]
    fn values_survive_and_are_written_as_they_came(node in node()) {
        let bytes = node.encoded();
        let value = Value::decode(&bytes).unwrap();
        prop_assert_eq!(Node::of(&value), node);
        let mut again = Vec::new();
        put_value(&value, &mut again);
        prop_assert_eq!(&again, &bytes);
        prop_assert_eq!(RawValue::decode(&bytes).unwrap().bytes(), bytes.as_slice());
    }

    #[test]
    fn performatives_survive_with_every_field_written(
        performative in performative(),
        payload in vec(any::<u8>(), 0..20),
    ) {
        let mut bytes = Vec::new();
        performative.encode(&mut bytes);
        let Ok(Value::Described(described)) = Value::decode(&bytes) else { panic!("not described") };
        let Value::List(fields) = described.value() else { panic!("no list") };
        let count = match &performative {
            Performative::Open(_) => 10,
            Performative::Begin(_) => 8,
            Performative::Attach(_) => 14,
            Performative::Flow(_) | Performative::Transfer(_) => 11,
            Performative::Disposition(_) => 6,
            Performative::Detach(_) => 3,
            Performative::End(_) | Performative::Close(_) => 1,
        };
        prop_assert_eq!(fields.len(), count, "amqp R1");
        prop_assert_eq!(&bytes[..2], &[0x00, 0x53], "amqp R2");
        let length = bytes.len();
        bytes.extend_from_slice(&payload);
        prop_assert_eq!(Performative::decode(&bytes), Ok((performative, length)));
    }

    /// A peer that leaves the nulls at the end away means the same.
    #[test]
    fn fields_that_are_not_there_are_null(performative in performative()) {
        let mut bytes = Vec::new();
        performative.encode(&mut bytes);
        let Ok(Value::Described(described)) = Value::decode(&bytes) else { panic!("not described") };
        let Value::List(fields) = described.value() else { panic!("no list") };
        let fields: Vec<Value<'_>> = fields.iter().collect();
        let last = fields.iter().rposition(|field| *field != Value::Null).map_or(0, |last| last + 1);
        let mut trimmed = bytes[..3].to_vec();
        amqp::put_list(&mut trimmed, |list| fields[..last].iter().for_each(|field| list.item(field)));
        prop_assert_eq!(Performative::decode(&trimmed).map(|(read, _)| read), Ok(performative));
    }

    #[test]
    fn messages_survive(id in id(), data in vec(vec(any::<u8>(), 0..300), 1..4)) {
        let id = id.encoded();
        let mut bytes = Vec::new();
        let correlation_id = Some(MessageId::decode(&id).unwrap());
        let properties = amqp::Properties { correlation_id, ..Default::default() };
        let writer = MessageWriter::new(&mut bytes)
            .header(&amqp::Header { durable: Some(true), ..Default::default() })
            .delivery_annotations(|map| map.symbol("last_enqueued_sequence_number", &Value::Long(1)))
            .properties(&properties);
        data.iter().fold(writer, |writer, data| writer.data(data));
        let message = Message::decode(&bytes).unwrap();
        let correlation_id = message.properties.as_ref().and_then(|properties| properties.correlation_id).unwrap();
        prop_assert_eq!(correlation_id.bytes(), id.as_slice(), "amqp R10");
        let batch: Vec<&[u8]> = amqp::batched_messages(&message).collect();
        prop_assert_eq!(&batch, &data);
        let mut again = Vec::new();
        MessageWriter::new(&mut again).message(&message);
        prop_assert_eq!(again, bytes);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Value::decode(&bytes);
        let _ = Message::decode(&bytes);
        let _ = Performative::decode(&bytes);
        let _ = SaslFrame::decode(&bytes);
        for header in [amqp::AMQP_HEADER, amqp::SASL_HEADER] {
            server().read(&[&header, bytes.as_slice()].concat(), 7, Instant::now(), |_, _| {});
        }
    }

    /// However the stream is cut, the same events come of it, and the same answers.
    #[test]
    fn pieces_do_not_matter(session in client_session(), piece_bytes in 1_usize..300) {
        let whole = play(&session, session.len());
        prop_assert_eq!(&whole, &play(&session, piece_bytes));
        prop_assert!(whole.0.iter().any(|event| event.starts_with("Close")), "{whole:?}");
    }

    /// A stream that is damaged somewhere may end the connection, but nothing else.
    #[test]
    fn damaged_streams_never_panic(session in client_session(), damages in vec((any::<Index>(), any::<u8>()), 1..4)) {
        let mut session = session;
        for (at, byte) in damages {
            let at = at.index(session.len());
            session[at] = byte;
        }
        prop_assert_eq!(play(&session, session.len()), play(&session, 11));
    }

    /// A sender and a receiver whose windows, frames and credits are small: every message arrives once and in order, never
    /// more than was asked for, and nobody stands still.
    #[test]
    fn deliveries_flow(case in flow_case()) {
        check_flow(&case);
    }
}

fn server() -> End {
    End::new(Connection::server(Arc::new(Config::default()), Instant::now()))
}

/// Accepts every link and every delivery.
fn obey(connection: &mut Connection, event: Event) {
    match event {
        Event::Attach { link, attach } => _ = connection.accept(link, attach.answer(), 10),
        Event::Delivery(delivery) => _ = connection.settle(delivery.link, delivery.id, DeliveryState::Accepted),
        _ => {}
    }
}

/// What a server that obeys hears and says.
fn play(stream: &[u8], piece_bytes: usize) -> (Vec<String>, Vec<u8>) {
    let now = Instant::now();
    let (mut server, mut seen) = (server(), Vec::new());
    server.read(stream, piece_bytes, now, |connection, event| {
        seen.push(format!("{event:?}"));
        obey(connection, event);
    });
    seen.extend(server.violation.take().map(|violation| format!("{violation:?}")));
    // How answers share frames depends on when they are taken, so they are taken once.
    let output = server.take_output(now);
    (seen, output)
}

/// What a client sends in its life: one session, two links, some messages, flows, dispositions, the end.
fn client_session() -> impl Strategy<Value = Vec<u8>> {
    let message = (vec(any::<u8>(), 0..900), any::<bool>());
    (vec(message, 0..6), any::<bool>()).prop_map(|(messages, is_detached)| {
        let now = Instant::now();
        let mut stream = Vec::new();
        let mut client =
            End::new(Connection::client(Arc::new(Config { frame_bytes_max: 512, ..Config::default() }), None, now));
        let mut peer = server();
        client.connection.open();
        exchange(&mut client, &mut peer, &mut stream);
        let session = client.connection.begin().unwrap();
        let attach = |name: &str, role| Attach {
            source: Some(Source::at(name)),
            target: Some(AttachTarget::Target(Target::at(name))),
            ..Attach::new(name, role)
        };
        let sender = client.connection.attach(session, attach("out", Role::Sender), 0).unwrap();
        let receiver = client.connection.attach(session, attach("in", Role::Receiver), 3).unwrap();
        exchange(&mut client, &mut peer, &mut stream);
        for (payload, settled) in &messages {
            send(&mut client.connection, sender, 1, payload, *settled).unwrap();
        }
        client.connection.set_credit(receiver, 5);
        if is_detached {
            client.connection.detach(sender, None);
        }
        exchange(&mut client, &mut peer, &mut stream);
        client.connection.close(None);
        exchange(&mut client, &mut peer, &mut stream);
        stream
    })
}

/// Carries bytes both ways and keeps what the client said. The peer accepts every link.
fn exchange(client: &mut End, peer: &mut End, stream: &mut Vec<u8>) {
    let now = Instant::now();
    loop {
        let bytes = client.take_output(now);
        if bytes.is_empty() {
            return;
        }
        stream.extend_from_slice(&bytes);
        peer.read(&bytes, bytes.len(), now, obey);
        let answer = peer.take_output(now);
        client.read(&answer, answer.len(), now, |_, _| {});
    }
}

#[derive(Clone, Debug)]
struct FlowCase {
    incoming_window: u32,
    credit: u32,
    frame_bytes_max: u32,
    piece_bytes: usize,
    client_sends: bool,
    /// Size, settled by the sender, and how many of those that wait the receiver settles afterwards.
    messages: Vec<(usize, bool, usize)>,
}

fn flow_case() -> impl Strategy<Value = FlowCase> {
    let messages = vec((0_usize..2_500, any::<bool>(), 0_usize..5), 1..40);
    (1_u32..6, 1_u32..12, 512_u32..900, 1_usize..2_000, any::<bool>(), messages).prop_map(
        |(incoming_window, credit, frame_bytes_max, piece_bytes, client_sends, messages)| FlowCase {
            incoming_window,
            credit,
            frame_bytes_max,
            piece_bytes,
            client_sends,
            messages,
        },
    )
}

fn check_flow(case: &FlowCase) {
    let config =
        Config { incoming_window: case.incoming_window, frame_bytes_max: case.frame_bytes_max, ..Config::default() };
    let mut pair = Pair::open(config.clone(), config);
    pair.piece_bytes = case.piece_bytes;
    let session = pair.begin();
    let role = if case.client_sends { Role::Sender } else { Role::Receiver };
    let (client, server) = pair.link(session, role, "link", case.credit);
    let (sender, receiver) = if case.client_sends { (client, server) } else { (server, client) };
    let (mut arrived, mut unsettled) = (VecDeque::new(), VecDeque::new());
    for (number, (size, settled, settle)) in case.messages.iter().enumerate() {
        let payload = vec![number as u8; *size];
        loop {
            let end = if case.client_sends { &mut pair.client } else { &mut pair.server };
            let sendable = end.connection.sendable(sender);
            assert!(sendable <= case.credit);
            match send(&mut end.connection, sender, number as u8, &payload, *settled) {
                Ok(_) => {
                    assert!(sendable > 0, "sent without leave");
                    break;
                }
                // Only what waits to be settled may hold it up.
                Err(SendError::NoCredit) => {
                    assert_eq!(sendable, 0);
                    assert!(!unsettled.is_empty(), "nothing waits, and there is no credit");
                    let id: u32 = unsettled.pop_front().unwrap();
                    let end = if case.client_sends { &mut pair.server } else { &mut pair.client };
                    assert!(end.connection.settle(receiver, id, DeliveryState::Accepted));
                }
                Err(other) => panic!("{other}"),
            }
            deliver(&mut pair, case, &mut arrived, &mut unsettled);
        }
        deliver(&mut pair, case, &mut arrived, &mut unsettled);
        assert!(unsettled.len() <= case.credit as usize, "more than was asked for");
        let end = if case.client_sends { &mut pair.server } else { &mut pair.client };
        for id in unsettled.drain(..unsettled.len().min(*settle)) {
            assert!(end.connection.settle(receiver, id, DeliveryState::Accepted));
            assert!(!end.connection.settle(receiver, id, DeliveryState::Accepted), "settled twice");
        }
        deliver(&mut pair, case, &mut arrived, &mut unsettled);
    }
    let expected: Vec<Vec<u8>> =
        case.messages.iter().enumerate().map(|(number, (size, ..))| vec![number as u8; *size]).collect();
    assert_eq!(arrived, expected);
}

fn deliver(pair: &mut Pair, case: &FlowCase, arrived: &mut VecDeque<Vec<u8>>, unsettled: &mut VecDeque<u32>) {
    pair.pump();
    assert_eq!((&pair.client.violation, &pair.server.violation), (&None, &None));
    let events = if case.client_sends { &mut pair.server_events } else { &mut pair.client_events };
    for event in events.drain(..) {
        if let Event::Delivery(delivery) = event {
            if !delivery.settled {
                unsettled.push_back(delivery.id);
            }
            arrived.push_back(delivery.payload.to_vec());
        }
    }
}
