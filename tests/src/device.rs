//! Devices and modules as their owners know them, and the tokens they sign.

use anyhow::Context;
use model::{SymmetricKey, Timestamp};
use serde_json::Value;

/// A registered device, or a module of one.
#[derive(Clone, Debug)]
pub struct Device {
    pub host_name: String,
    pub device_id: String,
    pub module_id: Option<String>,
    pub primary_key: SymmetricKey,
    pub secondary_key: SymmetricKey,
    pub etag: String,
    pub generation_id: String,
}

impl Device {
    /// From the identity as the registry returns it.
    pub fn from_identity(host_name: &str, identity: &Value) -> anyhow::Result<Self> {
        let text = |pointer: &str| {
            identity.pointer(pointer).and_then(Value::as_str).with_context(|| format!("{pointer} of {identity}"))
        };
        Ok(Self {
            host_name: host_name.to_owned(),
            device_id: text("/deviceId")?.to_owned(),
            module_id: text("/moduleId").ok().map(str::to_owned),
            primary_key: text("/authentication/symmetricKey/primaryKey")?.parse()?,
            secondary_key: text("/authentication/symmetricKey/secondaryKey")?.parse()?,
            etag: text("/etag")?.to_owned(),
            generation_id: text("/generationId")?.to_owned(),
        })
    }

    /// `device` or `device/module`: the client id of its MQTT connections.
    pub fn client_id(&self) -> String {
        match &self.module_id {
            Some(module_id) => format!("{}/{module_id}", self.device_id),
            None => self.device_id.clone(),
        }
    }

    /// The resource its tokens are for.
    pub fn resource(&self) -> String {
        let module = self.module_id.as_ref().map(|module_id| format!("/modules/{module_id}")).unwrap_or_default();
        format!("{}/devices/{}{module}", self.host_name, self.device_id)
    }

    /// The user name that current documentation shows (mqtt §2.2).
    pub fn username(&self) -> String {
        format!("{}/{}/?api-version=2021-04-12", self.host_name, self.client_id())
    }

    /// A token of its primary key that is valid for an hour.
    pub fn token(&self) -> String {
        token(&self.resource(), &self.primary_key, None)
    }

    /// Where it sends telemetry: the topic that a property bag follows.
    pub fn events_topic(&self) -> String {
        let module = self.module_id.as_ref().map(|module_id| format!("modules/{module_id}/")).unwrap_or_default();
        format!("devices/{}/{module}messages/events/", self.device_id)
    }

    /// The CONNECT that a well-behaved device sends.
    pub fn connect(&self) -> mqtt::Connect {
        mqtt::Connect {
            client_id: self.client_id(),
            username: Some(self.username()),
            password: Some(self.token()),
            clean_session: true,
            keep_alive_seconds: 60,
            will: None,
        }
    }
}

/// A token for a resource, valid for an hour.
pub fn token(resource: &str, key: &SymmetricKey, policy: Option<&str>) -> String {
    token_that_expires(resource, key, policy, jiff::SignedDuration::from_hours(1))
}

/// A token that expires so long from now; negative: that long ago.
pub fn token_that_expires(
    resource: &str,
    key: &SymmetricKey,
    policy: Option<&str>,
    from_now: jiff::SignedDuration,
) -> String {
    let expires = jiff::Timestamp::now().as_millisecond() + i64::try_from(from_now.as_millis()).unwrap_or(i64::MAX);
    auth::sign(resource, key, policy, Timestamp::from_unix_milliseconds(expires))
}
