//! Any bytes as one packet: no panic, never more than the input, and a PUBLISH that we write reads back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mqtt::{Decoded, Limits, Packet, client, decode};

fuzz_target!(|input: &[u8]| {
    let _ = client::decode_answer(input);
    let Ok(Decoded::Packet { packet, length }) = decode(input, &Limits::default()) else { return };
    assert!(length <= input.len());
    if let Packet::Publish(publish) = packet
        && publish.quality_of_service != mqtt::QualityOfService::ExactlyOnce
    {
        let mut wire = Vec::new();
        client::publish(publish.topic, publish.payload, publish.packet_id, &mut wire);
        let Ok(Decoded::Packet { packet: Packet::Publish(again), .. }) = decode(&wire, &Limits::default()) else {
            panic!("what we write is not PUBLISH");
        };
        assert_eq!((again.topic, again.payload, again.packet_id), (publish.topic, publish.payload, publish.packet_id));
    }
});
