//! Every operation by every built-in policy: the table of security §5.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use auth::{HostNames, Operation, authorize, sign, sign_with_text};
use model::{ETag, HubSettings, Rights, SharedAccessPolicy, SymmetricKey, SymmetricKeys, Timestamp};

const POLICIES: [(&str, &str); 5] = [
    ("iothubowner", "RegistryWrite, ServiceConnect, DeviceConnect"),
    ("service", "ServiceConnect"),
    ("device", "DeviceConnect"),
    ("registryRead", "RegistryRead"),
    ("registryReadWrite", "RegistryWrite"),
];

/// Operation; then, in the order above, who may.
const EXPECTED: [(Operation, [bool; 5]); 21] = [
    (Operation::ReadDevice, [true, false, false, true, true]),
    (Operation::ListDevices, [true, false, false, true, true]),
    (Operation::WriteDevice, [true, false, false, false, true]),
    (Operation::DeleteDevice, [true, false, false, false, true]),
    (Operation::ReadModule, [true, false, false, true, true]),
    (Operation::ListModules, [true, false, false, true, true]),
    (Operation::WriteModule, [true, false, false, false, true]),
    (Operation::DeleteModule, [true, false, false, false, true]),
    (Operation::ReadRegistryStatistics, [true, true, false, true, true]),
    (Operation::ReadServiceStatistics, [true, true, false, true, true]),
    (Operation::ReadEvents, [true, true, false, false, false]),
    (Operation::SendTelemetry, [true, false, true, false, false]),
    (Operation::ReadTwin, [true, true, false, false, false]),
    (Operation::WriteTwin, [true, true, false, false, false]),
    (Operation::InvokeMethod, [true, true, false, false, false]),
    (Operation::SendDeviceBound, [true, true, false, false, false]),
    (Operation::PurgeDeviceBound, [true, true, false, false, false]),
    (Operation::ReceiveFeedback, [true, true, false, false, false]),
    (Operation::ReceiveFileNotifications, [true, true, false, false, false]),
    (Operation::ExplainIdentity, [true, true, false, true, true]),
    (Operation::ManageSettings, [true, false, false, false, false]),
];

fn key(number: usize) -> SymmetricKey {
    SymmetricKey::from_bytes(&[number as u8 + 1; 32])
}

fn settings() -> HubSettings {
    let policies = POLICIES.iter().enumerate().map(|(number, (name, rights))| SharedAccessPolicy {
        name: (*name).to_owned(),
        keys: SymmetricKeys { primary: key(number), secondary: key(number + 100) },
        rights: Rights::parse(rights).unwrap(),
        etag: ETag(1),
    });
    HubSettings { revision: 1, groups: 4, policies: policies.collect(), ..HubSettings::default() }
}

#[test]
fn the_whole_matrix() {
    let (settings, hosts) = (settings(), HostNames::new(["hub.example.test"]));
    let (now, later) = (Timestamp::from_unix_milliseconds(0), Timestamp::from_unix_milliseconds(60_000));
    assert_eq!(Operation::all().count(), EXPECTED.len(), "every operation has a row");
    for (operation, expected) in EXPECTED {
        for (number, (name, _)) in POLICIES.iter().enumerate() {
            let token = sign("hub.example.test", &key(number), Some(name), later);
            let granted = authorize(&token, operation, &["devices", "d1"], &settings, &hosts, now).is_ok();
            assert_eq!(granted, expected[number], "{operation:?} by {name}");
            let forged = sign("hub.example.test", &key(number + 50), Some(name), later);
            assert!(authorize(&forged, operation, &["devices", "d1"], &settings, &hosts, now).is_err());
        }
        let own_key = sign("hub.example.test", &key(0), None, later);
        assert!(authorize(&own_key, operation, &["devices", "d1"], &settings, &hosts, now).is_err());
    }
}

#[test]
fn a_narrow_audience_opens_what_is_below_it() {
    let (settings, hosts) = (settings(), HostNames::new(["hub.example.test"]));
    let (now, later) = (Timestamp::from_unix_milliseconds(0), Timestamp::from_unix_milliseconds(60_000));
    for (resource, granted) in [
        ("hub.example.test/devices", true),
        ("hub.example.test/devices/d1", true),
        ("hub.example.test/devices/d2", false),
        ("hub.example.test/devices/d1/modules", false),
        ("hub.example.test/statistics", false),
        ("other.test", false),
    ] {
        let token = sign(resource, &key(0), Some("iothubowner"), later);
        let outcome = authorize(&token, Operation::ReadDevice, &["devices", "d1"], &settings, &hosts, now);
        assert_eq!(outcome.is_ok(), granted, "{resource}");
    }
}

/// Event Hubs clients sign with the text of the key (amqp §8.7). Such tokens open the events and nothing else.
#[test]
fn tokens_of_event_hubs_clients_open_the_events() {
    let hosts = HostNames::new(["hub.example.test"]);
    let later = Timestamp::from_unix_microseconds(i64::MAX);
    let now = Timestamp::from_unix_microseconds(0);
    let by_text = |resource| sign_with_text(resource, key(0).as_base64(), "iothubowner", later);
    let settings = settings();
    for resource in ["sb://hub.example.test/events/ConsumerGroups/$Default/Partitions/0", "hub.example.test"] {
        for token in [by_text(resource), sign(resource, &key(0), Some("iothubowner"), later)] {
            let opened = auth::authorize_within(&token, Operation::ReadEvents, &["events"], &settings, &hosts, now);
            assert!(opened.is_ok(), "{resource} {opened:?}");
            assert!(auth::verify_policy_token(&token, &settings, &hosts, now).is_ok());
        }
    }
    let token = by_text("hub.example.test");
    assert!(authorize(&token, Operation::ReadEvents, &["messages", "events"], &settings, &hosts, now).is_err());
    let elsewhere = by_text("hub.example.test/devices/d1");
    let refused = auth::authorize_within(&elsewhere, Operation::ReadEvents, &["events"], &settings, &hosts, now);
    assert!(refused.is_err());
}
