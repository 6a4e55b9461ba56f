//! Any text as the path of a request.
#![no_main]

use gateway::https::segments;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let bytes: usize = segments(input).iter().map(String::len).sum();
    // An invalid escape becomes U+FFFD, three bytes for three.
    assert!(bytes <= input.len() * 3);
});
