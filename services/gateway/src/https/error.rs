//! The one place that knows how errors look over HTTPS (rest §21).

use std::fmt;

use auth::Refusal;
use eventlog::{AppendError, ReadError};
use http::{HeaderValue, Response, StatusCode, header};
use model::{DeviceId, InvalidSettings, ModuleId, Principal};
use serde_json::{Value, json};
use shard_client::{
    BackupError, ClusterError, MessageError, MethodError, RegistryError, RestoreError, SettingsError, TwinError,
    Unavailable,
};

use super::body::{Body, with_json};
use crate::{device_bound::BadMessage, websocket::BadHandshake};

/// Number and name of an error; the status is the number's first three digits (rest §21.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Code(u32, &'static str);

const INVALID_PROTOCOL_VERSION: Code = Code(400_001, "InvalidProtocolVersion");
const ARGUMENT_INVALID: Code = Code(400_004, "ArgumentInvalid");
const ARGUMENT_NULL: Code = Code(400_005, "ArgumentNull");
const FORMAT_ERROR: Code = Code(400_006, "IotHubFormatError");
const DEVICE_DEFINED_MULTIPLE_TIMES: Code = Code(400_011, "DeviceDefinedMultipleTimes");
const INVALID_DEVICE_SCOPE: Code = Code(400_028, "InvalidDeviceScope");
const INVALID_POLICY_KEY: Code = Code(400_035, "InvalidPolicyKey");
const UNAUTHORIZED_ACCESS: Code = Code(401_002, "IotHubUnauthorizedAccess");
const UNAUTHORIZED: Code = Code(401_003, "IotHubUnauthorized");
const SYSTEM_MODULE: Code = Code(401_100, "SystemModuleModifyUnauthorizedAccess");
const QUOTA_EXCEEDED: Code = Code(403_002, "IotHubQuotaExceeded");
const QUEUE_FULL: Code = Code(403_004, "DeviceMaximumQueueDepthExceeded");
const INVALID_EXPIRY: Code = Code(403_009, "InvalidMessageExpiryTime");
const NOT_FOUND: Code = Code(404_000, "GenericNotFound");
const TOO_MANY_METHODS: Code = Code(403_800, "DeviceMaximumInflightMethodExceeded");
const DEVICE_NOT_ONLINE: Code = Code(404_103, "DeviceNotOnline");
const CERTIFICATE_NOT_FOUND: Code = Code(404_008, "CertificateNotFound");
const DEVICE_NOT_FOUND: Code = Code(404_001, "DeviceNotFound");
const MODULE_NOT_FOUND: Code = Code(404_010, "ModuleNotFound");
const METHOD_NOT_ALLOWED: Code = Code(405_000, "GenericMethodNotAllowed");
const CONFLICT: Code = Code(409_000, "GenericConflict");
const DEVICE_ALREADY_EXISTS: Code = Code(409_001, "DeviceAlreadyExists");
const MODULE_ALREADY_EXISTS: Code = Code(409_301, "ModuleAlreadyExistsOnDevice");
const PRECONDITION_FAILED: Code = Code(412_001, "PreconditionFailed");
const LOCK_LOST: Code = Code(412_002, "DeviceMessageLockLost");
const MESSAGE_TOO_LARGE: Code = Code(413_001, "MessageTooLarge");
const TOO_MANY_DEVICES: Code = Code(413_002, "TooManyDevices");
const TOO_MANY_MODULES: Code = Code(413_003, "TooManyModulesOnDevice");
const UPGRADE_REQUIRED: Code = Code(426_000, "GenericUpgradeRequired");
const BAD_GATEWAY: Code = Code(502_000, "GenericBadGateway");
const SERVICE_UNAVAILABLE: Code = Code(503_001, "ServiceUnavailable");
const SERVER_BUSY: Code = Code(503_005, "ServerBusy");
const GATEWAY_TIMEOUT: Code = Code(504_101, "GatewayTimeout");

/// An operation that failed, on its way to the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    code: Code,
    message: String,
    envelope: Envelope,
    /// What the header `Allow` says: the methods of the path; empty unless the request's is none of them.
    allowed_methods: &'static str,
}

/// How the body holds the error (rest §21).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Envelope {
    Classic,
    /// As JSON in text: failed methods have always been answered so (rest §10).
    Nested,
}

impl ApiError {
    fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), envelope: Envelope::Classic, allowed_methods: "" }
    }

    fn nested(code: Code, message: impl Into<String>) -> Self {
        Self { envelope: Envelope::Nested, ..Self::new(code, message) }
    }

    pub fn invalid_protocol_version() -> Self {
        Self::new(INVALID_PROTOCOL_VERSION, "The query parameter api-version is missing or not YYYY-MM-DD[-preview]")
    }

    pub fn argument(message: impl Into<String>) -> Self {
        Self::new(ARGUMENT_INVALID, message)
    }

    pub fn format(message: impl Into<String>) -> Self {
        Self::new(FORMAT_ERROR, message)
    }

    pub fn null_body() -> Self {
        Self::new(ARGUMENT_NULL, "The request needs a body")
    }

    pub fn not_found() -> Self {
        Self::new(NOT_FOUND, "No operation has this path")
    }

    /// The path has these methods only, separated by commas.
    pub fn method_not_allowed(allowed_methods: &'static str) -> Self {
        let message = format!("The path has other methods: {allowed_methods}");
        Self { allowed_methods, ..Self::new(METHOD_NOT_ALLOWED, message) }
    }

    pub fn device_not_found(id: &DeviceId) -> Self {
        Self::new(DEVICE_NOT_FOUND, format!("A device with ID '{id}' was not found."))
    }

    pub fn module_not_found(device_id: &DeviceId, id: &ModuleId) -> Self {
        Self::new(MODULE_NOT_FOUND, format!("A module with ID '{id}' was not found on device '{device_id}'."))
    }

    /// A policy or consumer group.
    pub fn no_such(what: &str, name: &str) -> Self {
        Self::new(NOT_FOUND, format!("The hub has no {what} '{name}'"))
    }

    pub fn certificate_not_found(name: &str) -> Self {
        Self::new(CERTIFICATE_NOT_FOUND, format!("The hub has no certificate '{name}'"))
    }

    pub fn precondition_failed() -> Self {
        Self::new(PRECONDITION_FAILED, "PreconditionFailed, ETag may be invalid.")
    }

    pub fn if_match_missing() -> Self {
        Self::new(PRECONDITION_FAILED, "Etag missing: this operation needs the header If-Match")
    }

    pub fn no_randomness() -> Self {
        Self::new(SERVICE_UNAVAILABLE, "The system gives no random numbers")
    }

    pub fn etag_missing() -> Self {
        Self::new(PRECONDITION_FAILED, "Etag missing: a delete needs the header If-Match")
    }

    pub fn defined_multiple_times(identity: &str) -> Self {
        Self::new(DEVICE_DEFINED_MULTIPLE_TIMES, format!("The request names '{identity}' more than once"))
    }

    pub fn too_many_devices(count: usize, count_max: usize) -> Self {
        Self::new(TOO_MANY_DEVICES, format!("The request has {count} entries, {count_max} are allowed"))
    }

    pub fn too_many_parents() -> Self {
        Self::new(INVALID_DEVICE_SCOPE, "parentScopes has more than one entry")
    }

    pub fn policy_key() -> Self {
        Self::new(INVALID_POLICY_KEY, "policyKey must be primaryKey, secondaryKey or both")
    }

    pub fn system_module(id: &ModuleId) -> Self {
        Self::new(
            SYSTEM_MODULE,
            format!("The module '{id}' is the hub's own: it is neither created nor deleted by others"),
        )
    }

    pub fn entry_etag_missing() -> Self {
        Self::new(PRECONDITION_FAILED, "Etag missing: this import mode needs the member eTag")
    }

    pub fn message_too_large(bytes_max: usize) -> Self {
        Self::new(MESSAGE_TOO_LARGE, format!("The message is larger than {bytes_max} bytes"))
    }

    pub fn no_credential() -> Self {
        Self::new(UNAUTHORIZED_ACCESS, "The header Authorization is missing and no client certificate was presented")
    }

    pub fn settings_missing() -> Self {
        Self::new(SERVER_BUSY, "The hub is starting")
    }

    pub fn no_room() -> Self {
        Self::new(SERVER_BUSY, "The gateway holds as many bytes of requests as it may")
    }

    pub fn timeout() -> Self {
        Self::new(GATEWAY_TIMEOUT, "The request took too long")
    }

    /// Which registry object an error is about is known to the caller only.
    pub fn registry(error: RegistryError, device_id: &DeviceId, module_id: Option<&ModuleId>) -> Self {
        let module = module_id.map(ModuleId::as_str).unwrap_or_default();
        match error {
            RegistryError::DeviceAlreadyExists => {
                Self::new(DEVICE_ALREADY_EXISTS, format!("A device with ID '{device_id}' is already registered."))
            }
            RegistryError::DeviceNotFound => Self::device_not_found(device_id),
            RegistryError::ModuleAlreadyExists => Self::new(
                MODULE_ALREADY_EXISTS,
                format!("A module with ID '{module}' is already registered on device '{device_id}'."),
            ),
            RegistryError::ModuleNotFound => Self::new(
                MODULE_NOT_FOUND,
                format!("A module with ID '{module}' was not found on device '{device_id}'."),
            ),
            RegistryError::PreconditionFailed => {
                Self::new(PRECONDITION_FAILED, "PreconditionFailed, ETag may be invalid.")
            }
            RegistryError::TooManyModules => {
                Self::new(TOO_MANY_MODULES, format!("The device '{device_id}' has as many modules as it may have"))
            }
            RegistryError::QuotaExceeded => Self::new(QUOTA_EXCEEDED, "The hub has as many devices as it may have"),
            RegistryError::InvalidDeviceScope => {
                Self::new(INVALID_DEVICE_SCOPE, "The scope of an IoT Edge device cannot be changed")
            }
            RegistryError::NoSymmetricKeys => {
                Self::argument(format!("'{device_id}' has no symmetric keys: its authentication is of another type"))
            }
            RegistryError::TwinTooLarge(message) => Self::argument(message),
            RegistryError::Unavailable(error) => error.into(),
        }
    }

    /// Whose twin, methods or messages were asked for: of modules, too, the service says that the device is missing
    /// (rest §9).
    pub fn device_or_module_not_found(principal: &Principal) -> Self {
        Self::new(DEVICE_NOT_FOUND, format!("A device with ID '{principal}' was not found."))
    }

    /// Which twin an error is about is known to the caller only.
    pub fn twin(error: TwinError, principal: &Principal) -> Self {
        match error {
            TwinError::NotFound => Self::device_or_module_not_found(principal),
            TwinError::PreconditionFailed(_) => Self::new(PRECONDITION_FAILED, error.to_string()),
            TwinError::TooLarge(message) => Self::argument(message),
            TwinError::Unavailable(error) => error.into(),
            TwinError::ConnectionReplaced => Self::new(SERVER_BUSY, error.to_string()),
        }
    }

    /// Which device an error is about is known to the caller only.
    pub fn method(error: MethodError, principal: &Principal) -> Self {
        match error {
            MethodError::NotFound => Self::device_or_module_not_found(principal),
            MethodError::NotOnline => Self::nested(
                DEVICE_NOT_ONLINE,
                "The operation failed because the requested device isn't online: it is not connected, or not subscribed to methods",
            ),
            MethodError::TimedOut => Self::nested(GATEWAY_TIMEOUT, "Timed out waiting for the response from device."),
            MethodError::LeaderLost => {
                Self::nested(GATEWAY_TIMEOUT, format!("Timed out waiting for the response from device: {error}"))
            }
            MethodError::TooMany => Self::new(TOO_MANY_METHODS, error.to_string()),
            MethodError::Unavailable(error) => error.into(),
        }
    }

    /// Which device an error is about is known to the caller only.
    pub fn device_bound(error: MessageError, principal: &Principal) -> Self {
        match error {
            MessageError::NotFound => Self::device_or_module_not_found(principal),
            MessageError::QueueFull => Self::new(QUEUE_FULL, error.to_string()),
            MessageError::LockLost => Self::new(LOCK_LOST, error.to_string()),
            MessageError::ConnectionReplaced => Self::new(SERVER_BUSY, error.to_string()),
            MessageError::Unavailable(error) => error.into(),
        }
    }

    pub fn feedback(error: MessageError) -> Self {
        match error {
            MessageError::Unavailable(error) => error.into(),
            error => Self::new(LOCK_LOST, error.to_string()),
        }
    }

    /// A device answered a method with something else than JSON.
    pub fn bad_answer(why: String) -> Self {
        Self::new(BAD_GATEWAY, format!("The device's answer to the method cannot be passed on: {why}"))
    }

    /// The status of the response.
    pub fn status(&self) -> StatusCode {
        let status = u16::try_from(self.code.0 / 1000).ok().and_then(|status| StatusCode::from_u16(status).ok());
        status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The error's number, as it stands in the answers of bulk requests.
    pub fn number(&self) -> u32 {
        self.code.0
    }

    /// How an operation ended, as it is counted: `ok`, or the error's name.
    pub fn result_of<T>(outcome: &Result<T, Self>) -> &'static str {
        outcome.as_ref().map_or_else(Self::name, |_| "ok")
    }

    /// The name in the header and the envelope.
    pub fn name(&self) -> &'static str {
        self.code.1
    }

    /// What happened, in words.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the hub could not do it now, and the caller had better come again.
    pub fn is_unavailable(&self) -> bool {
        self.code.0 / 1000 == 503
    }

    /// As a response with the classic envelope, or the nested one. The tracking id, see [`crate::tracking`], is in the log as well.
    pub fn into_response(self, tracking_id: &str) -> Response<Body> {
        let body = match self.envelope {
            Envelope::Classic => self.classic_body(tracking_id),
            Envelope::Nested => self.nested_body(tracking_id),
        };
        let mut response = with_json(self.status(), body.to_string().into_bytes());
        let headers = response.headers_mut();
        headers.insert("iothub-errorcode", HeaderValue::from_static(self.name()));
        if !self.allowed_methods.is_empty() {
            headers.insert(header::ALLOW, HeaderValue::from_static(self.allowed_methods));
        }
        if self.code == UPGRADE_REQUIRED {
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        response
    }
}

impl ApiError {
    fn classic_body(&self, tracking_id: &str) -> Value {
        // What stands behind a second ';' is lost in some clients.
        let message = self.message.replace(';', ",");
        json!({
            "Message": format!("ErrorCode:{};{message}", self.name()),
            "ExceptionMessage": format!("Tracking ID:{tracking_id}"),
        })
    }

    /// Flat inside: one client reads the inner object as texts only.
    fn nested_body(&self, tracking_id: &str) -> Value {
        let inner = json!({
            "errorCode": self.number(),
            "trackingId": tracking_id,
            "message": self.message,
            "timestampUtc": crate::front::now().to_string(),
        });
        json!({ "Message": inner.to_string(), "ExceptionMessage": "" })
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<BadMessage> for ApiError {
    fn from(error: BadMessage) -> Self {
        let code = match error {
            BadMessage::TooLarge => MESSAGE_TOO_LARGE,
            BadMessage::Expiry(_) => ARGUMENT_INVALID,
            BadMessage::ExpiryTooLate => INVALID_EXPIRY,
        };
        Self::new(code, error.to_string())
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal {
            Refusal::MissingRight { .. } | Refusal::NotAPolicyToken | Refusal::NoCredential => UNAUTHORIZED_ACCESS,
            _ => UNAUTHORIZED,
        };
        Self::new(code, format!("Unauthorized: {refusal}"))
    }
}

impl From<BadHandshake> for ApiError {
    fn from(error: BadHandshake) -> Self {
        let code = match error {
            BadHandshake::NoUpgrade | BadHandshake::WebSocketVersion => UPGRADE_REQUIRED,
            BadHandshake::HttpVersion | BadHandshake::Key | BadHandshake::SubProtocol => ARGUMENT_INVALID,
        };
        Self::new(code, error.to_string())
    }
}

impl From<Unavailable> for ApiError {
    fn from(error: Unavailable) -> Self {
        let code = if error == Unavailable::DiskFull { SERVICE_UNAVAILABLE } else { SERVER_BUSY };
        Self::new(code, format!("The registry cannot answer now: {error}"))
    }
}

impl From<SettingsError> for ApiError {
    fn from(error: SettingsError) -> Self {
        match error {
            SettingsError::NotInitialized => Self::settings_missing(),
            SettingsError::PreconditionFailed => Self::new(SERVER_BUSY, "The settings are being changed by others"),
            SettingsError::TooMany(text) => Self::new(QUOTA_EXCEEDED, text),
            SettingsError::Invalid(text) => Self::argument(text),
            SettingsError::Unavailable(error) => error.into(),
        }
    }
}

impl From<BackupError> for ApiError {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::NotInitialized => Self::settings_missing(),
            BackupError::Lost(_) => Self::new(SERVICE_UNAVAILABLE, error.to_string()),
            BackupError::Unavailable(error) => error.into(),
        }
    }
}

impl From<RestoreError> for ApiError {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::Format(_) | RestoreError::NotEmpty(_) => Self::argument(error.to_string()),
            RestoreError::Settings(error) => error.into(),
            RestoreError::Unavailable(error) => error.into(),
        }
    }
}

impl From<ClusterError> for ApiError {
    fn from(error: ClusterError) -> Self {
        match error {
            ClusterError::NodeNotFound => Self::new(NOT_FOUND, error.to_string()),
            ClusterError::NodeRemoved | ClusterError::LastActiveNode => Self::new(CONFLICT, error.to_string()),
            ClusterError::Invalid(text) => Self::argument(text),
            ClusterError::Unavailable(error) => error.into(),
        }
    }
}

impl From<InvalidSettings> for ApiError {
    fn from(error: InvalidSettings) -> Self {
        match error {
            InvalidSettings::TooMany(..) => Self::new(QUOTA_EXCEEDED, error.to_string()),
            InvalidSettings::NoOwner | InvalidSettings::Value(_) => Self::argument(error.to_string()),
        }
    }
}

impl From<AppendError> for ApiError {
    fn from(error: AppendError) -> Self {
        let code = if matches!(error, AppendError::Full(_)) { SERVER_BUSY } else { SERVICE_UNAVAILABLE };
        Self::new(code, format!("The message was not stored: {error}"))
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::UnknownPartition(..) => Self::argument(error.to_string()),
            _ => Self::new(SERVICE_UNAVAILABLE, error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_status_and_envelope_agree() {
        let response = ApiError::etag_missing().into_response("x");
        assert_eq!(response.status(), 412);
        assert_eq!(
            response.headers().get("iothub-errorcode").map(HeaderValue::as_bytes),
            Some(&b"PreconditionFailed"[..])
        );
    }

    #[test]
    fn only_methods_are_answered_nested() {
        let principal = Principal::device("d".parse().unwrap_or_else(|_| unreachable!()));
        let timed_out = ApiError::method(MethodError::TimedOut, &principal);
        assert_eq!((timed_out.number(), timed_out.envelope), (504_101, Envelope::Nested));
        let took_too_long = ApiError::timeout();
        assert_eq!((took_too_long.number(), took_too_long.envelope), (504_101, Envelope::Classic));
        let body = timed_out.nested_body("x");
        let inner: Value = serde_json::from_str(body["Message"].as_str().unwrap_or_default()).unwrap_or_default();
        assert_eq!(inner["errorCode"], 504_101);
    }

    #[test]
    fn a_wrong_method_is_told_the_right_ones() {
        let response = ApiError::method_not_allowed("GET, PUT").into_response("x");
        let allow = response.headers().get(header::ALLOW).map(HeaderValue::as_bytes);
        assert_eq!((response.status().as_u16(), allow), (405, Some(&b"GET, PUT"[..])));
    }
}
