//! A stream of bytes to one connection, cut anywhere: the events are the same as when it comes whole.
#![no_main]

use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use mqtt::{Limits, ServerConnection};

/// What came of the stream: its events and, at its end, the answers and the violation.
fn play(stream: &[u8], piece_bytes: usize) -> Vec<String> {
    let limits = Limits::default();
    let now = Instant::now();
    let mut connection = ServerConnection::new(&limits, now);
    let (mut unparsed, mut out, mut seen) = (Vec::new(), Vec::new(), Vec::new());
    for piece in stream.chunks(piece_bytes) {
        unparsed.extend_from_slice(piece);
        loop {
            match connection.receive(&unparsed, &limits, now, &mut out) {
                Ok(Some((event, length))) => {
                    seen.push(format!("{event:?}"));
                    unparsed.drain(..length);
                }
                Ok(None) => break,
                Err(violation) => {
                    seen.push(format!("{violation} after {out:?}"));
                    return seen;
                }
            }
        }
    }
    seen.push(format!("{out:?}"));
    seen
}

fuzz_target!(|input: &[u8]| {
    let Some((cut, stream)) = input.split_first() else { return };
    assert_eq!(play(stream, stream.len().max(1)), play(stream, usize::from(*cut).max(1)));
});
