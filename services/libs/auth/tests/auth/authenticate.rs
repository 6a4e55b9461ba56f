//! Devices and modules: which credential opens what, and the cause of every refusal.

use auth::{CLOCK_SKEW_SECONDS, ConnectionAuthMethod, Presented, Refusal, authenticate, sign};
use model::{Authentication, Credentials, DeviceStatus, SymmetricKey, Thumbprints, Timestamp};

use crate::fixture::*;

fn try_token(id: &str, credentials: Option<&Credentials>, token: &str) -> Result<ConnectionAuthMethod, Refusal> {
    let result = authenticate(&principal(id), credentials, Presented::Token(token), &settings(), &hosts(), now());
    result.map(|authenticated| authenticated.method)
}

fn device_token(key: &SymmetricKey) -> String {
    sign("hub.example.test/devices/d1", key, None, expiry())
}

#[test]
fn own_keys_open_the_own_identity() {
    let token = device_token(&key(PRIMARY));
    assert_eq!(try_token("d1", Some(&credentials("d1")), &token), Ok(ConnectionAuthMethod::DeviceKey));
    let token = sign("hub.example.test/devices/d1/modules/m1", &key(SECONDARY), None, expiry());
    assert_eq!(try_token("d1/m1", Some(&credentials("d1/m1")), &token), Ok(ConnectionAuthMethod::ModuleKey));
}

#[test]
fn a_devices_key_does_not_open_its_modules_nor_the_reverse() {
    let mut credentials = credentials("d1/m1");
    credentials.device.authentication = Authentication::Sas(other_keys(1));
    let device_key = other_keys(1).primary;
    let token = sign("hub.example.test/devices/d1/modules/m1", &device_key, None, expiry());
    assert_eq!(try_token("d1/m1", Some(&credentials), &token), Err(Refusal::WrongSignature));
    assert_eq!(try_token("d1", Some(&credentials), &device_token(&key(PRIMARY))), Err(Refusal::WrongSignature));
}

#[test]
fn policies_with_device_connect_open_every_identity() {
    for (policy, _) in BUILT_IN_POLICIES {
        let policy_key = settings().policy(policy).unwrap().keys.primary.clone();
        for (resource, name) in [
            (HOST, policy.to_owned()),
            ("hub.example.test/devices", policy.to_uppercase()),
            ("hub.example.test/devices/d1", policy.to_owned()),
        ] {
            let token = sign(resource, &policy_key, Some(&name), expiry());
            for id in ["d1", "d1/m1"] {
                let result = try_token(id, Some(&credentials(id)), &token);
                match policy {
                    "iothubowner" | "device" => assert_eq!(result, Ok(ConnectionAuthMethod::Policy)),
                    _ => assert!(result.is_err_and(|refusal| refusal.name() == "missing_right")),
                }
            }
        }
    }
}

#[test]
fn policy_tokens_are_for_identities_that_exist_and_for_their_audience() {
    let policy_key = settings().policy("device").unwrap().keys.secondary.clone();
    let token = sign("hub.example.test/devices/d2", &policy_key, Some("device"), expiry());
    let refusal = try_token("d1", Some(&credentials("d1")), &token);
    assert_eq!(refusal, Err(Refusal::WrongAudience("hub.example.test%2Fdevices%2Fd2".into())));
    assert_eq!(try_token("d2", None, &token), Err(Refusal::UnknownIdentity));
    let token = sign(HOST, &policy_key, Some("nobody"), expiry());
    assert_eq!(try_token("d1", Some(&credentials("d1")), &token), Err(Refusal::UnknownPolicy("nobody".into())));
    let token = sign(HOST, &key(PRIMARY), Some("device"), expiry());
    assert_eq!(try_token("d1", Some(&credentials("d1")), &token), Err(Refusal::WrongSignature));
}

#[test]
fn every_refusal_names_its_cause() {
    let token = device_token(&key(PRIMARY));
    let registered = credentials("d1");
    let with = |authentication| Credentials { device: device("d1", authentication), module: None };
    let mut disabled = registered.clone();
    disabled.device.status = DeviceStatus::Disabled;
    let self_signed = with(Authentication::SelfSigned(Thumbprints::default()));
    let authority = with(Authentication::CertificateAuthority);
    let other_hub = sign("other.example.test/devices/d1", &key(PRIMARY), None, expiry());
    let wrong_audience = Refusal::WrongAudience("other.example.test%2Fdevices%2Fd1".into());
    let cases = [
        ("d1", None, token.as_str(), Refusal::UnknownIdentity),
        ("d1/m1", Some(&registered), &token, Refusal::UnknownIdentity),
        ("d1", Some(&registered), &device_token(&other_keys(9).primary), Refusal::WrongSignature),
        ("d1", Some(&registered), &other_hub, wrong_audience),
        ("d1", Some(&registered), "x", Refusal::MalformedToken("no fields")),
        ("d1", Some(&disabled), &token, Refusal::Disabled),
        ("d1", Some(&disabled), &device_token(&other_keys(9).primary), Refusal::WrongSignature),
        ("d1", Some(&self_signed), &token, Refusal::TokenNotAllowed("selfSigned")),
        ("d1", Some(&authority), &token, Refusal::TokenNotAllowed("certificateAuthority")),
    ];
    for (id, credentials, token, refusal) in cases {
        assert_eq!(try_token(id, credentials, token), Err(refusal));
    }
    let nothing = Presented::Nothing;
    let result = authenticate(&principal("d1"), Some(&registered), nothing, &settings(), &hosts(), now());
    assert_eq!(result.err(), Some(Refusal::NoCredential));
}

#[test]
fn modules_of_a_disabled_device_are_refused() {
    let mut credentials = credentials("d1/m1");
    credentials.device.status = DeviceStatus::Disabled;
    let token = sign("hub.example.test/devices/d1/modules/m1", &key(PRIMARY), None, expiry());
    assert!(try_token("d1/m1", Some(&credentials), &token).is_err_and(|refusal| refusal.is_disabled()));
}

#[test]
fn tokens_end_when_the_allowance_for_clocks_is_over() {
    let (principal, credentials, token) = (principal("d1"), credentials("d1"), device_token(&key(PRIMARY)));
    let try_at = |now: Timestamp| {
        authenticate(&principal, Some(&credentials), Presented::Token(&token), &settings(), &hosts(), now).map(|_| ())
    };
    assert_eq!(try_at(seconds(EXPIRY_SECONDS + CLOCK_SKEW_SECONDS)), Ok(()));
    assert_eq!(try_at(seconds(EXPIRY_SECONDS + CLOCK_SKEW_SECONDS + 1)), Err(Refusal::TokenExpired));
    // Milliseconds given by mistake are a far future.
    let far = sign(HOST, &key(PRIMARY), None, seconds(EXPIRY_SECONDS * 1000));
    assert_eq!(try_token("d1", Some(&credentials), &far), Ok(ConnectionAuthMethod::DeviceKey));
}

#[test]
fn refusals_never_show_secrets() {
    let token = device_token(&other_keys(9).primary);
    let signature = token.split_once("sig=").unwrap().1.split_once('&').unwrap().0;
    let refusal = try_token("d1", Some(&credentials("d1")), &token).unwrap_err();
    let policy_token = token.clone() + "&skn=nobody";
    let other = try_token("d1", Some(&credentials("d1")), &policy_token).unwrap_err();
    for text in [format!("{refusal} {refusal:?}"), format!("{other} {other:?}")] {
        assert!(!text.contains(signature) && !text.contains(PRIMARY), "{text}");
    }
}
