//! A stream of bytes that may begin with a PROXY header, cut anywhere: what it says and where it ends is the same as when
//! it comes whole, and never behind what came.
#![no_main]

use gateway::proxy_protocol::{Decoder, Origin, Violation};
use libfuzzer_sys::fuzz_target;

fn play(stream: &[u8], piece_bytes: usize) -> Result<(usize, Option<Origin>), Violation> {
    let (mut decoder, mut taken) = (Decoder::default(), 0);
    for piece in stream.chunks(piece_bytes) {
        let wanted = decoder.wanted();
        assert!(wanted > 0);
        let (used, origin) = decoder.receive(piece)?;
        taken += used;
        if origin.is_some() {
            return Ok((taken, origin));
        }
        assert_eq!(used, piece.len());
    }
    Ok((taken, None))
}

fuzz_target!(|input: &[u8]| {
    let Some((cut, stream)) = input.split_first() else { return };
    let whole = play(stream, stream.len().max(1));
    assert!(whole.is_err() || whole.is_ok_and(|(taken, _)| taken <= stream.len()));
    assert_eq!(whole, play(stream, usize::from(*cut).max(1)));
});
