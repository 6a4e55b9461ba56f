//! Twins as JSON (rest §9.1): what back ends send, and the document they get.

use model::{
    Authentication, DeviceIdentity, DeviceStatus, Thumbprint, Timestamp,
    twin::{Patch, Properties, SectionChange, TwinChange},
};
use serde::Deserialize;
use serde_json::{Value, json};
use shard_client::TwinDocument;

use super::{error::ApiError, twins::Write};

/// A twin as it is sent: the parts that back ends may write. All else is ignored, for it is the twin that was read.
#[derive(Debug, Default, Deserialize)]
pub(super) struct TwinInput {
    #[serde(default, deserialize_with = "present")]
    tags: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    properties: Option<Value>,
}

/// A member that is null is something else than one that is not there.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl TwinInput {
    /// What the request changes. A PUT without a section empties it.
    pub fn into_change(self, write: Write) -> Result<TwinChange, ApiError> {
        let desired = match self.properties {
            None | Some(Value::Null) => None,
            Some(Value::Object(mut properties)) => properties.remove("desired"),
            Some(_) => return Err(ApiError::argument("properties must be a JSON object")),
        };
        let section = |sent: Option<Value>| match (sent, write) {
            (None, Write::Merge) => Ok(None),
            (None, Write::Replace) => section(Value::Null, write).map(Some),
            (Some(sent), write) => section(sent, write).map(Some),
        };
        Ok(TwinChange { tags: section(self.tags)?, desired: section(desired)? })
    }

    /// The twin that comes with an identity, or is written by an entry of a bulk request: merged; `None` when it says
    /// nothing.
    pub fn into_merge(self) -> Result<Option<TwinChange>, ApiError> {
        let change = self.into_change(Write::Merge)?;
        Ok((change != TwinChange::default()).then_some(change))
    }
}

/// The change of one section; null empties it.
pub(super) fn section(sent: Value, write: Write) -> Result<SectionChange, ApiError> {
    if sent.is_null() {
        return Ok(SectionChange::Replace(Patch::default()));
    }
    Patch::parse(sent).map(|patch| write.section(patch)).map_err(|error| ApiError::argument(error.to_string()))
}

/// The whole document.
pub(super) fn document(document: &TwinDocument) -> Value {
    let TwinDocument { device, module, twin } = document;
    let authentication = module.as_ref().map_or(&device.authentication, |module| &module.authentication);
    let (connected, last_activity_time, message_count) = match module {
        None => (device.connected, device.last_activity_time, device.cloud_to_device_message_count),
        Some(module) => (module.connected, module.last_activity_time, module.cloud_to_device_message_count),
    };
    let device_etag = module.as_ref().map_or(device.etag, |module| module.etag);
    let mut members = Properties::new();
    let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
    put("deviceId", json!(device.device_id.as_str()));
    if let Some(module) = module {
        put("moduleId", json!(module.module_id.as_str()));
    }
    put("etag", json!(twin.etag.to_string()));
    put("deviceEtag", json!(device_etag.to_string()));
    put("status", json!(if device.status == DeviceStatus::Enabled { "enabled" } else { "disabled" }));
    if let Some(reason) = &device.status_reason {
        put("statusReason", json!(reason));
    }
    put("statusUpdateTime", time(device.status_updated_time));
    put("connectionState", json!(if connected { "Connected" } else { "Disconnected" }));
    put("lastActivityTime", time(last_activity_time));
    put("cloudToDeviceMessageCount", json!(message_count));
    put("authenticationType", json!(authentication_type(authentication)));
    put("x509Thumbprint", thumbprints(authentication));
    put("modelId", json!(twin.model_id));
    put("version", json!(twin.version()));
    if !twin.tags.is_empty() {
        put("tags", Value::Object(twin.tags.clone()));
    }
    let (desired, reported) = (twin.desired.to_service_json(), twin.reported.to_service_json());
    put("properties", json!({ "desired": desired, "reported": reported }));
    put("capabilities", json!({ "iotEdge": device.iot_edge }));
    if module.is_none() {
        put_scopes(&mut members, device);
    }
    Value::Object(members)
}

fn put_scopes(members: &mut Properties, device: &DeviceIdentity) {
    if let Some(scope) = &device.device_scope {
        members.insert("deviceScope".into(), json!(scope));
    }
    if !device.parent_scopes.is_empty() {
        members.insert("parentScopes".into(), json!(device.parent_scopes));
    }
}

fn time(time: Option<Timestamp>) -> Value {
    json!(time.map_or_else(|| format!("{}Z", Timestamp::NEVER), |time| time.to_string()))
}

fn authentication_type(authentication: &Authentication) -> &'static str {
    match authentication {
        Authentication::Sas(_) => "sas",
        Authentication::SelfSigned(_) => "selfSigned",
        Authentication::CertificateAuthority => "certificateAuthority",
        Authentication::None => "none",
    }
}

fn thumbprints(authentication: &Authentication) -> Value {
    let text = |thumbprint: &Option<Thumbprint>| thumbprint.as_ref().map(|thumbprint| thumbprint.as_str().to_owned());
    let (primary, secondary) = match authentication {
        Authentication::SelfSigned(thumbprints) => (text(&thumbprints.primary), text(&thumbprints.secondary)),
        _ => (None, None),
    };
    json!({ "primaryThumbprint": primary, "secondaryThumbprint": secondary })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(text: &str, write: Write) -> Result<TwinChange, String> {
        let input: TwinInput = serde_json::from_str(text).map_err(|error| error.to_string())?;
        input.into_change(write).map_err(|error| error.to_string())
    }

    fn patch(value: Value) -> Patch {
        Patch::parse(value).unwrap_or_default()
    }

    #[test]
    fn parts_that_are_absent_null_or_there() {
        use Write::{Merge, Replace};
        let emptied = Some(SectionChange::Replace(Patch::default()));
        let a = patch(json!({ "a": 1 }));
        for (text, write, tags, desired) in [
            ("{}", Merge, None, None),
            ("{}", Replace, emptied.clone(), emptied.clone()),
            (r#"{"tags":null}"#, Merge, emptied.clone(), None),
            (r#"{"properties":null}"#, Merge, None, None),
            (r#"{"properties":{"desired":null}}"#, Merge, None, emptied.clone()),
            (r#"{"tags":{"a":1}}"#, Merge, Some(SectionChange::Patch(a.clone())), None),
            (r#"{"tags":{"a":1}}"#, Replace, Some(SectionChange::Replace(a.clone())), emptied.clone()),
            (
                r#"{"properties":{"desired":{"a":1,"$version":4},"reported":7}}"#,
                Merge,
                None,
                Some(SectionChange::Patch(a)),
            ),
        ] {
            assert_eq!(change(text, write), Ok(TwinChange { tags, desired }), "{text}");
        }
        for text in
            [r#"{"tags":5}"#, r#"{"properties":[]}"#, r#"{"properties":{"desired":"x"}}"#, r#"{"tags":{"a.b":1}}"#]
        {
            assert!(change(text, Merge).is_err(), "{text}");
        }
    }
}
