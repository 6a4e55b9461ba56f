//! WebSocket frames, cut anywhere, against the rules of RFC 6455.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failure here is a failed test")]

use gateway::websocket::{Decoder, MESSAGE_BYTES_MAX, State, Violation, write_binary, write_close};
use proptest::prelude::*;

const BINARY: u8 = 0x82;
const BINARY_BEGINS: u8 = 0x02;
const CONTINUES: u8 = 0x00;
const ENDS: u8 = 0x80;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
const MASK: [u8; 4] = [0xa5, 0x00, 0xff, 0x11];

/// A frame as a client sends it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | length as u8),
        length @ 126..=65_535 => bytes.extend([&[0x80 | 126][..], &(length as u16).to_be_bytes()].concat()),
        length => bytes.extend([&[0x80 | 127][..], &(length as u64).to_be_bytes()].concat()),
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

type Outcome = (Result<State, Violation>, Vec<u8>, Vec<u8>);

/// What comes of the pieces: how it ended, the payload, the answers.
fn receive<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let (mut decoder, mut data, mut out) = (Decoder::default(), Vec::new(), Vec::new());
    for piece in pieces {
        match decoder.receive(piece, &mut data, &mut out) {
            Ok(State::Open) => {}
            end => return (end, data, out),
        }
    }
    (Ok(State::Open), data, out)
}

#[test]
fn messages_in_fragments_with_pings_between_them() {
    let stream = [
        frame(BINARY_BEGINS, b"ab"),
        frame(PING, b"1"),
        frame(CONTINUES, b""),
        frame(PONG, b"unasked"),
        frame(ENDS, b"cd"),
        frame(BINARY, b""),
        frame(BINARY, &[b'x'; 126]),
        frame(BINARY, &[b'y'; 65_536]),
        frame(CLOSE, &[0x03, 0xe9, b'b', b'y', b'e']),
        frame(BINARY, b"behind the end"),
    ]
    .concat();
    let data = [b"abcd".to_vec(), vec![b'x'; 126], vec![b'y'; 65_536]].concat();
    assert_eq!(receive([stream.as_slice()]), (Ok(State::Closed(Some(1001))), data, vec![PONG, 1, b'1']));
}

#[test]
fn what_the_standard_forbids() {
    let protocol = |bytes: &[u8]| matches!(receive([bytes]).0, Err(Violation::Protocol(_)));
    assert!(protocol(&[BINARY, 1]), "not masked");
    assert!(protocol(&frame(0xc2, b"")), "an extension");
    for opcode in [0x3, 0x7, 0xb, 0xf] {
        assert!(protocol(&frame(0x80 | opcode, b"")), "opcode {opcode}");
    }
    assert!(protocol(&frame(0x09, b"")), "a ping in parts");
    assert!(protocol(&frame(PING, &[0; 126])), "a long ping");
    assert!(protocol(&frame(ENDS, b"")), "the rest of no message");
    assert!(protocol(&[frame(BINARY_BEGINS, b""), frame(BINARY, b"")].concat()), "a message in a message");
    assert!(protocol(&[BINARY, 0x80 | 126, 0, 125, 0, 0, 0, 0]), "a length too long");
    for payload in [&[0x03][..], &[0x03, 0xed], &[0, 0], &[0x03, 0xe8, 0xff]] {
        assert!(protocol(&frame(CLOSE, payload)), "close {payload:?}");
    }
    assert_eq!(receive([frame(0x81, b"text").as_slice()]).0, Err(Violation::Text));
    assert_eq!(receive([frame(CLOSE, b"").as_slice()]).0, Ok(State::Closed(None)));
}

#[test]
fn a_message_has_a_limit_however_it_is_cut() {
    let header = |first: u8, length: u64| [&[first, 0x80 | 127][..], &length.to_be_bytes(), &[0; 4]].concat();
    assert_eq!(receive([header(BINARY, MESSAGE_BYTES_MAX).as_slice()]).0, Ok(State::Open));
    for length in [MESSAGE_BYTES_MAX + 1, u64::MAX] {
        assert_eq!(receive([header(BINARY, length).as_slice()]).0, Err(Violation::TooLarge));
        let second = [frame(BINARY_BEGINS, b"x"), header(CONTINUES, length - 1)].concat();
        assert_eq!(receive([second.as_slice()]).0, Err(Violation::TooLarge));
    }
}

#[test]
fn what_a_server_writes() {
    let mut out = Vec::new();
    write_binary(b"abc", &mut out);
    write_close(Some(1000), &mut out);
    write_close(None, &mut out);
    assert_eq!(out, [&[BINARY, 3][..], b"abc", &[CLOSE, 2, 0x03, 0xe8, CLOSE, 0]].concat());
    for (length, header) in [(126, &[BINARY, 126, 0, 126][..]), (65_536, &[BINARY, 127, 0, 0, 0, 0, 0, 1, 0, 0])] {
        let mut out = Vec::new();
        write_binary(&vec![0; length], &mut out);
        assert_eq!((out.len(), &out[..header.len()]), (header.len() + length, header));
    }
}

/// Messages of any sizes in any fragments, with control frames anywhere between them.
fn client_stream() -> impl Strategy<Value = (Vec<u8>, Vec<u8>, Vec<u8>)> {
    let fragment = (prop::collection::vec(any::<u8>(), 0..300), any::<Option<u8>>());
    let message = prop::collection::vec(fragment, 1..5);
    prop::collection::vec(message, 0..6).prop_map(|messages| {
        let (mut stream, mut data, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        for message in messages {
            let last = message.len() - 1;
            for (position, (payload, ping)) in message.into_iter().enumerate() {
                let first = if position == 0 { BINARY_BEGINS } else { CONTINUES };
                stream.extend(frame(first | if position == last { ENDS } else { 0 }, &payload));
                data.extend(payload);
                if let Some(byte) = ping {
                    stream.extend(frame(PING, &[byte]));
                    answers.extend([PONG, 1, byte]);
                }
            }
        }
        (stream, data, answers)
    })
}

proptest! {
    #[test]
    fn what_a_client_says_arrives_however_it_is_cut((stream, data, answers) in client_stream(), piece in 1_usize..400) {
        prop_assert_eq!(receive(stream.chunks(piece)), (Ok(State::Open), data, answers));
    }

    #[test]
    fn garbage_ends_the_same_however_it_is_cut(stream in prop::collection::vec(any::<u8>(), 0..200), piece in 1_usize..20) {
        prop_assert_eq!(receive(stream.chunks(piece)), receive([stream.as_slice()]));
    }
}
