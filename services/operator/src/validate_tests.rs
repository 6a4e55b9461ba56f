#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use serde_json::{Value, json};

use super::*;
use crate::fixture::{Authority, now};

fn key(byte: u8) -> SymmetricKey {
    SymmetricKey::from_bytes(&[byte; 32])
}

fn secrets() -> Secrets {
    let entries = |entries: &[(&str, &str)]| {
        entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let (primary, secondary) = (key(1), key(2));
    let both = [("primaryKey", primary.as_base64()), ("secondaryKey", secondary.as_base64())];
    let line = format!("{}\n", key(3).as_base64());
    Secrets::from([
        ("both".to_owned(), entries(&both)),
        ("one".to_owned(), entries(&[("primaryKey", &line)])),
        ("empty".to_owned(), entries(&[("primaryKey", "")])),
        ("wrong".to_owned(), entries(&[("primaryKey", "hunter2")])),
    ])
}

fn of(spec: Value) -> (Wanted, Vec<String>) {
    validate(&serde_json::from_value(spec).unwrap(), &secrets(), "iothubowner", now())
}

fn problem(spec: Value) -> String {
    let (_, problems) = of(spec);
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.into_iter().next().unwrap()
}

#[test]
fn an_empty_spec_wants_nothing() {
    assert_eq!(of(json!({})), (Wanted::default(), Vec::new()));
}

#[test]
fn keys_come_from_secrets() {
    let policy = |secret: Value| json!({ "name": "p", "rights": ["ServiceConnect"], "keysSecret": secret });
    let keys = |secret: Value| {
        let (wanted, problems) = of(json!({ "policies": [policy(secret)] }));
        assert!(problems.is_empty(), "{problems:?}");
        (wanted.policies[0].primary.clone(), wanted.policies[0].secondary.clone())
    };
    assert_eq!(keys(json!({ "name": "both" })), (Some(key(1)), Some(key(2))));
    assert_eq!(keys(json!({ "name": "one" })), (Some(key(3)), None), "a line's end is no part of a key");
    assert_eq!(
        keys(json!({ "name": "both", "primaryKey": "secondaryKey", "secondaryKey": "x" })),
        (Some(key(2)), None)
    );
    for (secret, says) in [
        ("missing", "the Secret missing is not there"),
        ("empty", "the Secret empty has neither primaryKey nor secondaryKey"),
        ("wrong", "primaryKey in the Secret wrong is no key"),
    ] {
        let problem = problem(json!({ "policies": [policy(json!({ "name": secret }))] }));
        assert!(problem.contains(says) && problem.starts_with("policy p: "), "{problem}");
        assert!(!problem.contains("hunter2"), "{problem}");
    }
}

#[test]
fn what_is_wrong_is_left_out_and_the_rest_goes_on() {
    let (wanted, problems) = of(json!({
        "shards": 5,
        "drainedShards": [4],
        "replication": 5,
        "policies": [
            { "name": "a", "rights": ["RegistryRead"], "keysSecret": { "name": "missing" } },
            { "name": "b", "rights": ["RegistryWrite", "DeviceConnect"] },
        ],
        "certificates": [{ "name": "c", "certificate": "nonsense" }],
        "consumerGroups": ["g"],
        "settings": { "retentionTimeInDays": 1, "retentionTimeInHours": 25 },
    }));
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert_eq!((wanted.shards, wanted.replication), (Some(5), Some(5)));
    assert_eq!(wanted.drained_shards, BTreeSet::from([4]));
    let names: Vec<_> = wanted.policies.iter().map(|policy| policy.name.as_str()).collect();
    assert_eq!((names, wanted.certificates.len()), (vec!["b"], 0));
    assert_eq!(wanted.policies[0].rights, Rights::of(&[R::RegistryWrite, R::DeviceConnect]));
    assert_eq!(wanted.settings, None);
    assert_eq!(wanted.named.policies, ["a", "b"], "who is left out is not taken off");
    assert_eq!(
        (&wanted.named.certificates[..], &wanted.named.consumer_groups[..]),
        (&["c".into()][..], &["g".into()][..])
    );
}

#[test]
fn the_policy_that_the_operator_acts_by_keeps_its_rights() {
    let owner = |rights: Value| json!({ "policies": [{ "name": "IotHubOwner", "rights": rights }] });
    let all = json!(["RegistryRead", "RegistryWrite", "ServiceConnect", "DeviceConnect"]);
    assert!(of(owner(all)).1.is_empty());
    assert!(problem(owner(json!(["ServiceConnect"]))).contains("all four rights"));
}

#[test]
fn names_compare_without_case() {
    let again = problem(json!({ "consumerGroups": ["a", "b", "A"] }));
    assert_eq!(again, "consumer group A: the name is there twice; case does not count");
}

#[test]
fn certificates_come_from_the_spec_or_from_secrets() {
    let authority = Authority::new();
    let mut secrets = secrets();
    secrets.insert("ca".to_owned(), [("ca.crt".to_owned(), authority.pem.clone())].into());
    let spec = json!({ "certificates": [
        { "name": "a", "certificate": authority.pem, "isVerified": true },
        { "name": "b", "certificateSecret": { "name": "ca" }, "proof": "p" },
        { "name": "c", "certificateSecret": { "name": "ca", "key": "tls.crt" } },
        { "name": "d", "certificateSecret": { "name": "none" } },
        { "name": "e" },
    ] });
    let (wanted, problems) = validate(&serde_json::from_value(spec).unwrap(), &secrets, "iothubowner", now());
    let [a, b] = wanted.certificates.as_slice() else { panic!("{problems:?}") };
    assert_eq!((&a.text, a.is_verified, &a.proof), (&authority.wanted("a").text, true, &None));
    assert_eq!((&b.text, b.is_verified, b.proof.as_deref()), (&a.text, false, Some("p")));
    assert_eq!(
        problems,
        [
            "certificate c: the Secret ca has no tls.crt",
            "certificate d: the Secret none is not there",
            "certificate e: it is either in `certificate` or in a Secret that `certificateSecret` names",
        ]
    );
    let later = Timestamp::from_unix_milliseconds(i64::MAX / 2000);
    let spec = json!({ "certificates": [{ "name": "a", "certificate": authority.pem }] });
    let (_, problems) = validate(&serde_json::from_value(spec).unwrap(), &secrets, "iothubowner", later);
    assert_eq!(problems, ["certificate a: it has expired"]);
}

#[test]
fn settings_in_the_units_of_the_hub() {
    let (wanted, problems) = of(json!({ "settings": {
        "retentionTimeInDays": 2,
        "messageBytesMax": 65536,
        "cloudToDevice": {
            "defaultTtlAsIso8601": "PT12H",
            "maxDeliveryCount": 3,
            "feedback": { "lockDurationAsIso8601": "PT1M30S" },
        },
    } }));
    assert!(problems.is_empty(), "{problems:?}");
    let settings = wanted.settings.unwrap();
    assert_eq!((settings.event_retention_hours, settings.message_bytes_max), (Some(48), Some(65536)));
    let to_devices = settings.cloud_to_device;
    assert_eq!((to_devices.default_ttl_seconds, to_devices.delivery_count_max), (Some(43_200), Some(3)));
    assert_eq!(to_devices.feedback_lock_seconds, Some(90));
    assert_eq!(of(json!({ "settings": {} })).0.settings, Some(Overrides::default()), "everything is taken back");
}

#[test]
fn settings_that_the_hub_would_refuse() {
    for (settings, says) in [
        (json!({ "retentionTimeInDays": 1, "retentionTimeInHours": 25 }), "different things"),
        (json!({ "messageBytesMax": 10 }), "messageBytesMax must be between 1024 and 262144"),
        (json!({ "cloudToDevice": { "defaultTtlAsIso8601": "P1M" } }), "\"P1M\" is no ISO 8601 duration"),
        (json!({ "cloudToDevice": { "defaultTtlAsIso8601": "PT1S" } }), "between PT1M and P2D"),
        (json!({ "cloudToDevice": { "feedback": { "lockDurationAsIso8601": "PT1H" } } }), "between PT5S and PT5M"),
    ] {
        let problem = problem(json!({ "settings": settings }));
        assert!(problem.contains(says) && problem.starts_with("settings: "), "{problem}");
    }
}
