//! What is set for the whole hub, as `/ironhub/v1/settings` spells it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is missing is what the configuration of each process says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// How long events are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3650))]
    pub retention_time_in_days: Option<u32>,
    /// The same in hours; not both.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 87_600))]
    pub retention_time_in_hours: Option<u32>,
    /// Body and properties of a message, bytes. Only lowers what the processes allow.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024, max = 262_144))]
    pub message_bytes_max: Option<u32>,
    /// Topic filters of one MQTT session. Only lowers what the processes allow.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 50))]
    pub subscriptions_max: Option<u32>,
    /// Connections of one gateway at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub connections_max: Option<u32>,
    /// A connection lives on so long after its token expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86_400))]
    pub token_grace_seconds: Option<u32>,
    /// Messages for devices.
    pub cloud_to_device: CloudToDevice,
}

/// Messages for devices. Durations are those of ISO 8601 in weeks, days, hours, minutes and whole seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CloudToDevice {
    /// How long a message waits for its device when its sender does not say: PT1M to P2D.
    #[serde(rename = "defaultTtlAsIso8601", skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^P(\d+W)?(\d+D)?(T(\d+H)?(\d+M)?(\d+S)?)?$"), length(max = 32))]
    pub default_ttl: Option<String>,
    /// How often a message may be given back; then it is dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max_delivery_count: Option<u32>,
    /// What back ends hear of their messages.
    pub feedback: Feedback,
}

/// What back ends hear of their messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Feedback {
    /// How long it is kept: PT1M to P2D.
    #[serde(rename = "ttlAsIso8601", skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^P(\d+W)?(\d+D)?(T(\d+H)?(\d+M)?(\d+S)?)?$"), length(max = 32))]
    pub ttl: Option<String>,
    /// How long a back end may have it in hand: PT5S to PT5M.
    #[serde(rename = "lockDurationAsIso8601", skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^P(\d+W)?(\d+D)?(T(\d+H)?(\d+M)?(\d+S)?)?$"), length(max = 32))]
    pub lock_duration: Option<String>,
    /// How often it may be given back; then it is dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max_delivery_count: Option<u32>,
}
