//! Any text and any bytes as the filter of a receiver: read or refused without a panic, and a start lies in the partition.
#![no_main]

use amqp::{Performative, Source};
use eventlog::{Bounds, Start};
use gateway::amqp::event_hubs::start_position::StartPosition;
use libfuzzer_sys::fuzz_target;

fn check(start: StartPosition, bounds: &Bounds) {
    if let Ok(Start::Offset(offset)) = start.start(bounds) {
        assert!(offset <= bounds.next, "{start:?} of {bounds:?}");
    }
}

fuzz_target!(|input: (u64, &[u8])| {
    let (earliest, bytes) = (input.0 >> 2, input.1);
    let bounds = Bounds { earliest, next: earliest + input.0 % 1000, last_time: None };
    if let Ok(start) = StartPosition::parse(std::str::from_utf8(bytes).unwrap_or_default()) {
        check(start, &bounds);
    }
    // A whole attach, whose source may have the filter in any form.
    let source: Option<Source> = match Performative::decode(bytes) {
        Ok((Performative::Attach(attach), _)) => attach.source,
        _ => None,
    };
    if let Some(Ok(start)) = source.as_ref().map(StartPosition::of) {
        check(start, &bounds);
    }
});
