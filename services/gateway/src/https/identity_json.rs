//! Identities as JSON (rest §3.1): what clients send, with all its leniency, and what they get.

use model::{Authentication, DeviceId, DeviceIdentity, DeviceStatus, ETag, ModuleId, ModuleIdentity, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    authentication_json::{self, AuthenticationInput, Dialect},
    error::ApiError,
};

const STATUS_REASON_CHARACTERS_MAX: usize = 128;
/// A scope has at most 20 characters beside the id of its device; `managedBy` is a name.
const TEXT_CHARACTERS_MAX: usize = 512;

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

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Capabilities {
    iot_edge: Option<bool>,
}

impl DeviceInput {
    /// The identity to store. Keys that are missing are drawn, and a generation id in case it is created.
    pub fn into_identity(
        self,
        device_id: DeviceId,
        dialect: Dialect,
        now: Timestamp,
    ) -> Result<DeviceIdentity, ApiError> {
        check_same("deviceId", self.device_id.as_deref(), device_id.as_str())?;
        let authentication = self.authentication.unwrap_or_default().parse(dialect)?;
        let iot_edge = self.capabilities.and_then(|capabilities| capabilities.iot_edge).unwrap_or(false);
        // The scope of other devices alone says what their parent is (rest §7).
        let parent_scopes = self.parent_scopes.filter(|_| iot_edge).unwrap_or_default();
        if authentication == Authentication::None {
            return Err(ApiError::argument("DeviceAuthenticationTypeIsMissing: a device cannot have the type none"));
        }
        Ok(DeviceIdentity {
            device_id,
            generation_id: now.dotnet_ticks().to_string(),
            etag: ETag(0),
            status: parse_status(self.status.as_deref())?,
            status_reason: check_length("statusReason", self.status_reason, STATUS_REASON_CHARACTERS_MAX)?,
            status_updated_time: None,
            authentication,
            iot_edge,
            device_scope: check_scope("deviceScope", self.device_scope)?,
            parent_scopes: check_parents(parent_scopes)?,
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
        dialect: Dialect,
        now: Timestamp,
    ) -> Result<ModuleIdentity, ApiError> {
        check_same("deviceId", self.device_id.as_deref(), device_id.as_str())?;
        check_same("moduleId", self.module_id.as_deref(), module_id.as_str())?;
        let authentication = match self.authentication.unwrap_or_default().parse(dialect)? {
            // Only the hub's own modules may do without.
            Authentication::None if !module_id.is_system() => Authentication::Sas(authentication_json::draw_keys()?),
            authentication => authentication,
        };
        Ok(ModuleIdentity {
            device_id,
            module_id,
            generation_id: now.dotnet_ticks().to_string(),
            etag: ETag(0),
            managed_by: check_length("managedBy", self.managed_by, TEXT_CHARACTERS_MAX)?,
            authentication,
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

fn check_length(member: &str, text: Option<String>, characters_max: usize) -> Result<Option<String>, ApiError> {
    match text {
        Some(text) if text.chars().count() > characters_max => {
            Err(ApiError::argument(format!("{member} has more than {characters_max} characters")))
        }
        text => Ok(text),
    }
}

/// An empty scope is none.
fn check_scope(member: &str, scope: Option<String>) -> Result<Option<String>, ApiError> {
    check_length(member, scope.filter(|scope| !scope.is_empty()), TEXT_CHARACTERS_MAX)
}

fn check_parents(scopes: Vec<String>) -> Result<Vec<String>, ApiError> {
    let scopes = scopes.into_iter().filter_map(|scope| check_scope("parentScopes", Some(scope)).transpose());
    match scopes.collect::<Result<Vec<_>, _>>()? {
        scopes if scopes.len() > 1 => Err(ApiError::too_many_parents()),
        scopes => Ok(scopes),
    }
}

/// A device as it is answered.
pub(super) fn device(identity: &DeviceIdentity, dialect: Dialect) -> Value {
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
        "authentication": authentication_json::answer(&identity.authentication, dialect),
        "capabilities": { "iotEdge": identity.iot_edge },
    });
    if let Some(scope) = &identity.device_scope {
        value["deviceScope"] = json!(scope);
    }
    if identity.iot_edge || !identity.parent_scopes.is_empty() {
        value["parentScopes"] = json!(identity.parent_scopes);
    }
    value
}

/// A module as it is answered.
pub(super) fn module(identity: &ModuleIdentity, dialect: Dialect) -> Value {
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
        "authentication": authentication_json::answer(&identity.authentication, dialect),
    })
}

fn connection_state(connected: bool) -> &'static str {
    if connected { "Connected" } else { "Disconnected" }
}

fn time(time: Option<Timestamp>) -> String {
    time.map_or_else(|| Timestamp::NEVER.to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<DeviceIdentity, ApiError> {
        let input: DeviceInput = serde_json::from_str(text).map_err(|error| ApiError::format(error.to_string()))?;
        let id = "d1".parse().map_err(|_| ApiError::not_found())?;
        input.into_identity(id, Dialect::Current, Timestamp::from_unix_milliseconds(0))
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
