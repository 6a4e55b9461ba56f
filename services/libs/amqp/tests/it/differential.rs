//! An independent codec (serde_amqp, fe2o3-amqp-types) reads what we write as we mean it, and we read what it writes.
//! Each test sends something there and back: ours, read by them, written by them, read by us.

use crate::generate::{Node, id, node, performative};
use amqp::{Body, Message, MessageId, MessageWriter, Performative, Properties, SymbolText, Value};
use fe2o3_amqp_types::{
    messaging::{self, message::__private::Deserializable, message::__private::Serializable},
    performatives, sasl,
};
use proptest::{collection::vec, option::of, prelude::*};
use serde_amqp::{from_slice, to_vec};

/// Reads and writes it with their type for it.
macro_rules! there_and_back {
    ($type:ty, $bytes:expr) => {
        to_vec(&from_slice::<$type>($bytes).expect("they read what we write")).expect("they write it")
    };
}

fn through_them(performative: &Performative, bytes: &[u8]) -> Vec<u8> {
    match performative {
        Performative::Open(_) => there_and_back!(performatives::Open, bytes),
        Performative::Begin(_) => there_and_back!(performatives::Begin, bytes),
        Performative::Attach(_) => there_and_back!(performatives::Attach, bytes),
        Performative::Flow(_) => there_and_back!(performatives::Flow, bytes),
        Performative::Transfer(_) => there_and_back!(performatives::Transfer, bytes),
        Performative::Disposition(_) => there_and_back!(performatives::Disposition, bytes),
        Performative::Detach(_) => there_and_back!(performatives::Detach, bytes),
        Performative::End(_) => there_and_back!(performatives::End, bytes),
        Performative::Close(_) => there_and_back!(performatives::Close, bytes),
    }
}

proptest! {
    #[test]
    fn performatives(performative in performative()) {
        let mut ours = Vec::new();
        performative.encode(&mut ours);
        let theirs = through_them(&performative, &ours);
        prop_assert_eq!(Performative::decode(&theirs), Ok((performative, theirs.len())));
    }

    #[test]
    fn values(node in node()) {
        let theirs = there_and_back!(serde_amqp::Value, &node.encoded());
        prop_assert_eq!(Node::of(&Value::decode(&theirs).unwrap()), node);
    }

    #[test]
    fn messages(
        id in id(),
        to in of(".{0,40}"),
        content_type in of("[a-z/]{1,20}"),
        expiry in of(any::<i64>()),
        colour in ".{0,20}",
        data in vec(any::<u8>(), 0..600),
    ) {
        let id = id.encoded();
        let properties = Properties {
            message_id: Some(MessageId::decode(&id).unwrap()),
            to: to.as_deref(),
            content_type: content_type.as_deref().map(SymbolText),
            absolute_expiry_time: expiry,
            ..Properties::default()
        };
        let mut ours = Vec::new();
        MessageWriter::new(&mut ours)
            .message_annotations(|map| map.symbol("iothub-interface-id", &Value::String("i")))
            .properties(&properties)
            .application_properties(|map| map.string("colour", &Value::String(&colour)))
            .data(&data);
        let Deserializable(message) =
            from_slice::<Deserializable<messaging::Message<messaging::Data>>>(&ours).expect("they read what we write");
        let theirs = to_vec(&Serializable(message)).unwrap();
        let read = Message::decode(&theirs).unwrap();
        let written = Message::decode(&ours).unwrap();
        prop_assert_eq!(read.body.data(), Some(data.as_slice()));
        // They may write the id in another encoding of the same value.
        let (ours, theirs) = (written.properties.unwrap(), read.properties.unwrap());
        prop_assert_eq!(theirs.message_id.map(|id| id.value()), Some(Value::decode(&id).unwrap()));
        prop_assert_eq!(Properties { message_id: None, ..theirs }, Properties { message_id: None, ..ours });
        prop_assert_eq!(read.message_annotations, written.message_annotations);
        prop_assert_eq!(read.application_properties, written.application_properties);
    }

    /// What is nearly right, and we still take: they take it for the same, or not at all. (They panic on some of what we
    /// refuse, so they are not asked.)
    #[test]
    fn damaged_values(node in node(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = node.encoded();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(ours) = Value::decode(&bytes)
            && let Ok(theirs) = from_slice::<serde_amqp::Value>(&bytes)
        {
            let theirs = to_vec(&theirs).unwrap();
            // NaN is not itself, so the bytes are compared.
            prop_assert_eq!(Node::of(&Value::decode(&theirs).unwrap()).encoded(), Node::of(&ours).encoded());
        }
    }
}

#[test]
fn sasl_frames() {
    let init = [0x00, 0x53, 0x41, 0xc0, 0x0a, 0x03, 0xa3, 5, b'P', b'L', b'A', b'I', b'N', 0x40, 0x40];
    let theirs = there_and_back!(sasl::SaslInit, &init);
    assert_eq!(amqp::SaslFrame::decode(&theirs), amqp::SaslFrame::decode(&init));
    let outcome = amqp::SaslFrame::Outcome(amqp::SaslOutcome { code: amqp::SaslCode::Auth, additional_data: None });
    let mut ours = Vec::new();
    outcome.encode(&mut ours);
    assert_eq!(amqp::SaslFrame::decode(&there_and_back!(sasl::SaslOutcome, &ours)), Ok(outcome));
    // One mechanism is still an array (amqp R3).
    let one = amqp::SaslMechanisms { mechanisms: amqp::Symbols(vec!["PLAIN".into()]) };
    let mut ours = Vec::new();
    amqp::SaslFrame::Mechanisms(one).encode(&mut ours);
    let theirs: sasl::SaslMechanisms = from_slice(&ours).unwrap();
    assert_eq!(theirs.sasl_server_mechanisms.0.len(), 1);
}

#[test]
fn bodies_that_are_values_and_sequences() {
    let mut sequence = Vec::new();
    amqp::put_list(&mut sequence, |list| list.item(&Value::Int(7)));
    let ours = [b"\x00\x53\x76".as_slice(), &sequence, b"\x00\x53\x76", &sequence].concat();
    let Body::Sequence(lists) = Message::decode(&ours).unwrap().body else { panic!("no sequence") };
    assert_eq!(lists.iter().flat_map(|list| list.iter().collect::<Vec<_>>()).collect::<Vec<_>>(), [Value::Int(7); 2]);
    let mut ours = Vec::new();
    MessageWriter::new(&mut ours).value(&Value::String("token"));
    let Deserializable(message) =
        from_slice::<Deserializable<messaging::Message<messaging::AmqpValue<String>>>>(&ours).unwrap();
    assert_eq!(message.body.0, "token");
}
