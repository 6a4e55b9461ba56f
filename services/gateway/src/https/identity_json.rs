//! Identities as JSON (rest §3.1): what clients send, with all its leniency, and what they get.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use model::{
    Authentication, DeviceId, DeviceIdentity, DeviceStatus, ETag, ModuleId, ModuleIdentity, SymmetricKey,
    SymmetricKeys, Thumbprint, Thumbprints, Timestamp,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ApiError;

const STATUS_REASON_CHARACTERS_MAX: usize = 128;
/// Bytes of a key that the hub draws.
const KEY_BYTES: usize = 32;

/// A device as it is sent; read-only members are ignored.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeviceInput {
    device_id: Option<String>,
    status: Option<String>,
    status_reason: Option<String>,
    authentication: Option<AuthenticationInput>,
    capabilities: Option<Capabilities>,
    device_scope: Option<String>,
    parent_scopes: Option<Vec<String>>,
}

/// A module as it is sent.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ModuleInput {
    device_id: Option<String>,
    module_id: Option<String>,
    managed_by: Option<String>,
    authentication: Option<AuthenticationInput>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuthenticationInput {
    #[serde(rename = "type")]
    kind: Option<String>,
    symmetric_key: Option<KeysInput>,
    x509_thumbprint: Option<ThumbprintsInput>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeysInput {
    primary_key: Option<String>,
    secondary_key: Option<String>,
}

/// Without the keys.
impl std::fmt::Debug for KeysInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeysInput(..)")
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ThumbprintsInput {
    primary_thumbprint: Option<String>,
    secondary_thumbprint: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Capabilities {
    iot_edge: Option<bool>,
}

impl DeviceInput {
    /// The identity to store. Keys that are missing are drawn, and a generation id in case it is created.
    pub fn into_identity(self, device_id: DeviceId, now: Timestamp) -> Result<DeviceIdentity, ApiError> {
        check_same("deviceId", self.device_id.as_deref(), device_id.as_str())?;
        let authentication = self.authentication.unwrap_or_default().parse()?;
        if authentication == Authentication::None {
            return Err(ApiError::argument("DeviceAuthenticationTypeIsMissing: a device cannot have the type none"));
        }
        Ok(DeviceIdentity {
            device_id,
            generation_id: now.dotnet_ticks().to_string(),
            etag: ETag(0),
            status: parse_status(self.status.as_deref())?,
            status_reason: check_reason(self.status_reason)?,
            status_updated_time: None,
            authentication,
            iot_edge: self.capabilities.and_then(|capabilities| capabilities.iot_edge).unwrap_or(false),
            device_scope: self.device_scope.filter(|scope| !scope.is_empty()),
            parent_scopes: self.parent_scopes.unwrap_or_default(),
            connected: false,
            connection_state_updated_time: None,
            last_activity_time: None,
            cloud_to_device_message_count: 0,
        })
    }
}

impl ModuleInput {
    /// The identity to store, as for devices.
    pub fn into_identity(
        self,
        device_id: DeviceId,
        module_id: ModuleId,
        now: Timestamp,
    ) -> Result<ModuleIdentity, ApiError> {
        check_same("deviceId", self.device_id.as_deref(), device_id.as_str())?;
        check_same("moduleId", self.module_id.as_deref(), module_id.as_str())?;
        Ok(ModuleIdentity {
            device_id,
            module_id,
            generation_id: now.dotnet_ticks().to_string(),
            etag: ETag(0),
            managed_by: self.managed_by,
            authentication: self.authentication.unwrap_or_default().parse()?,
            connected: false,
            connection_state_updated_time: None,
            last_activity_time: None,
            cloud_to_device_message_count: 0,
        })
    }
}

/// A body that names another object than the path is a mistake.
fn check_same(member: &str, in_body: Option<&str>, in_path: &str) -> Result<(), ApiError> {
    match in_body {
        Some(id) if id != in_path => {
            Err(ApiError::argument(format!("{member} is '{id}' in the body and '{in_path}' in the path")))
        }
        _ => Ok(()),
    }
}

fn parse_status(status: Option<&str>) -> Result<DeviceStatus, ApiError> {
    match status {
        None => Ok(DeviceStatus::Enabled),
        Some(text) if text.eq_ignore_ascii_case("enabled") => Ok(DeviceStatus::Enabled),
        Some(text) if text.eq_ignore_ascii_case("disabled") => Ok(DeviceStatus::Disabled),
        Some(text) => Err(ApiError::argument(format!("status is '{text}', expected enabled or disabled"))),
    }
}

fn check_reason(reason: Option<String>) -> Result<Option<String>, ApiError> {
    match reason {
        Some(text) if text.chars().count() > STATUS_REASON_CHARACTERS_MAX => {
            Err(ApiError::argument(format!("statusReason has more than {STATUS_REASON_CHARACTERS_MAX} characters")))
        }
        reason => Ok(reason),
    }
}

impl AuthenticationInput {
    fn parse(self) -> Result<Authentication, ApiError> {
        let thumbprints = self.x509_thumbprint.unwrap_or_default();
        let kind = match self.kind.as_deref() {
            Some(kind) => kind,
            None if thumbprints.is_given() => "selfSigned",
            None => "sas",
        };
        if kind.eq_ignore_ascii_case("sas") {
            self.symmetric_key.unwrap_or_default().parse().map(Authentication::Sas)
        } else if kind.eq_ignore_ascii_case("selfSigned") {
            thumbprints.parse().map(Authentication::SelfSigned)
        } else if kind.eq_ignore_ascii_case("certificateAuthority") {
            Ok(Authentication::CertificateAuthority)
        } else if kind.eq_ignore_ascii_case("none") {
            Ok(Authentication::None)
        } else {
            let expected = "sas, selfSigned, certificateAuthority or none";
            Err(ApiError::argument(format!("authentication.type is '{kind}', expected {expected}")))
        }
    }
}

impl KeysInput {
    fn parse(self) -> Result<SymmetricKeys, ApiError> {
        let given = |key: Option<String>| key.filter(|key| !key.is_empty());
        match (given(self.primary_key), given(self.secondary_key)) {
            (None, None) => Ok(SymmetricKeys { primary: draw_key()?, secondary: draw_key()? }),
            (Some(primary), Some(secondary)) => {
                Ok(SymmetricKeys { primary: parse_key(&primary)?, secondary: parse_key(&secondary)? })
            }
            _ => Err(ApiError::argument("Either no keys or both keys can be set")),
        }
    }
}

fn parse_key(text: &str) -> Result<SymmetricKey, ApiError> {
    text.parse().map_err(|error: model::InvalidAuthentication| ApiError::argument(error.to_string()))
}

fn draw_key() -> Result<SymmetricKey, ApiError> {
    let mut bytes = [0; KEY_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| ApiError::timeout())?;
    Ok(SymmetricKey::from_bytes(&bytes))
}

impl ThumbprintsInput {
    fn is_given(&self) -> bool {
        [&self.primary_thumbprint, &self.secondary_thumbprint].into_iter().flatten().any(|text| !text.is_empty())
    }

    fn parse(self) -> Result<Thumbprints, ApiError> {
        let parse = |text: Option<String>| -> Result<Option<Thumbprint>, ApiError> {
            let text = text.filter(|text| !text.is_empty());
            let invalid = |error| ApiError::argument(format!("StringIsNotThumbprint: {error}"));
            text.map(|text| text.parse().map_err(|error: model::InvalidAuthentication| invalid(error))).transpose()
        };
        Ok(Thumbprints { primary: parse(self.primary_thumbprint)?, secondary: parse(self.secondary_thumbprint)? })
    }
}

/// A device as it is answered.
pub(super) fn device(identity: &DeviceIdentity) -> Value {
    let mut value = json!({
        "deviceId": identity.device_id.as_str(),
        "generationId": identity.generation_id,
        "etag": identity.etag.to_string(),
        "connectionState": connection_state(identity.connected),
        "status": if identity.status == DeviceStatus::Enabled { "enabled" } else { "disabled" },
        "statusReason": identity.status_reason,
        "connectionStateUpdatedTime": time(identity.connection_state_updated_time),
        "statusUpdatedTime": time(identity.status_updated_time),
        "lastActivityTime": time(identity.last_activity_time),
        "cloudToDeviceMessageCount": identity.cloud_to_device_message_count,
        "authentication": authentication(&identity.authentication),
        "capabilities": { "iotEdge": identity.iot_edge },
    });
    if let Some(scope) = &identity.device_scope {
        value["deviceScope"] = json!(scope);
    }
    if !identity.parent_scopes.is_empty() {
        value["parentScopes"] = json!(identity.parent_scopes);
    }
    value
}

/// A module as it is answered.
pub(super) fn module(identity: &ModuleIdentity) -> Value {
    json!({
        "moduleId": identity.module_id.as_str(),
        "managedBy": identity.managed_by,
        "deviceId": identity.device_id.as_str(),
        "generationId": identity.generation_id,
        "etag": identity.etag.to_string(),
        "connectionState": connection_state(identity.connected),
        "connectionStateUpdatedTime": time(identity.connection_state_updated_time),
        "lastActivityTime": time(identity.last_activity_time),
        "cloudToDeviceMessageCount": identity.cloud_to_device_message_count,
        "authentication": authentication(&identity.authentication),
    })
}

fn connection_state(connected: bool) -> &'static str {
    if connected { "Connected" } else { "Disconnected" }
}

fn time(time: Option<Timestamp>) -> String {
    time.map_or_else(|| Timestamp::NEVER.to_owned(), |time| time.to_string())
}

/// All three members, whatever the kind.
fn authentication(authentication: &Authentication) -> Value {
    let (keys, thumbprints) = match authentication {
        Authentication::Sas(keys) => (Some(keys), None),
        Authentication::SelfSigned(thumbprints) => (None, Some(thumbprints)),
        Authentication::CertificateAuthority | Authentication::None => (None, None),
    };
    let thumbprint = |pick: fn(&Thumbprints) -> &Option<Thumbprint>| {
        thumbprints.and_then(|thumbprints| pick(thumbprints).as_ref()).map(Thumbprint::as_str)
    };
    json!({
        "symmetricKey": {
            "primaryKey": keys.map(|keys| keys.primary.as_base64()),
            "secondaryKey": keys.map(|keys| keys.secondary.as_base64()),
        },
        "x509Thumbprint": {
            "primaryThumbprint": thumbprint(|thumbprints| &thumbprints.primary),
            "secondaryThumbprint": thumbprint(|thumbprints| &thumbprints.secondary),
        },
        "type": authentication.kind(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<DeviceIdentity, ApiError> {
        let input: DeviceInput = serde_json::from_str(text).map_err(|error| ApiError::format(error.to_string()))?;
        let id = "d1".parse().map_err(|_| ApiError::not_found())?;
        input.into_identity(id, Timestamp::from_unix_milliseconds(0))
    }

    #[test]
    fn what_is_accepted() -> Result<(), ApiError> {
        for (text, kind) in [
            ("{}", "sas"),
            (
                r#"{"deviceId":"d1","authentication":{"type":"sas","symmetricKey":{"primaryKey":"","secondaryKey":""}}}"#,
                "sas",
            ),
            (r#"{"authentication":{"type":"selfSigned"}}"#, "selfSigned"),
            (
                r#"{"authentication":{"x509Thumbprint":{"primaryThumbprint":"abababababababababababababababababababab"}}}"#,
                "selfSigned",
            ),
            (r#"{"authentication":{"type":"certificateAuthority","symmetricKey":null}}"#, "certificateAuthority"),
            (r#"{"isManaged":true,"configuration":{},"status":"DISABLED"}"#, "sas"),
        ] {
            assert_eq!(parse(text)?.authentication.kind(), kind, "{text}");
        }
        Ok(())
    }

    #[test]
    fn what_is_refused() {
        for text in [
            r#"{"deviceId":"d2"}"#,
            r#"{"status":"off"}"#,
            r#"{"authentication":{"type":"sas","symmetricKey":{"primaryKey":"AAECAwQFBgcICQoLDA0ODw=="}}}"#,
            r#"{"authentication":{"symmetricKey":{"primaryKey":"AAEC","secondaryKey":"AAEC"}}}"#,
            r#"{"authentication":{"type":"selfSigned","x509Thumbprint":{"primaryThumbprint":"ab:cd"}}}"#,
            r#"{"authentication":{"type":"none"}}"#,
            r#"{"authentication":{"type":"magic"}}"#,
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&json!({ "statusReason": "x".repeat(129) }).to_string()).is_err());
    }
}
