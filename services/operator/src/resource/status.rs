//! How the hub is, for people and for `kubectl wait`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the hub is, as of the last look.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IotHubStatus {
    /// Which version of the spec this is about.
    pub observed_generation: i64,
    /// `Ready`, `SettingsApplied`, `ShardsSettled` and `Degraded`.
    pub conditions: Vec<Condition>,
    /// The shards, in the order of their numbers.
    pub shards: ShardsStatus,
    /// The groups of devices, and the one of the hub's settings.
    pub groups: GroupsStatus,
    /// The certificates of the spec.
    pub certificates: Vec<CertificateStatus>,
    /// What is deleted from the hub when it is taken off the spec.
    pub managed: Managed,
}

/// As Kubernetes has them everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word, for programs.
    pub reason: String,
    /// What is the case, and what to do about it.
    pub message: String,
    /// Since when `status` is so.
    pub last_transition_time: String,
    pub observed_generation: i64,
}

impl IotHubStatus {
    /// The one of that type.
    pub fn condition(&self, type_: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.type_ == type_)
    }
}

impl Condition {
    /// The hub answers, every group has a leader, and the settings are those of the resource.
    pub const READY: &str = "Ready";
    /// The hub has what the resource says; `Unknown` as long as it is silent.
    pub const SETTINGS_APPLIED: &str = "SettingsApplied";
    /// As many shards as are wanted, and nothing is left to move.
    pub const SHARDS_SETTLED: &str = "ShardsSettled";
    /// A shard is away or takes no part.
    pub const DEGRADED: &str = "Degraded";

    /// Whether it is the case.
    pub fn is_true(&self) -> bool {
        self.status == "True"
    }
}

/// The shards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ShardsStatus {
    /// The size of the StatefulSet.
    pub running: u32,
    /// Pods that are ready.
    pub ready: u32,
    /// Numbers of shards that are removed from the hub, or about to be, and whose pods have not ended. They end, whatever is
    /// wanted by then: their disks are of no use any more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removing: Vec<u32>,
    pub nodes: Vec<NodeStatus>,
}

/// A disk that takes part in the hub, or leaves it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// That of its pod.
    pub name: String,
    pub node_id: String,
    /// `active`, `draining` or `removed`.
    pub state: String,
    pub is_reachable: bool,
    /// Groups that it has a vote in.
    pub replicas: u32,
}

/// The groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupsStatus {
    pub total: u32,
    /// Where nothing is left to do.
    pub settled: u32,
    /// Where replicas or leaders are on their way, or wait.
    pub moving: u32,
    /// Where nobody leads: the devices in them cannot connect.
    pub leaderless: u32,
}

/// A certificate of the spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    pub name: String,
    pub subject: String,
    /// SHA-1, hexadecimal.
    pub thumbprint: String,
    pub expiry: String,
    pub is_verified: bool,
    /// What a certificate that proves possession of the private key has as common name; used once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification_code: Option<String>,
}

/// Names of what came from the spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Managed {
    pub policies: Vec<String>,
    pub certificates: Vec<String>,
    pub consumer_groups: Vec<String>,
}
