//! Any text as a connection string; one that is accepted is printed so that it reads back the same.
#![no_main]

use auth::ConnectionString;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    if let Ok(parsed) = input.parse::<ConnectionString>() {
        assert!(parsed.to_string().parse::<ConnectionString>().is_ok_and(|again| again == parsed), "{input:?}");
    }
});
