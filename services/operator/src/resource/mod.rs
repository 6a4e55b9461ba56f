//! `IotHub`, the custom resource: how a hub is wanted, and how it is.
//!
//! Names, limits and spellings are those of the settings API (`/ironhub/v1`), which has those of the management plane. The
//! schema refuses what can be seen to be wrong without looking anywhere else; the rest is for [`crate::validate`]. What is
//! not named is left as it is in the hub.

#![allow(clippy::duplicated_attributes, reason = "every printer column has a type, and several the same")]

mod definition;
mod settings;
mod status;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use definition::definition;
pub use settings::{CloudToDevice, Feedback, Settings};
pub use status::{CertificateStatus, Condition, GroupsStatus, IotHubStatus, Managed, NodeStatus, ShardsStatus};

/// How a hub is wanted. What is missing is left as it is.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "ironhub.dev",
    version = "v1alpha1",
    kind = "IotHub",
    plural = "iothubs",
    namespaced,
    status = "IotHubStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "The settings and the size of a hub, kept as they are written here by `ironhub operator`.",
    scale(spec_replicas_path = ".spec.shards", status_replicas_path = ".status.shards.running"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Shards", type_ = "integer", json_path = ".status.shards.running"),
    printcolumn(name = "Wanted", type_ = "integer", json_path = ".spec.shards"),
    printcolumn(name = "Groups", type_ = "integer", json_path = ".status.groups.total"),
    printcolumn(name = "Moving", type_ = "integer", json_path = ".status.groups.moving"),
    printcolumn(
        name = "Settled",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='ShardsSettled')].status"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.drainedShards) || !has(self.shards) || self.drainedShards.all(n, n < self.shards)")
        .message("drainedShards are numbers of shards there are, from 0 on")
)]
pub struct IotHubSpec {
    /// How many shards there are. More join and get their share; fewer end once their replicas have moved, the highest
    /// numbers first. Missing: neither the StatefulSet nor its members are touched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub shards: Option<u32>,
    /// Shards by number that carry nothing although they run, such as before work on their machine. Who is not among them
    /// carries its share, so this is the place to drain a shard, and not `ironhub cluster drain`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub drained_shards: Vec<u32>,
    /// On how many shards each group of devices is kept. A hub that is made has 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication: Option<Replication>,
    /// Shared access policies. One that is taken off the list is deleted; those that were never on it are left alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub policies: Vec<Policy>,
    /// Authorities that devices may be signed by. One that is taken off the list is deleted, and the devices that it vouched
    /// for are disconnected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 25))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub certificates: Vec<Certificate>,
    /// Readers of the events, beside `$Default`. One that is taken off the list is deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(regex(pattern = r"^[A-Za-z0-9_.-]{1,64}$")))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub consumer_groups: Vec<String>,
    /// What is set for the whole hub. When this is there, what is missing in it is what the configuration of each process
    /// says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Settings>,
}

/// Copies of each group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Replication(pub u32);

impl Replication {
    const ALL: [u32; 3] = [1, 3, 5];
}

impl TryFrom<u32> for Replication {
    type Error = String;

    fn try_from(number: u32) -> Result<Self, String> {
        if Self::ALL.contains(&number) { Ok(Self(number)) } else { Err("the replication is 1, 3 or 5".to_owned()) }
    }
}

impl From<Replication> for u32 {
    fn from(replication: Replication) -> Self {
        replication.0
    }
}

impl JsonSchema for Replication {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Replication".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "integer", "enum": Self::ALL })
    }
}

/// A shared access policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    #[schemars(regex(pattern = r"^[A-Za-z0-9_.@-]{1,64}$"))]
    pub name: String,
    /// What it allows.
    #[schemars(length(min = 1, max = 4))]
    pub rights: Vec<Right>,
    /// Where its keys are. Without it the hub draws them; `ironhub policy show` prints them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_secret: Option<KeysSecret>,
}

/// One of the four rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Right {
    RegistryRead,
    RegistryWrite,
    ServiceConnect,
    DeviceConnect,
}

/// A Secret of the namespace with the keys of a policy: 16 to 64 bytes in base64, one of them or both. One that is missing
/// stays as it is, or is drawn. A change of the Secret holds within a minute or so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeysSecret {
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its entry with the primary key.
    #[serde(default = "primary_key")]
    #[schemars(length(min = 1, max = 253))]
    pub primary_key: String,
    /// Its entry with the secondary key.
    #[serde(default = "secondary_key")]
    #[schemars(length(min = 1, max = 253))]
    pub secondary_key: String,
}

fn primary_key() -> String {
    "primaryKey".to_owned()
}

fn secondary_key() -> String {
    "secondaryKey".to_owned()
}

/// The certificate of an authority, root or intermediate.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.certificate) != has(self.certificateSecret)")
        .message("a certificate is either in `certificate` or in a Secret that `certificateSecret` names")
)]
pub struct Certificate {
    #[schemars(regex(pattern = r"^[A-Za-z0-9_.-]{1,64}$"))]
    pub name: String,
    /// PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16_384))]
    pub certificate: Option<String>,
    /// Where it is instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_secret: Option<CertificateSecret>,
    /// Your word that its private key is yours. Else it opens nothing until `proof` shows it; then it stays verified.
    #[serde(default)]
    pub is_verified: bool,
    /// A certificate, PEM, that it signed and that has the verification code of the status as common name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16_384))]
    pub proof: Option<String>,
}

/// A Secret of the namespace with a certificate, such as one of cert-manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateSecret {
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its entry with the certificate.
    #[serde(default = "authority_certificate")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

fn authority_certificate() -> String {
    "ca.crt".to_owned()
}
