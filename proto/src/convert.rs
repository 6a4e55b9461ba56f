//! Conversions between messages and `model`. Messages come from our own services: what does not convert is an error
//! that names the member, never a default.

use model::{
    Authentication, ConnectionId, Credentials, DeviceId, DeviceIdentity, DeviceStatus, ETag, Interests, ModuleId,
    ModuleIdentity, Principal, QualityOfService, Subscription, SymmetricKeys, Thumbprints, Timestamp,
};

use crate::shard::v1;

/// A message that no service of this version sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidMessage(pub &'static str);

impl std::fmt::Display for InvalidMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "invalid member in an internal message: {}", self.0)
    }
}

impl std::error::Error for InvalidMessage {}

fn parse<T: std::str::FromStr>(text: &str, member: &'static str) -> Result<T, InvalidMessage> {
    text.parse().map_err(|_| InvalidMessage(member))
}

fn time(microseconds: i64) -> Option<Timestamp> {
    (microseconds != 0).then(|| Timestamp::from_unix_microseconds(microseconds))
}

fn microseconds(time: Option<Timestamp>) -> i64 {
    time.map_or(0, Timestamp::unix_microseconds)
}

impl TryFrom<v1::DeviceIdentity> for DeviceIdentity {
    type Error = InvalidMessage;

    fn try_from(row: v1::DeviceIdentity) -> Result<Self, InvalidMessage> {
        let presence = row.presence.unwrap_or_default();
        Ok(Self {
            device_id: parse(&row.device_id, "device_id")?,
            generation_id: row.generation_id,
            etag: ETag(row.etag),
            status: if row.disabled { DeviceStatus::Disabled } else { DeviceStatus::Enabled },
            status_reason: row.status_reason,
            status_updated_time: time(row.status_updated_time),
            authentication: row.authentication.ok_or(InvalidMessage("authentication"))?.try_into()?,
            iot_edge: row.iot_edge,
            device_scope: row.device_scope,
            parent_scopes: row.parent_scopes,
            connected: presence.connected,
            connection_state_updated_time: time(presence.connection_state_updated_time),
            last_activity_time: time(presence.last_activity_time),
            cloud_to_device_message_count: presence.cloud_to_device_message_count,
        })
    }
}

impl From<&DeviceIdentity> for v1::DeviceIdentity {
    fn from(identity: &DeviceIdentity) -> Self {
        Self {
            device_id: identity.device_id.to_string(),
            generation_id: identity.generation_id.clone(),
            etag: identity.etag.0,
            disabled: identity.status == DeviceStatus::Disabled,
            status_reason: identity.status_reason.clone(),
            status_updated_time: microseconds(identity.status_updated_time),
            authentication: Some((&identity.authentication).into()),
            iot_edge: identity.iot_edge,
            device_scope: identity.device_scope.clone(),
            parent_scopes: identity.parent_scopes.clone(),
            presence: Some(v1::Presence {
                connected: identity.connected,
                connection_state_updated_time: microseconds(identity.connection_state_updated_time),
                last_activity_time: microseconds(identity.last_activity_time),
                cloud_to_device_message_count: identity.cloud_to_device_message_count,
            }),
        }
    }
}

impl TryFrom<v1::ModuleIdentity> for ModuleIdentity {
    type Error = InvalidMessage;

    fn try_from(row: v1::ModuleIdentity) -> Result<Self, InvalidMessage> {
        let presence = row.presence.unwrap_or_default();
        Ok(Self {
            device_id: parse(&row.device_id, "device_id")?,
            module_id: parse(&row.module_id, "module_id")?,
            generation_id: row.generation_id,
            etag: ETag(row.etag),
            managed_by: row.managed_by,
            authentication: row.authentication.ok_or(InvalidMessage("authentication"))?.try_into()?,
            connected: presence.connected,
            connection_state_updated_time: time(presence.connection_state_updated_time),
            last_activity_time: time(presence.last_activity_time),
            cloud_to_device_message_count: presence.cloud_to_device_message_count,
        })
    }
}

impl From<&ModuleIdentity> for v1::ModuleIdentity {
    fn from(identity: &ModuleIdentity) -> Self {
        Self {
            device_id: identity.device_id.to_string(),
            module_id: identity.module_id.to_string(),
            generation_id: identity.generation_id.clone(),
            etag: identity.etag.0,
            managed_by: identity.managed_by.clone(),
            authentication: Some((&identity.authentication).into()),
            presence: Some(v1::Presence {
                connected: identity.connected,
                connection_state_updated_time: microseconds(identity.connection_state_updated_time),
                last_activity_time: microseconds(identity.last_activity_time),
                cloud_to_device_message_count: identity.cloud_to_device_message_count,
            }),
        }
    }
}

impl TryFrom<v1::Credentials> for Credentials {
    type Error = InvalidMessage;

    fn try_from(message: v1::Credentials) -> Result<Self, InvalidMessage> {
        Ok(Self {
            device: message.device.ok_or(InvalidMessage("credentials.device"))?.try_into()?,
            module: message.module.map(TryInto::try_into).transpose()?,
        })
    }
}

impl TryFrom<v1::Authentication> for Authentication {
    type Error = InvalidMessage;

    fn try_from(message: v1::Authentication) -> Result<Self, InvalidMessage> {
        use v1::authentication::Kind;
        Ok(match message.kind.ok_or(InvalidMessage("authentication.kind"))? {
            Kind::Sas(keys) => Self::Sas(keys.try_into()?),
            Kind::SelfSigned(thumbprints) => Self::SelfSigned(thumbprints.try_into()?),
            Kind::CertificateAuthority(_) => Self::CertificateAuthority,
            Kind::None(_) => Self::None,
        })
    }
}

impl From<&Authentication> for v1::Authentication {
    fn from(authentication: &Authentication) -> Self {
        use v1::authentication::Kind;
        let kind = match authentication {
            Authentication::Sas(keys) => Kind::Sas(keys.into()),
            Authentication::SelfSigned(thumbprints) => Kind::SelfSigned(thumbprints.into()),
            Authentication::CertificateAuthority => Kind::CertificateAuthority(v1::Empty {}),
            Authentication::None => Kind::None(v1::Empty {}),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<v1::SymmetricKeys> for SymmetricKeys {
    type Error = InvalidMessage;

    fn try_from(keys: v1::SymmetricKeys) -> Result<Self, InvalidMessage> {
        Ok(Self { primary: parse(&keys.primary, "primary")?, secondary: parse(&keys.secondary, "secondary")? })
    }
}

impl From<&SymmetricKeys> for v1::SymmetricKeys {
    fn from(keys: &SymmetricKeys) -> Self {
        Self { primary: keys.primary.as_base64().into(), secondary: keys.secondary.as_base64().into() }
    }
}

impl TryFrom<v1::Thumbprints> for Thumbprints {
    type Error = InvalidMessage;

    fn try_from(message: v1::Thumbprints) -> Result<Self, InvalidMessage> {
        let parse = |text: Option<String>| text.map(|text| parse(&text, "thumbprint")).transpose();
        Ok(Self { primary: parse(message.primary)?, secondary: parse(message.secondary)? })
    }
}

impl From<&Thumbprints> for v1::Thumbprints {
    fn from(thumbprints: &Thumbprints) -> Self {
        let text = |thumbprint: &Option<model::Thumbprint>| thumbprint.as_ref().map(|t| t.as_str().to_owned());
        Self { primary: text(&thumbprints.primary), secondary: text(&thumbprints.secondary) }
    }
}

impl TryFrom<&v1::Principal> for Principal {
    type Error = InvalidMessage;

    fn try_from(message: &v1::Principal) -> Result<Self, InvalidMessage> {
        let device_id: DeviceId = parse(&message.device_id, "device_id")?;
        let module_id = message.module_id.as_deref().map(|id| parse::<ModuleId>(id, "module_id")).transpose()?;
        Ok(Self { device_id, module_id })
    }
}

impl From<&Principal> for v1::Principal {
    fn from(principal: &Principal) -> Self {
        Self {
            device_id: principal.device_id.to_string(),
            module_id: principal.module_id.as_ref().map(ToString::to_string),
        }
    }
}

impl From<v1::ConnectionId> for ConnectionId {
    fn from(message: v1::ConnectionId) -> Self {
        Self { leadership: message.leadership, counter: message.counter }
    }
}

impl From<ConnectionId> for v1::ConnectionId {
    fn from(id: ConnectionId) -> Self {
        Self { leadership: id.leadership, counter: id.counter }
    }
}

impl From<v1::Subscription> for Subscription {
    fn from(message: v1::Subscription) -> Self {
        let quality_of_service = match message.quality_of_service {
            0 => QualityOfService::AtMostOnce,
            _ => QualityOfService::AtLeastOnce,
        };
        Self { filter: message.filter, quality_of_service, interests: Interests::from_bits(message.interests) }
    }
}

impl From<&Subscription> for v1::Subscription {
    fn from(subscription: &Subscription) -> Self {
        Self {
            filter: subscription.filter.clone(),
            quality_of_service: subscription.quality_of_service as u32,
            interests: subscription.interests.to_bits(),
        }
    }
}
