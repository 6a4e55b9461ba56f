//! Any text as a shared access signature.
#![no_main]

use auth::{Refusal, SasToken};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    match SasToken::parse(input) {
        Ok(token) => _ = token.expires(),
        // A refusal is logged: this one holds no part of the input, which may be a secret.
        Err(refusal) => assert!(matches!(refusal, Refusal::MalformedToken(_))),
    }
});
