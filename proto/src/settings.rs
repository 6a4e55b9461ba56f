//! Conversions of the hub's settings between messages and `model`.

use model::{
    CloudToDeviceOverrides, ConsumerGroup, ETag, HubSettings, Overrides, RegisteredCertificate, Rights,
    SharedAccessPolicy, Timestamp,
};

use crate::{InvalidMessage, shard::v1};

impl TryFrom<v1::HubSettings> for HubSettings {
    type Error = InvalidMessage;

    fn try_from(message: v1::HubSettings) -> Result<Self, InvalidMessage> {
        Ok(Self {
            revision: message.revision,
            groups: message.groups,
            policies: message.policies.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            certificates: message.certificates.into_iter().map(Into::into).collect(),
            consumer_groups: message.consumer_groups.into_iter().map(Into::into).collect(),
            overrides: message.overrides.unwrap_or_default().into(),
            created: Timestamp::from_unix_microseconds(message.created),
        })
    }
}

impl From<&HubSettings> for v1::HubSettings {
    fn from(settings: &HubSettings) -> Self {
        let overrides = v1::Overrides::from(&settings.overrides);
        Self {
            revision: settings.revision,
            groups: settings.groups,
            policies: settings.policies.iter().map(Into::into).collect(),
            certificates: settings.certificates.iter().map(Into::into).collect(),
            consumer_groups: settings.consumer_groups.iter().map(Into::into).collect(),
            overrides: (overrides != v1::Overrides::default()).then_some(overrides),
            created: settings.created.unix_microseconds(),
        }
    }
}

impl TryFrom<v1::SharedAccessPolicy> for SharedAccessPolicy {
    type Error = InvalidMessage;

    fn try_from(message: v1::SharedAccessPolicy) -> Result<Self, InvalidMessage> {
        Ok(Self {
            name: message.name,
            keys: message.keys.ok_or(InvalidMessage("policy keys"))?.try_into()?,
            rights: Rights::parse(&message.rights).ok_or(InvalidMessage("policy rights"))?,
            etag: ETag(message.etag),
        })
    }
}

impl From<&SharedAccessPolicy> for v1::SharedAccessPolicy {
    fn from(policy: &SharedAccessPolicy) -> Self {
        Self {
            name: policy.name.clone(),
            keys: Some((&policy.keys).into()),
            rights: policy.rights.to_string(),
            etag: policy.etag.0,
        }
    }
}

impl From<v1::RegisteredCertificate> for RegisteredCertificate {
    fn from(message: v1::RegisteredCertificate) -> Self {
        Self {
            name: message.name,
            der: message.der,
            is_verified: message.is_verified,
            verification_code: message.verification_code,
            etag: ETag(message.etag),
            created: Timestamp::from_unix_microseconds(message.created),
            updated: Timestamp::from_unix_microseconds(message.updated),
        }
    }
}

impl From<&RegisteredCertificate> for v1::RegisteredCertificate {
    fn from(certificate: &RegisteredCertificate) -> Self {
        Self {
            name: certificate.name.clone(),
            der: certificate.der.clone(),
            is_verified: certificate.is_verified,
            verification_code: certificate.verification_code.clone(),
            etag: certificate.etag.0,
            created: certificate.created.unix_microseconds(),
            updated: certificate.updated.unix_microseconds(),
        }
    }
}

impl From<v1::ConsumerGroup> for ConsumerGroup {
    fn from(message: v1::ConsumerGroup) -> Self {
        let created = Timestamp::from_unix_microseconds(message.created);
        Self { name: message.name, etag: ETag(message.etag), created }
    }
}

impl From<&ConsumerGroup> for v1::ConsumerGroup {
    fn from(group: &ConsumerGroup) -> Self {
        Self { name: group.name.clone(), etag: group.etag.0, created: group.created.unix_microseconds() }
    }
}

impl From<v1::Overrides> for Overrides {
    fn from(message: v1::Overrides) -> Self {
        Self {
            event_retention_hours: message.event_retention_hours,
            message_bytes_max: message.message_bytes_max,
            subscriptions_max: message.subscriptions_max,
            connections_max: message.connections_max,
            token_grace_seconds: message.token_grace_seconds,
            cloud_to_device: message.cloud_to_device.unwrap_or_default().into(),
            etag: ETag(message.etag),
        }
    }
}

impl From<&Overrides> for v1::Overrides {
    fn from(overrides: &Overrides) -> Self {
        let cloud_to_device = v1::CloudToDeviceOverrides::from(overrides.cloud_to_device);
        Self {
            event_retention_hours: overrides.event_retention_hours,
            message_bytes_max: overrides.message_bytes_max,
            subscriptions_max: overrides.subscriptions_max,
            connections_max: overrides.connections_max,
            token_grace_seconds: overrides.token_grace_seconds,
            cloud_to_device: (cloud_to_device != v1::CloudToDeviceOverrides::default()).then_some(cloud_to_device),
            etag: overrides.etag.0,
        }
    }
}

impl From<v1::CloudToDeviceOverrides> for CloudToDeviceOverrides {
    fn from(message: v1::CloudToDeviceOverrides) -> Self {
        Self {
            default_ttl_seconds: message.default_ttl_seconds,
            delivery_count_max: message.delivery_count_max,
            feedback_ttl_seconds: message.feedback_ttl_seconds,
            feedback_lock_seconds: message.feedback_lock_seconds,
            feedback_delivery_count_max: message.feedback_delivery_count_max,
        }
    }
}

impl From<CloudToDeviceOverrides> for v1::CloudToDeviceOverrides {
    fn from(overrides: CloudToDeviceOverrides) -> Self {
        Self {
            default_ttl_seconds: overrides.default_ttl_seconds,
            delivery_count_max: overrides.delivery_count_max,
            feedback_ttl_seconds: overrides.feedback_ttl_seconds,
            feedback_lock_seconds: overrides.feedback_lock_seconds,
            feedback_delivery_count_max: overrides.feedback_delivery_count_max,
        }
    }
}
