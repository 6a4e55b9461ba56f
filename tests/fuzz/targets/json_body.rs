//! Any bytes as the body of every operation that takes JSON; what is answered for them reads back the same.
#![no_main]

use gateway::https::JsonBody;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let read = JsonBody::read(input);
    assert!(read.entries.is_none_or(|entries| entries <= 100));
    assert!(read.message_bytes.is_none_or(|bytes| bytes <= 256 * 1024));
    if let Some(device) = read.device {
        assert_eq!(JsonBody::read(device.to_string().as_bytes()).device, Some(device));
    }
    if let Some(module) = read.module {
        assert_eq!(JsonBody::read(module.to_string().as_bytes()).module, Some(module));
    }
    if let Some(overrides) = read.overrides {
        assert_eq!(JsonBody::read(overrides.to_string().as_bytes()).overrides, Some(overrides));
    }
    // The runtime of IoT Edge knows no other word (rest §19.3).
    let kind = read.edge_module.as_ref().map(|module| &module["authentication"]["type"]);
    assert!(kind.is_none_or(|kind| kind == "none" || kind == "sas" || kind == "x509"));
});
