//! One step towards what is wanted.

use std::fmt;

use model::{Overrides, Rights, SymmetricKey};

/// What is done. All of them may be done twice; those with an ETag only while the hub is as it was seen.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    PutPolicy {
        name: String,
        etag: Option<String>,
        rights: Rights,
        primary: Option<SymmetricKey>,
        secondary: Option<SymmetricKey>,
    },
    DeletePolicy {
        name: String,
        etag: String,
    },
    /// `is_verified` unset: as it was, if the certificate is the same.
    PutCertificate {
        name: String,
        etag: Option<String>,
        certificate: String,
        is_verified: Option<bool>,
    },
    GenerateVerificationCode {
        name: String,
        etag: String,
    },
    VerifyCertificate {
        name: String,
        etag: String,
        proof: String,
    },
    DeleteCertificate {
        name: String,
        etag: String,
    },
    PutConsumerGroup {
        name: String,
    },
    DeleteConsumerGroup {
        name: String,
        etag: String,
    },
    PutSettings {
        etag: String,
        settings: Overrides,
    },
    SetReplication {
        replication: u32,
    },
    ActivateNode {
        node_id: String,
        name: String,
    },
    DrainNode {
        node_id: String,
        name: String,
    },
    RemoveNode {
        node_id: String,
        name: String,
        why: Removal,
    },
    /// A disk that no node of the hub has any more, so that its pod gets a new one. A claim of that name with another `uid`
    /// is another disk.
    DeleteClaim {
        name: String,
        uid: String,
    },
    /// The size of the StatefulSet, as is wanted.
    Resize {
        from: u32,
        to: u32,
    },
    /// The size of the StatefulSet, so that shards that ended without handing over run again on their disks.
    CallBack {
        from: u32,
        to: u32,
    },
}

/// Why a node goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Its pod has another disk, which is another node.
    Replaced,
    /// It carries nothing any more and its pod is not wanted.
    Drained,
}

impl Action {
    /// One word for events and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::PutPolicy { .. } => "PolicyWritten",
            Self::DeletePolicy { .. } => "PolicyDeleted",
            Self::PutCertificate { .. } => "CertificateWritten",
            Self::GenerateVerificationCode { .. } => "VerificationCodeGenerated",
            Self::VerifyCertificate { .. } => "CertificateVerified",
            Self::DeleteCertificate { .. } => "CertificateDeleted",
            Self::PutConsumerGroup { .. } => "ConsumerGroupCreated",
            Self::DeleteConsumerGroup { .. } => "ConsumerGroupDeleted",
            Self::PutSettings { .. } => "SettingsWritten",
            Self::SetReplication { .. } => "ReplicationChanged",
            Self::ActivateNode { .. } => "ShardActivated",
            Self::DrainNode { .. } => "ShardDraining",
            Self::RemoveNode { .. } => "ShardRemoved",
            Self::DeleteClaim { .. } => "ClaimDeleted",
            Self::Resize { .. } => "Resized",
            Self::CallBack { .. } => "ShardsCalledBack",
        }
    }

    /// Whether it is about shards, not about settings.
    pub fn is_of_shards(&self) -> bool {
        matches!(
            self,
            Self::SetReplication { .. }
                | Self::ActivateNode { .. }
                | Self::DrainNode { .. }
                | Self::RemoveNode { .. }
                | Self::DeleteClaim { .. }
                | Self::Resize { .. }
                | Self::CallBack { .. }
        )
    }
}

/// For people; never a key.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PutPolicy { name, etag: None, rights, .. } => write!(f, "creates the policy {name} with {rights}"),
            Self::PutPolicy { name, rights, .. } => write!(f, "changes keys or rights of the policy {name}, {rights}"),
            Self::DeletePolicy { name, .. } => {
                write!(f, "deletes the policy {name}; who uses its keys is disconnected")
            }
            Self::PutCertificate { name, .. } => write!(f, "registers the certificate {name}"),
            Self::GenerateVerificationCode { name, .. } => {
                write!(f, "asks for a verification code for the certificate {name}, which the status shows")
            }
            Self::VerifyCertificate { name, .. } => write!(f, "hands in the proof for the certificate {name}"),
            Self::DeleteCertificate { name, .. } => {
                write!(f, "deletes the certificate {name}; devices that it vouched for are disconnected")
            }
            Self::PutConsumerGroup { name } => write!(f, "creates the consumer group {name}"),
            Self::DeleteConsumerGroup { name, .. } => write!(f, "deletes the consumer group {name}"),
            Self::PutSettings { .. } => f.write_str("changes the settings of the hub"),
            Self::SetReplication { replication } => write!(f, "keeps each group on {replication} shards"),
            Self::ActivateNode { node_id, name } => write!(f, "gives {name} ({node_id}) its share again"),
            Self::DrainNode { node_id, name } => write!(f, "moves everything off {name} ({node_id})"),
            Self::RemoveNode { node_id, name, why: Removal::Replaced } => {
                write!(f, "removes the node {node_id}, whose disk {name} does not have any more")
            }
            Self::RemoveNode { node_id, name, why: Removal::Drained } => {
                write!(f, "removes {name} ({node_id}), which carries nothing any more")
            }
            Self::DeleteClaim { name, .. } => {
                write!(
                    f,
                    "deletes the claim {name}: its disk belonged to a shard that was removed and never comes back"
                )
            }
            Self::Resize { from, to } => write!(f, "changes the StatefulSet from {from} to {to} shards"),
            Self::CallBack { from, to } => {
                write!(
                    f,
                    "changes the StatefulSet from {from} to {to} shards: some ended without handing over what they have"
                )
            }
        }
    }
}
