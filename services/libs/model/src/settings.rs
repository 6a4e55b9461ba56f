//! The hub's settings: what the `hub` group keeps and every gateway watches.

use bytes::Bytes;

use crate::{ETag, SharedAccessPolicy, Timestamp};

/// Settings of the hub at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HubSettings {
    /// Grows by one with every change; 0 before the hub was initialised.
    pub revision: u64,
    /// Number of device groups, chosen when the hub is created, never changed.
    pub groups: u32,
    pub policies: Vec<SharedAccessPolicy>,
    /// Certificate authorities that devices may be signed by (security §8).
    pub certificates: Vec<RegisteredCertificate>,
    /// Readers of the events, beside [`DEFAULT_CONSUMER_GROUP`], which every hub has.
    pub consumer_groups: Vec<ConsumerGroup>,
    pub overrides: Overrides,
    /// When the hub was initialised; set by the hub group.
    pub created: Timestamp,
}

/// Policies of a hub.
pub const POLICIES_MAX: usize = 16;
/// Registered certificates of a hub.
pub const CERTIFICATES_MAX: usize = 25;
/// Consumer groups of a hub, the default one not counted (messaging §2.3).
pub const CONSUMER_GROUPS_MAX: usize = 20;
/// Bytes of a registered certificate, DER.
pub const CERTIFICATE_BYTES_MAX: usize = 8 * 1024;
/// The consumer group that is always there.
pub const DEFAULT_CONSUMER_GROUP: &str = "$Default";

impl HubSettings {
    /// The policy of that name; names compare without case (security §5.1).
    pub fn policy(&self, name: &str) -> Option<&SharedAccessPolicy> {
        self.policies.iter().find(|policy| policy.name.eq_ignore_ascii_case(name))
    }

    /// The certificate of that name; names compare without case.
    pub fn certificate(&self, name: &str) -> Option<&RegisteredCertificate> {
        self.certificates.iter().find(|certificate| certificate.name.eq_ignore_ascii_case(name))
    }

    /// The consumer group of that name; names compare without case.
    pub fn consumer_group(&self, name: &str) -> Option<&ConsumerGroup> {
        self.consumer_groups.iter().find(|group| group.name.eq_ignore_ascii_case(name))
    }
}

/// A certificate authority, root or intermediate, that the owner has registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredCertificate {
    pub name: String,
    pub der: Bytes,
    /// Whether somebody has shown that the private key is the owner's, or the owner said so; else it opens nothing.
    pub is_verified: bool,
    /// What the next proof of possession must name; used once.
    pub verification_code: Option<String>,
    /// Set by the hub group, like the times.
    pub etag: ETag,
    pub created: Timestamp,
    pub updated: Timestamp,
}

/// A reader of the events with a place of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerGroup {
    pub name: String,
    /// Set by the hub group, like the time.
    pub etag: ETag,
    pub created: Timestamp,
}

/// What the owner sets for the whole hub at run time; `None` leaves it to the configuration of each process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// How long events are kept.
    pub event_retention_hours: Option<u32>,
    /// Body and properties of a message, bytes. Only lowers what the processes allow.
    pub message_bytes_max: Option<u32>,
    /// Topic filters of one MQTT session. Only lowers what the processes allow.
    pub subscriptions_max: Option<u32>,
    /// Connections of one gateway at the same time.
    pub connections_max: Option<u32>,
    /// A connection lives on so long after its token expired.
    pub token_grace_seconds: Option<u32>,
    pub cloud_to_device: CloudToDeviceOverrides,
    /// Set by the hub group.
    pub etag: ETag,
}

impl Overrides {
    /// One hour to ten years.
    pub const EVENT_RETENTION_HOURS: std::ops::RangeInclusive<u32> = 1..=87_600;
    /// Up to the 256 KiB that clients know (messaging §1.4).
    pub const MESSAGE_BYTES: std::ops::RangeInclusive<u32> = 1024..=262_144;
    pub const SUBSCRIPTIONS: std::ops::RangeInclusive<u32> = 1..=50;
    pub const CONNECTIONS: std::ops::RangeInclusive<u32> = 1..=10_000_000;
    /// Up to a day.
    pub const TOKEN_GRACE_SECONDS: std::ops::RangeInclusive<u32> = 0..=86_400;

    /// Names the first value that is out of its range.
    pub fn check(&self) -> Result<(), String> {
        for (name, value, range) in [
            ("retentionTimeInHours", self.event_retention_hours, Self::EVENT_RETENTION_HOURS),
            ("messageBytesMax", self.message_bytes_max, Self::MESSAGE_BYTES),
            ("subscriptionsMax", self.subscriptions_max, Self::SUBSCRIPTIONS),
            ("connectionsMax", self.connections_max, Self::CONNECTIONS),
            ("tokenGraceSeconds", self.token_grace_seconds, Self::TOKEN_GRACE_SECONDS),
        ] {
            if value.is_some_and(|value| !range.contains(&value)) {
                return Err(format!("{name} must be between {} and {}", range.start(), range.end()));
            }
        }
        self.cloud_to_device.check()
    }
}

/// What the owner sets of messages for devices and the feedback about them (messaging §4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CloudToDeviceOverrides {
    /// How long a message waits for its device when its sender does not say.
    pub default_ttl_seconds: Option<u32>,
    /// How often a message may be given back; then it is dropped.
    pub delivery_count_max: Option<u32>,
    /// How long feedback is kept for back ends.
    pub feedback_ttl_seconds: Option<u32>,
    /// How long a back end may have feedback in hand.
    pub feedback_lock_seconds: Option<u32>,
    /// How often feedback may be given back; then it is dropped.
    pub feedback_delivery_count_max: Option<u32>,
}

impl CloudToDeviceOverrides {
    /// One minute to two days.
    pub const TTL_SECONDS: std::ops::RangeInclusive<u32> = 60..=172_800;
    pub const LOCK_SECONDS: std::ops::RangeInclusive<u32> = 5..=300;
    pub const DELIVERY_COUNT: std::ops::RangeInclusive<u32> = 1..=100;

    fn check(&self) -> Result<(), String> {
        let ttl = (Self::TTL_SECONDS, "PT1M and P2D");
        let lock = (Self::LOCK_SECONDS, "PT5S and PT5M");
        let count = (Self::DELIVERY_COUNT, "1 and 100");
        for (name, value, (range, bounds)) in [
            ("defaultTtlAsIso8601", self.default_ttl_seconds, &ttl),
            ("maxDeliveryCount", self.delivery_count_max, &count),
            ("feedback.ttlAsIso8601", self.feedback_ttl_seconds, &ttl),
            ("feedback.lockDurationAsIso8601", self.feedback_lock_seconds, &lock),
            ("feedback.maxDeliveryCount", self.feedback_delivery_count_max, &count),
        ] {
            if value.is_some_and(|value| !range.contains(&value)) {
                return Err(format!("cloudToDevice.{name} must be between {bounds}"));
            }
        }
        Ok(())
    }
}

/// Why the settings of a section cannot be so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSettings {
    #[error("a hub has at most {0} {1}")]
    TooMany(usize, &'static str),
    #[error("one policy with all four rights must remain, or nobody could change the settings any more")]
    NoOwner,
    #[error("{0}")]
    Value(String),
}

/// Checks all policies of a hub together (security §5).
pub fn check_policies(policies: &[SharedAccessPolicy]) -> Result<(), InvalidSettings> {
    check_names(policies.iter().map(|policy| policy.name.as_str()), POLICIES_MAX, "policies", |character| {
        character.is_ascii_alphanumeric() || "_-@.".contains(character)
    })?;
    if policies.iter().any(|policy| policy.rights.is_empty()) {
        return Err(InvalidSettings::Value("a policy grants at least one right".to_owned()));
    }
    if policies.iter().any(|policy| policy.rights.are_all()) { Ok(()) } else { Err(InvalidSettings::NoOwner) }
}

/// Checks all registered certificates of a hub together; whether they are certificates is checked by who registers them.
pub fn check_certificates(certificates: &[RegisteredCertificate]) -> Result<(), InvalidSettings> {
    let names = certificates.iter().map(|certificate| certificate.name.as_str());
    check_names(names, CERTIFICATES_MAX, "certificates", |character| {
        character.is_ascii_alphanumeric() || "_-.".contains(character)
    })?;
    if certificates.iter().any(|certificate| certificate.der.len() > CERTIFICATE_BYTES_MAX) {
        return Err(InvalidSettings::Value(format!("a certificate has at most {CERTIFICATE_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// Checks all consumer groups of a hub together; the default one is none of them.
pub fn check_consumer_groups(groups: &[ConsumerGroup]) -> Result<(), InvalidSettings> {
    let names = groups.iter().map(|group| group.name.as_str());
    check_names(names, CONSUMER_GROUPS_MAX, "consumer groups beside $Default", |character| {
        character.is_ascii_alphanumeric() || "_-.".contains(character)
    })
}

fn check_names<'a>(
    names: impl Iterator<Item = &'a str> + Clone,
    count_max: usize,
    what: &'static str,
    may_contain: impl Fn(char) -> bool,
) -> Result<(), InvalidSettings> {
    const NAME_BYTES_MAX: usize = 64;
    if names.clone().count() > count_max {
        return Err(InvalidSettings::TooMany(count_max, what));
    }
    for (position, name) in names.clone().enumerate() {
        if !(1..=NAME_BYTES_MAX).contains(&name.len()) || !name.chars().all(&may_contain) {
            let form = "1 to 64 letters, digits, '-', '_' and '.' (policies: '@' as well)";
            return Err(InvalidSettings::Value(format!("the name {name:?} is not valid: a name has {form}")));
        }
        if names.clone().take(position).any(|earlier| earlier.eq_ignore_ascii_case(name)) {
            return Err(InvalidSettings::Value(format!("the name {name:?} is there twice")));
        }
    }
    Ok(())
}
