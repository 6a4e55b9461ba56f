//! Tokens as clients make them: the vectors of security §3.5, every leniency of §3.2 and §3.3, and every change that
//! must not pass.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use auth::{Fingerprint, HostNames, Presented, Refusal, authenticate, recheck, sign};
use model::{
    Authentication, Credentials, DeviceIdentity, DeviceStatus, ETag, HubSettings, ModuleIdentity, Principal, Rights,
    SharedAccessPolicy, SymmetricKey, SymmetricKeys, Timestamp,
};
use proptest::prelude::*;

const PRIMARY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const SECONDARY: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
const EXPIRY: i64 = 1_893_456_000;

fn keys() -> SymmetricKeys {
    SymmetricKeys { primary: PRIMARY.parse().unwrap(), secondary: SECONDARY.parse().unwrap() }
}

fn other_key() -> SymmetricKey {
    SymmetricKey::from_bytes(&[9; 32])
}

fn device(id: &str) -> DeviceIdentity {
    DeviceIdentity::new(id.parse().unwrap(), Authentication::Sas(keys()))
}

fn module(device_id: &str, id: &str) -> ModuleIdentity {
    ModuleIdentity {
        device_id: device_id.parse().unwrap(),
        module_id: id.parse().unwrap(),
        generation_id: "1".to_owned(),
        etag: ETag(1),
        managed_by: None,
        authentication: Authentication::Sas(keys()),
        connected: false,
        connection_state_updated_time: None,
        last_activity_time: None,
        cloud_to_device_message_count: 0,
    }
}

fn settings() -> HubSettings {
    let policy = |name: &str, rights: &str| SharedAccessPolicy {
        name: name.to_owned(),
        keys: keys(),
        rights: Rights::parse(rights).unwrap(),
        etag: ETag(1),
    };
    let policies = vec![policy("device", "DeviceConnect"), policy("service", "ServiceConnect")];
    HubSettings { revision: 1, groups: 4, policies, ..HubSettings::default() }
}

fn principal(id: &str) -> Principal {
    match id.split_once('/') {
        None => Principal::device(id.parse().unwrap()),
        Some((device, module)) => Principal::module(device.parse().unwrap(), module.parse().unwrap()),
    }
}

fn credentials(id: &str) -> Credentials {
    match id.split_once('/') {
        None => Credentials { device: device(id), module: None },
        Some((device_id, module_id)) => {
            Credentials { device: device(device_id), module: Some(module(device_id, module_id)) }
        }
    }
}

fn hosts() -> HostNames {
    HostNames::new(["hub.example.test", "127.0.0.1"])
}

fn check_at(id: &str, token: &str, now: i64) -> Result<auth::Authenticated, Refusal> {
    let now = Timestamp::from_unix_milliseconds(now * 1000);
    let credentials = credentials(id);
    authenticate(&principal(id), Some(&credentials), Presented::Token(token), &settings(), &hosts(), now)
}

fn check(id: &str, token: &str) -> Result<auth::Authenticated, Refusal> {
    check_at(id, token, EXPIRY - 3600)
}

fn token(resource: &str, signature: &str) -> String {
    let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("SharedAccessSignature sr={resource}&sig={signature}&se={EXPIRY}")
}

#[test]
fn the_vectors_of_the_specification() {
    for (id, resource, signature) in [
        ("dev-1", "hub.example.test%2Fdevices%2Fdev-1", "lCeenvq2If1XNo7WOmxY+J8Qbb76NTuL9u+jii5llEc="),
        ("dev-1", "hub.example.test%2fdevices%2fdev-1", "FR2Kja5Ai1S24zLc3volCEIwJq+bytAggyfEKXlWnWs="),
        ("dev-1", "hub.example.test/devices/dev-1", "OvQvIrsel8M1qHt5G+8+qTy7Et/Dtqsffd+a32w+VKM="),
        ("dev-1", "hub.example.test%2Fdevices%2Fdev-1", "KAaXN/g5Jez14s5QUuzadaxcOtp8vsz+G0LwN+QTbOk="),
        (
            "dev-1/m1",
            "hub.example.test%2Fdevices%2Fdev-1%2Fmodules%2Fm1",
            "Sk30Mfs5Z8KsaWwOu8oT1XfHlt0U1nI5cX8tQBHqlRM=",
        ),
        ("a@b", "hub.example.test%2Fdevices%2Fa%2540b", "DqgWq9DCEWPz5puqsLfIOYdAxkFI3mR8819cOKS2RdM="),
        ("a@b", "hub.example.test%2Fdevices%2Fa%40b", "7l8ArX/tB/zZHqgB1xjsz7OeERDT6Lj113zVp/wNhFQ="),
        ("a@b", "hub.example.test/devices/a%40b", "Z9C5oLdgg+Mq1DayjfJYa8SEAeT4i4eVxgeAUsUISYk="),
        (
            "dev-1",
            "hub.example.test%2Fdevices%2Fdev-1%2Fapi-version%3D2016-11-14",
            "1r7R7bq9xK1+VV/y9eFJY9VVFLdgdKb9AjiaDaFfwY0=",
        ),
    ] {
        assert_eq!(check(id, &token(resource, signature)).map(drop), Ok(()), "{resource}");
    }
    let policy = token("hub.example.test", "0/t01ElhqSm2PPk3xJBl5jkYc7lxw+g2aPw5WOzWb+Q=") + "&skn=device";
    assert_eq!(check("dev-1", &policy).map(drop), Ok(()));
}

#[test]
fn leniencies_of_the_form() {
    let signed =
        sign("hub.example.test/devices/dev-1", &keys().primary, None, Timestamp::from_unix_milliseconds(EXPIRY * 1000));
    let fields: Vec<&str> = signed.strip_prefix("SharedAccessSignature ").unwrap().split('&').collect();
    let [resource, signature, expiry] = fields.as_slice() else { panic!("{signed}") };
    for text in [
        format!("SharedAccessSignature {expiry}&{signature}&{resource}"),
        format!("  sharedaccesssignature   {resource}&{signature}&{expiry}  "),
        format!("SharedAccessSignature {resource}&{signature}&{expiry}&skn="),
        format!("SharedAccessSignature {}&{signature}&{expiry}", resource.replace("sr=", "SR=")),
        format!("SharedAccessSignature {resource}&{}&{expiry}", signature.replace("%2B", "+")),
    ] {
        assert_eq!(check("dev-1", &text).map(drop), Ok(()), "{text}");
    }
}

#[test]
fn audiences() {
    let expires = Timestamp::from_unix_milliseconds(EXPIRY * 1000);
    let own = |id: &str, resource: &str| check(id, &sign(resource, &keys().primary, None, expires)).is_ok();
    let policy =
        |id: &str, resource: &str| check(id, &sign(resource, &keys().primary, Some("DEVICE"), expires)).is_ok();
    for (id, resource, by_own_key, by_policy) in [
        ("d1", "hub.example.test/devices/d1", true, true),
        ("d1", "HUB.Example.Test/devices/d1", true, true),
        ("d1", "hub.example.test:443/devices/d1", true, true),
        ("d1", "https://hub.example.test/devices/d1", true, true),
        ("d1", "hub.example.test/Devices/d1", true, true),
        ("d1", "hub.example.test/devices/d1/messages/events", true, true),
        ("d1", "hub.example.test/devices/d1/", true, true),
        ("d1", "hub.example.test/devices/D1", false, false),
        ("d1", "hub.example.test/devices/d10", false, false),
        ("d10", "hub.example.test/devices/d1", false, false),
        ("d1", "other.example.test/devices/d1", false, false),
        ("d1", "hub.example.test", true, true),
        ("d1", "hub.example.test/devices", true, true),
        ("d1", "hub.example.test/twins", false, false),
        ("d1", "hub.example.test/devices/d1/modules/m1", false, false),
        ("d1/m1", "hub.example.test/devices/d1/modules/m1", true, true),
        ("d1/m1", "hub.example.test/devices/d1/modules/m2", false, false),
        ("d1/m1", "hub.example.test/devices/d1", true, true),
        ("d1", "", false, false),
    ] {
        assert_eq!((own(id, resource), policy(id, resource)), (by_own_key, by_policy), "{id} {resource}");
    }
}

#[test]
fn expiry_has_five_minutes_of_grace() {
    let signed = token("hub.example.test/devices/dev-1", "OvQvIrsel8M1qHt5G+8+qTy7Et/Dtqsffd+a32w+VKM=");
    assert!(check_at("dev-1", &signed, EXPIRY + 300).is_ok());
    assert_eq!(check_at("dev-1", &signed, EXPIRY + 301).map(drop), Err(Refusal::TokenExpired));
}

#[test]
fn refusals_name_the_cause() {
    let expires = Timestamp::from_unix_milliseconds(EXPIRY * 1000);
    let resource = "hub.example.test/devices/d1";
    let wrong_key = sign(resource, &other_key(), None, expires);
    assert_eq!(check("d1", &wrong_key).map(drop), Err(Refusal::WrongSignature));
    let no_right = check("d1", &sign(resource, &keys().primary, Some("service"), expires));
    assert!(matches!(no_right, Err(Refusal::MissingRight { .. })));
    let no_policy = check("d1", &sign(resource, &keys().primary, Some("nobody"), expires));
    assert!(matches!(no_policy, Err(Refusal::UnknownPolicy(_))));
    for text in ["", "x", "SharedAccessSignature", "SharedAccessSignature sr=a&sig=b", "Bearer sr=a&sig=b&se=1"] {
        assert!(matches!(check("d1", text), Err(Refusal::MalformedToken(_))), "{text}");
    }
    let nobody = authenticate(&principal("d1"), None, Presented::Nothing, &settings(), &hosts(), expires);
    assert_eq!(nobody.map(drop), Err(Refusal::UnknownIdentity));
}

#[test]
fn only_who_holds_the_key_learns_that_a_device_is_disabled() {
    let now = Timestamp::from_unix_milliseconds(0);
    let expires = Timestamp::from_unix_milliseconds(EXPIRY * 1000);
    let mut disabled = credentials("d1");
    disabled.device.status = DeviceStatus::Disabled;
    let with = |key: &SymmetricKey| {
        let token = sign("hub.example.test/devices/d1", key, None, expires);
        authenticate(&principal("d1"), Some(&disabled), Presented::Token(&token), &settings(), &hosts(), now).map(drop)
    };
    assert_eq!(with(&keys().primary), Err(Refusal::Disabled));
    assert_eq!(with(&other_key()), Err(Refusal::WrongSignature));
}

#[test]
fn live_connections_end_with_the_credential_they_used() {
    let expires = Timestamp::from_unix_milliseconds(EXPIRY * 1000);
    let token = sign("hub.example.test/devices/d1", &keys().primary, None, expires);
    let used = check("d1", &token).unwrap().fingerprint;
    let rotated = |primary: SymmetricKey, secondary: SymmetricKey| {
        let mut credentials = credentials("d1");
        credentials.device.authentication = Authentication::Sas(SymmetricKeys { primary, secondary });
        recheck(&used, &principal("d1"), Some(&credentials), &settings())
    };
    assert_eq!(rotated(keys().primary, other_key()), Ok(()), "the other key");
    assert_eq!(rotated(other_key(), keys().primary), Ok(()), "swapped");
    assert_eq!(rotated(other_key(), keys().secondary), Err(Refusal::CredentialRemoved));
    assert_eq!(recheck(&used, &principal("d1"), None, &settings()), Err(Refusal::UnknownIdentity));
    let mut changed = credentials("d1");
    changed.device.authentication = Authentication::CertificateAuthority;
    assert_eq!(recheck(&used, &principal("d1"), Some(&changed), &settings()), Err(Refusal::CredentialRemoved));
    changed.device.status = DeviceStatus::Disabled;
    assert_eq!(recheck(&used, &principal("d1"), Some(&changed), &settings()), Err(Refusal::Disabled));
}

#[test]
fn a_policys_key_or_right_that_goes_takes_its_connections_along() {
    let expires = Timestamp::from_unix_milliseconds(EXPIRY * 1000);
    let token = sign("hub.example.test", &keys().primary, Some("device"), expires);
    let used = check("d1", &token).unwrap().fingerprint;
    assert!(matches!(used, Fingerprint::PolicyKey { .. }));
    let with = |change: fn(&mut SharedAccessPolicy)| {
        let mut settings = settings();
        settings.policies.iter_mut().for_each(change);
        recheck(&used, &principal("d1"), Some(&credentials("d1")), &settings)
    };
    assert_eq!(with(|_| {}), Ok(()));
    assert_eq!(
        with(|policy| policy.keys.primary = SymmetricKey::from_bytes(&[9; 32])),
        Err(Refusal::CredentialRemoved)
    );
    assert_eq!(with(|policy| policy.rights = Rights::default()), Err(Refusal::CredentialRemoved));
    assert_eq!(with(|policy| policy.name = "gone".to_owned()), Err(Refusal::CredentialRemoved));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text: String, fields in "SharedAccessSignature [a-z=&%0-9+/ ]{0,80}") {
        prop_assert!(check("d1", &text).is_err());
        prop_assert!(check("d1", &fields).is_err());
    }

    #[test]
    fn whatever_is_signed_verifies(id in "[A-Za-z0-9.:+%_#*?!(),=@;$'-]{1,40}", key in prop::collection::vec(any::<u8>(), 16..=64)) {
        let key = SymmetricKey::from_bytes(&key);
        let mut credentials = credentials("d1");
        credentials.device = device(&id);
        credentials.device.authentication = Authentication::Sas(SymmetricKeys { primary: other_key(), secondary: key.clone() });
        let expires = Timestamp::from_unix_milliseconds(EXPIRY * 1000);
        let token = sign(&format!("hub.example.test/devices/{id}"), &key, None, expires);
        let now = Timestamp::from_unix_milliseconds(0);
        let outcome = authenticate(&principal(&id), Some(&credentials), Presented::Token(&token), &settings(), &hosts(), now);
        prop_assert!(outcome.is_ok(), "{token}: {outcome:?}");
    }

    #[test]
    fn one_changed_character_never_verifies(position in 22_usize..150, replacement in "[A-Za-z0-9]") {
        let expires = Timestamp::from_unix_milliseconds(EXPIRY * 1000);
        let token = sign("hub.example.test/devices/dev-1", &keys().primary, None, expires);
        let position = position % token.len();
        let original = token.get(position..position + 1).unwrap();
        // The names of the fields compare without case, the last base64 digit has unused bits, percent digits have two cases.
        let signature_end = token.find("%3D").unwrap();
        prop_assume!(position >= 22 && !original.eq_ignore_ascii_case(&replacement) && position + 1 != signature_end);
        let mut changed = token.clone();
        changed.replace_range(position..position + 1, &replacement);
        prop_assert!(check("dev-1", &changed).is_err(), "{changed}");
    }
}
