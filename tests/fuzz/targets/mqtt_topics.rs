//! Any text as the topic and as the filter of a device: read without a panic, and what is matched is valid.
#![no_main]

use gateway::mqtt::{filter, topic};
use libfuzzer_sys::fuzz_target;
use model::Principal;

fuzz_target!(|input: (&str, &str)| {
    let (Ok(device_id), Ok(module_id)) = ("d1".parse(), "m1".parse()) else { return };
    for principal in [Principal::device(device_id), Principal { module_id: Some(module_id), ..principal() }] {
        let _ = topic::telemetry_bag(input.0, &principal);
        let interests = filter::interests(input.1, &principal);
        let own = format!("{}/bag", filter::device_bound_prefix(&principal));
        // A filter that lets a message of the device through is an interest in them.
        if filter::is_valid_filter(input.1) && filter::matches(input.1, &own) {
            assert!(interests.device_bound_messages);
        }
        if filter::matches(input.1, "$iothub/methods/POST/m/?$rid=1") {
            assert!(interests.methods);
        }
    }
    let _ = topic::hub_topic(input.0);
});

fn principal() -> Principal {
    Principal::device("d1".parse().unwrap_or_else(|_| unreachable!()))
}
