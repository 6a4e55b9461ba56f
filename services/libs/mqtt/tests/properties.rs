//! What must hold for any input.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::time::Instant;

use bytes::BytesMut;
use mqtt::{Connect, Decoded, Limits, Malformed, Packet, QualityOfService, ServerConnection, Will, client, decode};
use proptest::prelude::*;
use rumqttd::protocol::{Protocol, v4::V4};

fn connect() -> impl Strategy<Value = Connect> {
    let text = || prop::option::of("[^\\x00]{0,60}");
    let will =
        prop::option::of(("[a-z/]{1,20}", prop::collection::vec(any::<u8>(), 0..50), any::<bool>(), any::<bool>()));
    ("[^\\x00]{0,40}", any::<bool>(), any::<u16>(), text(), text(), will).prop_map(
        |(client_id, clean_session, keep_alive_seconds, username, password, will)| Connect {
            client_id,
            clean_session,
            keep_alive_seconds,
            password: password.filter(|_| username.is_some()),
            username,
            will: will.map(|(topic, payload, at_least_once, retain)| Will {
                topic,
                payload,
                quality_of_service: if at_least_once {
                    QualityOfService::AtLeastOnce
                } else {
                    QualityOfService::AtMostOnce
                },
                retain,
            }),
        },
    )
}

fn whole(input: &[u8]) -> Packet<'_> {
    match decode(input, &Limits::default()) {
        Ok(Decoded::Packet { packet, length }) if length == input.len() => packet,
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(input in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&input, &Limits::default());
        let _ = client::decode_answer(&input);
        let limits = Limits::default();
        let _ = ServerConnection::new(&limits, Instant::now()).receive(&input, &limits, Instant::now(), &mut Vec::new());
    }

    #[test]
    fn connect_survives(connect in connect()) {
        let mut wire = Vec::new();
        client::connect(&connect, &mut wire);
        prop_assert_eq!(whole(&wire), Packet::Connect(Box::new(connect)));
    }

    #[test]
    fn publish_survives_and_an_independent_codec_reads_the_same(
        topic in "[a-z/$%=&.]{1,80}",
        payload in prop::collection::vec(any::<u8>(), 0..400),
        packet_id in prop::option::of(1_u16..),
    ) {
        let mut wire = Vec::new();
        client::publish(&topic, &payload, packet_id, &mut wire);
        let Packet::Publish(publish) = whole(&wire) else { panic!("no PUBLISH") };
        prop_assert_eq!((publish.topic, publish.payload, publish.packet_id), (topic.as_str(), payload.as_slice(), packet_id));
        let mut stream = BytesMut::from(wire.as_slice());
        let theirs = V4.read_mut(&mut stream, 1 << 20).unwrap();
        let rumqttd::protocol::Packet::Publish(theirs, _) = theirs else { panic!("{theirs:?}") };
        prop_assert_eq!((theirs.topic.as_ref(), theirs.payload.as_ref()), (topic.as_bytes(), payload.as_slice()));
    }

    /// Whatever we accept, the independent codec accepts too: we are never the more lenient one.
    #[test]
    fn what_is_accepted_is_mqtt(first in prop::sample::select(vec![0x10_u8, 0x30, 0x32, 0x40, 0x82, 0xa2, 0xc0, 0xe0]), body in prop::collection::vec(any::<u8>(), 0..60)) {
        let mut wire = vec![first, body.len() as u8];
        wire.extend_from_slice(&body);
        if let Ok(Decoded::Packet { .. }) = decode(&wire, &Limits::default()) {
            let mut stream = BytesMut::from(wire.as_slice());
            prop_assert!(V4.read_mut(&mut stream, 1 << 20).is_ok());
        }
    }

    #[test]
    fn every_prefix_is_incomplete_and_asks_for_no_more_than_is_missing(
        payload in prop::collection::vec(any::<u8>(), 0..300),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut wire = Vec::new();
        client::publish("devices/d1/messages/events/", &payload, Some(1), &mut wire);
        let cut = cut.index(wire.len());
        match decode(&wire[..cut], &Limits::default()) {
            Ok(Decoded::Incomplete { bytes_needed }) => prop_assert!(bytes_needed >= 1 && bytes_needed <= wire.len() - cut),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_length_is_refused_before_the_body_comes() {
    let limits = Limits { packet_bytes_max: 10, ..Limits::default() };
    assert_eq!(decode(&[0x30, 11], &limits), Err(Malformed::TooLarge(11)));
}

#[test]
fn an_idle_connection_is_a_few_words() {
    assert!(size_of::<ServerConnection>() <= 64);
}
