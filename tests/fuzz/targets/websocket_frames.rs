//! A stream of bytes to one WebSocket, cut anywhere: the payload, the answers and the end are the same as when it comes
//! whole, and never more than came.
#![no_main]

use gateway::websocket::{Decoder, State, Violation};
use libfuzzer_sys::fuzz_target;

fn play(stream: &[u8], piece_bytes: usize) -> (Result<State, Violation>, Vec<u8>, Vec<u8>) {
    let (mut decoder, mut data, mut out) = (Decoder::default(), Vec::new(), Vec::new());
    for piece in stream.chunks(piece_bytes) {
        match decoder.receive(piece, &mut data, &mut out) {
            Ok(State::Open) => {}
            end => return (end, data, out),
        }
    }
    (Ok(State::Open), data, out)
}

fuzz_target!(|input: &[u8]| {
    let Some((cut, stream)) = input.split_first() else { return };
    let whole = play(stream, stream.len().max(1));
    assert!(whole.1.len() + whole.2.len() <= stream.len());
    assert_eq!(whole, play(stream, usize::from(*cut).max(1)));
});
