//! Device and module identities (twins-jobs-query §1.2, rest §3.1).

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{Authentication, DeviceId, ModuleId, Timestamp};

/// Version of an identity: on the wire base64 of an ASCII decimal counter (rest §1.11).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ETag(pub u64);

impl ETag {
    /// Reads the text between the quotes of an `If-Match`; `None` when it cannot be an identity's.
    pub fn parse(text: &str) -> Option<Self> {
        let decimal = BASE64_STANDARD.decode(text).ok()?;
        std::str::from_utf8(&decimal).ok()?.parse().ok().map(Self)
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_STANDARD.encode(self.0.to_string()))
    }
}

/// Whether the device may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DeviceStatus {
    #[default]
    Enabled,
    Disabled,
}

/// A device as the registry keeps it. Times that never happened are `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceIdentity {
    pub device_id: DeviceId,
    /// Decimal text, minted when the identity is created; tells re-created devices apart.
    pub generation_id: String,
    pub etag: ETag,
    pub status: DeviceStatus,
    pub status_reason: Option<String>,
    pub status_updated_time: Option<Timestamp>,
    pub authentication: Authentication,
    /// The `capabilities.iotEdge` member.
    pub iot_edge: bool,
    pub device_scope: Option<String>,
    pub parent_scopes: Vec<String>,
    /// Live view of the group's leader, not part of the stored identity.
    pub connected: bool,
    pub connection_state_updated_time: Option<Timestamp>,
    pub last_activity_time: Option<Timestamp>,
    pub cloud_to_device_message_count: u32,
}

impl DeviceIdentity {
    /// An enabled device that has never connected; the registry gives it an etag and, here empty, a generation.
    pub fn new(device_id: DeviceId, authentication: Authentication) -> Self {
        Self {
            device_id,
            generation_id: String::new(),
            etag: ETag(0),
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
}

/// A module as the registry keeps it. It has no status: it follows its device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleIdentity {
    pub device_id: DeviceId,
    pub module_id: ModuleId,
    pub generation_id: String,
    pub etag: ETag,
    pub managed_by: Option<String>,
    pub authentication: Authentication,
    /// Live view of the group's leader, not part of the stored identity.
    pub connected: bool,
    pub connection_state_updated_time: Option<Timestamp>,
    pub last_activity_time: Option<Timestamp>,
    pub cloud_to_device_message_count: u32,
}

/// What a principal's credential is verified against: its device and, for a module, the module when it is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub device: DeviceIdentity,
    pub module: Option<ModuleIdentity>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etags_are_base64_of_a_decimal_counter() {
        assert_eq!(ETag(801_232_426).to_string(), "ODAxMjMyNDI2");
        assert_eq!(ETag::parse("ODAxMjMyNDI2"), Some(ETag(801_232_426)));
        assert_eq!(ETag::parse("AAAAAAAAAAE="), None);
    }
}
