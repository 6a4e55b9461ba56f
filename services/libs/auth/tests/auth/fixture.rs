//! A hub, its policies and the identities that the cases speak of.

use auth::HostNames;
use model::{
    Authentication, Credentials, DeviceIdentity, DeviceStatus, ETag, HubSettings, ModuleIdentity, Principal, Right,
    Rights, SharedAccessPolicy, SymmetricKey, SymmetricKeys, Timestamp,
};

/// Bytes 00..1f.
pub const PRIMARY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// Bytes 20..3f.
pub const SECONDARY: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
pub const HOST: &str = "hub.example.test";
/// 2030-01-01, the expiry of all vectors.
pub const EXPIRY_SECONDS: i64 = 1_893_456_000;

pub const BUILT_IN_POLICIES: [(&str, &[Right]); 5] = [
    ("iothubowner", &[Right::RegistryRead, Right::RegistryWrite, Right::ServiceConnect, Right::DeviceConnect]),
    ("service", &[Right::ServiceConnect]),
    ("device", &[Right::DeviceConnect]),
    ("registryRead", &[Right::RegistryRead]),
    ("registryReadWrite", &[Right::RegistryRead, Right::RegistryWrite]),
];

pub fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_unix_milliseconds(seconds * 1000)
}

/// A day before the tokens expire.
pub fn now() -> Timestamp {
    seconds(EXPIRY_SECONDS - 86_400)
}

pub fn expiry() -> Timestamp {
    seconds(EXPIRY_SECONDS)
}

pub fn hosts() -> HostNames {
    HostNames::new([HOST, "alias"])
}

pub fn key(text: &str) -> SymmetricKey {
    text.parse().unwrap()
}

pub fn device_keys() -> SymmetricKeys {
    SymmetricKeys { primary: key(PRIMARY), secondary: key(SECONDARY) }
}

/// Two keys that belong to nobody else.
pub fn other_keys(number: u8) -> SymmetricKeys {
    let key = |byte| SymmetricKey::from_bytes(&[byte; 32]);
    SymmetricKeys { primary: key(number), secondary: key(number + 1) }
}

pub fn settings() -> HubSettings {
    let policies =
        BUILT_IN_POLICIES.iter().zip((100..).step_by(2)).map(|((name, rights), number)| SharedAccessPolicy {
            name: (*name).to_owned(),
            keys: other_keys(number),
            rights: Rights::of(rights),
            etag: ETag(1),
        });
    HubSettings { revision: 1, groups: 4, policies: policies.collect(), ..HubSettings::default() }
}

pub fn principal(text: &str) -> Principal {
    match text.split_once('/') {
        None => Principal::device(text.parse().unwrap()),
        Some((device, module)) => Principal::module(device.parse().unwrap(), module.parse().unwrap()),
    }
}

pub fn device(device_id: &str, authentication: Authentication) -> DeviceIdentity {
    DeviceIdentity {
        device_id: device_id.parse().unwrap(),
        generation_id: "637048513528304448".into(),
        etag: ETag(1),
        status: DeviceStatus::Enabled,
        status_reason: None,
        status_updated_time: None,
        authentication,
        iot_edge: false,
        device_scope: None,
        parent_scopes: Vec::new(),
        connected: false,
        connection_state_updated_time: None,
        last_activity_time: None,
        cloud_to_device_message_count: 0,
    }
}

pub fn module(device_id: &str, module_id: &str, authentication: Authentication) -> ModuleIdentity {
    ModuleIdentity {
        device_id: device_id.parse().unwrap(),
        module_id: module_id.parse().unwrap(),
        generation_id: "637048513528304449".into(),
        etag: ETag(1),
        managed_by: None,
        authentication,
        connected: false,
        connection_state_updated_time: None,
        last_activity_time: None,
        cloud_to_device_message_count: 0,
    }
}

/// The principal with the two keys of the vectors; a module's device has other keys.
pub fn credentials(text: &str) -> Credentials {
    match text.split_once('/') {
        None => Credentials { device: device(text, Authentication::Sas(device_keys())), module: None },
        Some((device_id, module_id)) => Credentials {
            device: device(device_id, Authentication::Sas(other_keys(50))),
            module: Some(module(device_id, module_id, Authentication::Sas(device_keys()))),
        },
    }
}
