//! Any text as a property bag: no name twice, and never more bytes than were sent.
#![no_main]

use std::collections::HashSet;

use gateway::mqtt::property_bag::decode_bag;
use libfuzzer_sys::fuzz_target;
use model::Record;

fuzz_target!(|input: &str| {
    let mut record = Record::default();
    decode_bag(input, &mut record);
    let names: HashSet<_> = record.application_properties.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), record.application_properties.len());
});
