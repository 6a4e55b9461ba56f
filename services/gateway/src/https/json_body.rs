//! A body read as every kind of JSON that operations take, without the operations: the fuzzer's way in.

use model::{DeviceId, ModuleId, Timestamp};
use serde_json::{Value, value::RawValue};

use super::{
    Limits,
    authentication_json::Dialect,
    body::parse_json,
    bulk,
    error::ApiError,
    identity_json::{self, DeviceInput, ModuleInput},
    methods, regenerate_keys,
    settings::{overrides, policies},
    telemetry,
    twin_json::TwinInput,
    twins::Write,
};

/// A message, or a whole batch of them, at most.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// What a body is as each kind; `None` where it is refused. What is answered for it reads back the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonBody {
    /// As the device `d1`, and what is answered.
    pub device: Option<Value>,
    /// As the module `m1` of it, and what is answered.
    pub module: Option<Value>,
    /// The same module sent and answered in the words of the runtime of IoT Edge.
    pub edge_module: Option<Value>,
    /// As a twin that is patched: whether it has tags, and desired properties.
    pub twin: Option<(bool, bool)>,
    /// As a method to invoke: its name.
    pub method: Option<String>,
    /// As a bulk request: its entries.
    pub entries: Option<usize>,
    /// As a request for new keys: the identities that it names.
    pub regenerated: Option<usize>,
    /// As a batch of telemetry: bytes of all bodies.
    pub message_bytes: Option<usize>,
    /// As the policy `p1`: its rights.
    pub policy: Option<String>,
    /// As settings of the hub, and what is answered.
    pub overrides: Option<Value>,
}

impl JsonBody {
    /// Reads it all ways. Nothing depends on the clock; keys that are missing are drawn.
    pub fn read(bytes: &[u8]) -> Self {
        Self {
            device: device(bytes).ok(),
            module: module(bytes, Dialect::Current).ok(),
            edge_module: module(bytes, Dialect::EdgeRuntime).ok(),
            twin: twin(bytes).ok(),
            method: method(bytes).ok(),
            entries: entries(bytes).ok(),
            regenerated: regenerated(bytes).ok(),
            message_bytes: message_bytes(bytes).ok(),
            policy: policies::read(bytes, "p1").ok().map(model::Rights::names),
            overrides: overrides::read(bytes).ok(),
        }
    }
}

fn device(bytes: &[u8]) -> Result<Value, ApiError> {
    let identity = parse_json::<DeviceInput>(bytes)?.into_identity(device_id()?, Dialect::Current, now())?;
    Ok(identity_json::device(&identity, Dialect::Current))
}

fn module(bytes: &[u8], dialect: Dialect) -> Result<Value, ApiError> {
    let identity = parse_json::<ModuleInput>(bytes)?.into_identity(device_id()?, module_id()?, dialect, now())?;
    Ok(identity_json::module(&identity, dialect))
}

fn twin(bytes: &[u8]) -> Result<(bool, bool), ApiError> {
    let change = parse_json::<TwinInput>(bytes)?.into_change(Write::Merge)?;
    Ok((change.tags.is_some(), change.desired.is_some()))
}

fn method(bytes: &[u8]) -> Result<String, ApiError> {
    Ok(parse_json::<methods::Input>(bytes)?.into_request()?.name)
}

fn entries(bytes: &[u8]) -> Result<usize, ApiError> {
    let entries: Vec<Box<RawValue>> = parse_json(bytes)?;
    Ok(bulk::read_items(&entries, Dialect::Current, now())?.len())
}

fn regenerated(bytes: &[u8]) -> Result<usize, ApiError> {
    let input: regenerate_keys::Input = parse_json(bytes)?;
    Ok(input.changes(input.check()?).into_iter().filter(Result::is_ok).count())
}

fn message_bytes(bytes: &[u8]) -> Result<usize, ApiError> {
    let mut sum = 0;
    let limits = (MESSAGE_BYTES_MAX, Limits::default().batch_messages_max);
    telemetry::read_batch(bytes, limits, |_, body| sum += body.len())?;
    Ok(sum)
}

fn device_id() -> Result<DeviceId, ApiError> {
    super::route::parse_id("device", "d1")
}

fn module_id() -> Result<ModuleId, ApiError> {
    super::route::parse_id("module", "m1")
}

fn now() -> Timestamp {
    Timestamp::from_unix_milliseconds(0)
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a failure here is a failed test")]
mod tests {
    use proptest::{option, prelude::*, sample::select};
    use serde_json::json;

    use super::*;

    /// Values that mean something somewhere, and some that do not.
    const WORDS: &str = "|d1|m1|p1|enabled|Disabled|sas|selfSigned|certificateAuthority|none|x509|create|delete|both|*|🦔|\u{0}|\
        updateIfMatchETag|AAECAwQFBgcICQoLDA0ODw==|abababababababababababababababababababab|ms-azure-iot-edge://p-1|\
        RegistryRead, ServiceConnect";
    const NAMES: &str = "id|deviceId|moduleId|eTag|etag|importMode|status|statusReason|managedBy|deviceScope|parentScopes|\
        capabilities|iotEdge|authentication|type|symmetricKey|primaryKey|secondaryKey|x509Thumbprint|primaryThumbprint|\
        policyKey|devices|keyName|rights|body|properties|messageBytesMax";

    fn one_of(words: &'static str) -> impl Strategy<Value = &'static str> + Clone {
        select(words.split('|').collect::<Vec<_>>())
    }

    /// Any JSON made of the right words in any place.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u32>().prop_map(Value::from),
            one_of(WORDS).prop_map(Value::from),
            ".{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            let members = prop::collection::vec((one_of(NAMES), inner.clone()), 0..6);
            let object =
                members.prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
            prop_oneof![prop::collection::vec(inner, 0..4).prop_map(Value::Array), object.prop_map(Value::Object)]
        })
    }

    /// What clients may send as `authentication`.
    fn authentication() -> impl Strategy<Value = Value> {
        let keys = json!({ "primaryKey": "AAECAwQFBgcICQoLDA0ODw==", "secondaryKey": "AAECAwQFBgcICQoLDA0ODw==" });
        let thumbprints = json!({ "primaryThumbprint": "AB".repeat(20), "secondaryThumbprint": null });
        select(vec![
            json!(null),
            json!({}),
            json!({ "type": "SAS", "symmetricKey": { "primaryKey": "", "secondaryKey": null } }),
            json!({ "type": "sas", "symmetricKey": keys, "x509Thumbprint": null }),
            json!({ "x509Thumbprint": thumbprints }),
            json!({ "type": "selfSigned", "x509Thumbprint": thumbprints }),
            json!({ "type": "selfSigned" }),
            json!({ "type": "certificateAuthority" }),
        ])
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in ".*", value in any_json()) {
            JsonBody::read(text.as_bytes());
            let read = JsonBody::read(value.to_string().as_bytes());
            prop_assert!(read.entries.is_none_or(|entries| entries <= bulk::ENTRIES_MAX));
        }

        #[test]
        fn what_is_answered_reads_back_the_same(
            authentication in authentication(),
            status in option::of(select(vec!["enabled", "disabled", "Enabled"])),
            reason in option::of(".{0,128}"),
            name in option::of("[a-zA-Z]{0,20}"),
            scope in option::of("[a-z:/-]{0,30}"),
            edge in option::of(any::<bool>()),
        ) {
            let body = json!({
                "status": status, "statusReason": reason, "managedBy": name, "deviceScope": scope,
                "parentScopes": Vec::from_iter(&scope), "capabilities": { "iotEdge": edge }, "authentication": authentication,
            });
            let read = JsonBody::read(body.to_string().as_bytes());
            let device = read.device.expect("these are valid");
            prop_assert_eq!(JsonBody::read(device.to_string().as_bytes()).device, Some(device));
            let module = read.module.expect("these are valid");
            prop_assert_eq!(JsonBody::read(module.to_string().as_bytes()).module, Some(module));
            let kind = read.edge_module.map(|module| module["authentication"]["type"].to_string());
            prop_assert!(kind.is_some_and(|kind| ["\"none\"", "\"sas\"", "\"x509\""].contains(&kind.as_str())));
        }
    }

    #[test]
    fn every_kind_is_told_from_the_others() {
        let read = |body: Value| JsonBody::read(body.to_string().as_bytes());
        let bulk = read(json!([{ "id": "a" }, { "id": "b" }, 5]));
        assert_eq!((bulk.entries, bulk.device, bulk.message_bytes), (Some(3), None, None));
        let regenerated = read(json!({ "policyKey": "both", "devices": [{ "id": "a" }, { "id": "not valid" }] }));
        assert_eq!((regenerated.regenerated, regenerated.entries), (Some(1), None));
        assert_eq!(read(json!([{ "body": "YWI=" }, { "body": "c", "base64Encoded": false }])).message_bytes, Some(3));
        let policy = read(json!({ "keyName": "P1", "rights": "serviceconnect" }));
        assert_eq!((policy.policy.as_deref(), policy.overrides), (Some("ServiceConnect"), None));
        let twin = read(json!({ "tags": { "a": [1] }, "properties": { "desired": null } }));
        assert_eq!((twin.twin, twin.method), (Some((true, true)), None));
        assert_eq!(read(json!({ "methodName": "m", "payload": [1] })).method.as_deref(), Some("m"));
        let settings = read(json!({ "retentionTimeInDays": 2 }));
        assert_eq!(settings.overrides.map(|settings| settings["retentionTimeInHours"].clone()), Some(json!(48)));
    }
}
