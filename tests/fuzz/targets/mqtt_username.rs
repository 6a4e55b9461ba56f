//! Any text as the user name of a CONNECT, and any text as topic and filter.
#![no_main]

use gateway::mqtt::{filter, topic, username::Username};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    if let Ok(username) = Username::parse(input) {
        assert!(input.starts_with(username.host));
        let _ = topic::telemetry_bag(input, &username.principal);
    }
    let _ = filter::is_valid_filter(input);
});
