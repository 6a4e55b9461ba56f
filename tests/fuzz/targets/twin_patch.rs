//! Any JSON as a patch of a twin: what is accepted merges, counts one version, and reads back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::{
    Timestamp,
    twin::{Patch, SectionChange, Twin, TwinChange},
};

fuzz_target!(|input: &[u8]| {
    let Ok(patch) = Patch::parse_text(input) else { return };
    assert_eq!(Patch::parse_text(&patch.to_text()), Ok(patch.clone()));
    let time = Timestamp::from_unix_milliseconds(1);
    let change = TwinChange { tags: None, desired: Some(SectionChange::Patch(patch.clone())) };
    if let Ok(updated) = Twin::default().update(&change, time) {
        assert_eq!((updated.twin.desired.version, updated.twin.version()), (2, 3));
        assert!(updated.desired_delta.is_some());
        // A document that was read may be sent back.
        assert!(Patch::parse(updated.twin.desired.to_service_json()).is_ok());
        let again = updated.twin.clone().update(&change, time).map(|again| again.twin.desired.properties);
        assert_eq!(again, Ok(updated.twin.desired.properties));
    }
    let _ = Twin::default().report(patch, time);
});
