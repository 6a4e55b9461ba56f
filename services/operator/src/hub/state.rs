//! What there is in the hub.

use model::{Overrides, Rights, parse_duration_seconds};
use serde::Deserialize;

use super::{HubClient, HubError};
use crate::resource::Settings;

/// Everything of a hub that an `IotHub` can name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HubState {
    pub policies: Vec<HubPolicy>,
    pub certificates: Vec<HubCertificate>,
    /// Without `$Default`.
    pub consumer_groups: Vec<HubConsumerGroup>,
    pub settings: Overrides,
    pub settings_etag: String,
    pub cluster: Cluster,
}

/// A policy of the hub.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HubPolicy {
    #[serde(rename = "keyName")]
    pub name: String,
    pub primary_key: String,
    pub secondary_key: String,
    pub rights: String,
    pub etag: String,
}

impl HubPolicy {
    /// What it allows.
    pub fn rights(&self) -> Rights {
        Rights::parse(&self.rights).unwrap_or_default()
    }
}

/// Without the keys.
impl std::fmt::Debug for HubPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name, self.rights)
    }
}

/// A certificate of the hub.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct HubCertificate {
    pub name: String,
    pub etag: String,
    pub properties: CertificateProperties,
}

/// What is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateProperties {
    #[serde(default)]
    pub subject: Option<String>,
    #[serde(default)]
    pub expiry: Option<String>,
    #[serde(default)]
    pub thumbprint: Option<String>,
    pub is_verified: bool,
    /// DER in base64.
    pub certificate: String,
}

/// A consumer group of the hub.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct HubConsumerGroup {
    pub name: String,
    pub etag: String,
}

/// The shard nodes and the groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    pub replication: u32,
    pub is_settled: bool,
    pub nodes: Vec<Node>,
    pub groups: Vec<Group>,
}

/// A disk that takes part in the hub.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    pub node_id: String,
    /// That of its pod; of a member that has not registered, its id.
    pub name: String,
    pub state: NodeState,
    /// UTC; texts in the order of the times.
    pub registered: String,
    pub is_reachable: bool,
    pub leaders: u32,
    pub replicas: u32,
    pub learners: u32,
}

impl Node {
    /// Whether no group is on it, or on its way there.
    pub fn is_empty(&self) -> bool {
        self.leaders + self.replicas + self.learners == 0
    }
}

/// What is wanted of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    Active,
    Draining,
    Removed,
}

impl NodeState {
    /// As the hub spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Removed => "removed",
        }
    }
}

/// A group of devices, or `hub`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Group {
    pub group: String,
    pub leader: Option<String>,
    /// What happens to it; empty: nothing.
    pub doing: String,
}

#[derive(Deserialize)]
struct List<T> {
    value: Vec<T>,
}

#[derive(Deserialize)]
struct SettingsAnswer {
    etag: String,
    #[serde(flatten)]
    settings: Settings,
}

impl HubState {
    /// Asks for one part after the other.
    pub(super) async fn read(client: &HubClient) -> Result<Self, HubError> {
        let cluster = client.get(&["cluster"]).await?;
        let policies: List<HubPolicy> = client.get(&["policies"]).await?;
        let certificates: List<HubCertificate> = client.get(&["certificates"]).await?;
        let groups: List<HubConsumerGroup> = client.get(&["consumer-groups"]).await?;
        let answer: SettingsAnswer = client.get(&["settings"]).await?;
        let is_ours = |group: &HubConsumerGroup| group.name != model::DEFAULT_CONSUMER_GROUP;
        Ok(Self {
            policies: policies.value,
            certificates: certificates.value,
            consumer_groups: groups.value.into_iter().filter(is_ours).collect(),
            settings: overrides(&answer.settings),
            settings_etag: answer.etag,
            cluster,
        })
    }
}

/// What the hub says of its settings. It answers hours always, and days beside whole ones.
fn overrides(settings: &Settings) -> Overrides {
    let seconds = |text: &Option<String>| text.as_deref().and_then(parse_duration_seconds);
    let to_devices = &settings.cloud_to_device;
    Overrides {
        event_retention_hours: settings.retention_time_in_hours,
        message_bytes_max: settings.message_bytes_max,
        subscriptions_max: settings.subscriptions_max,
        connections_max: settings.connections_max,
        token_grace_seconds: settings.token_grace_seconds,
        cloud_to_device: model::CloudToDeviceOverrides {
            default_ttl_seconds: seconds(&to_devices.default_ttl),
            delivery_count_max: to_devices.max_delivery_count,
            feedback_ttl_seconds: seconds(&to_devices.feedback.ttl),
            feedback_lock_seconds: seconds(&to_devices.feedback.lock_duration),
            feedback_delivery_count_max: to_devices.feedback.max_delivery_count,
        },
        ..Overrides::default()
    }
}
