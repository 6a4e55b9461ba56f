//! Live connections: which changes end them (security §9).

use auth::{Fingerprint, Presented, Refusal, authenticate, recheck, sign};
use model::{Authentication, Credentials, DeviceStatus, HubSettings, Right, Rights, SymmetricKeys};

use crate::fixture::*;

fn fingerprint(id: &str, credentials: &Credentials, token: &str) -> Fingerprint {
    let presented = Presented::Token(token);
    authenticate(&principal(id), Some(credentials), presented, &settings(), &hosts(), now()).unwrap().fingerprint
}

fn own_key(id: &str) -> Fingerprint {
    fingerprint(id, &credentials(id), &sign(HOST, &key(PRIMARY), None, expiry()))
}

fn with_policy() -> Fingerprint {
    let token = sign(HOST, &settings().policy("device").unwrap().keys.primary, Some("Device"), expiry());
    fingerprint("d1", &credentials("d1"), &token)
}

#[test]
fn changes_of_the_identity() {
    let used = own_key("d1");
    let after = |change: &dyn Fn(&mut Credentials)| {
        let mut credentials = credentials("d1");
        change(&mut credentials);
        recheck(&used, &principal("d1"), Some(&credentials), &settings())
    };
    let keys = |primary: &str, secondary: &str| {
        Authentication::Sas(SymmetricKeys { primary: key(primary), secondary: key(secondary) })
    };
    let other = other_keys(9).primary.as_base64().to_owned();
    assert_eq!(after(&|_| {}), Ok(()));
    assert_eq!(after(&|c| c.device.status_reason = Some("text".into())), Ok(()));
    assert_eq!(after(&|c| c.device.authentication = keys(PRIMARY, &other)), Ok(()), "the other key was replaced");
    assert_eq!(after(&|c| c.device.authentication = keys(SECONDARY, PRIMARY)), Ok(()), "the keys were swapped");
    assert_eq!(after(&|c| c.device.authentication = keys(&other, SECONDARY)), Err(Refusal::CredentialRemoved));
    assert_eq!(after(&|c| c.device.generation_id = "1".into()), Err(Refusal::CredentialRemoved), "made again");
    assert_eq!(after(&|c| c.device.status = DeviceStatus::Disabled), Err(Refusal::Disabled));
    let authority = Authentication::CertificateAuthority;
    assert_eq!(after(&|c| c.device.authentication = authority.clone()), Err(Refusal::CredentialRemoved));
    assert_eq!(recheck(&used, &principal("d1"), None, &settings()), Err(Refusal::UnknownIdentity));
}

#[test]
fn changes_around_a_module() {
    let used = own_key("d1/m1");
    let mut credentials = credentials("d1/m1");
    assert_eq!(recheck(&used, &principal("d1/m1"), Some(&credentials), &settings()), Ok(()));
    credentials.device.authentication = Authentication::Sas(other_keys(77));
    assert_eq!(recheck(&used, &principal("d1/m1"), Some(&credentials), &settings()), Ok(()), "the device's keys");
    credentials.device.status = DeviceStatus::Disabled;
    assert_eq!(recheck(&used, &principal("d1/m1"), Some(&credentials), &settings()), Err(Refusal::Disabled));
    credentials.module = None;
    assert_eq!(recheck(&used, &principal("d1/m1"), Some(&credentials), &settings()), Err(Refusal::UnknownIdentity));
}

#[test]
fn changes_of_a_policy() {
    let used = with_policy();
    let after = |change: &dyn Fn(&mut HubSettings)| {
        let mut settings = settings();
        change(&mut settings);
        recheck(&used, &principal("d1"), Some(&credentials("d1")), &settings)
    };
    let position = settings().policies.iter().position(|policy| policy.name == "device").unwrap();
    assert_eq!(after(&|_| {}), Ok(()));
    assert_eq!(after(&|s| s.policies.retain(|policy| policy.name == "device")), Ok(()), "others are gone");
    assert_eq!(after(&|s| s.policies[position].keys = other_keys(1)), Err(Refusal::CredentialRemoved));
    let removed = Err(Refusal::CredentialRemoved);
    assert_eq!(after(&|s| s.policies.retain(|policy| policy.name != "device")), removed);
    let lost = after(&|s| s.policies[position].rights = Rights::of(&[Right::ServiceConnect]));
    assert_eq!(lost, Err(Refusal::CredentialRemoved));
    let mut rotated = credentials("d1");
    rotated.device.authentication = Authentication::Sas(other_keys(9));
    assert_eq!(recheck(&used, &principal("d1"), Some(&rotated), &settings()), Ok(()), "its own keys do not matter");
}
