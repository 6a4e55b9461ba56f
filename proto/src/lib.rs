//! What services say to each other and what lies on disks: generated messages, and their conversions to `model`.

/// Records of the event log.
pub mod event {
    #[allow(clippy::all, missing_docs)]
    pub mod v1 {
        tonic::include_proto!("ironhub.event.v1");
    }
}

/// Commands, reads and live sessions of the shard service.
pub mod shard {
    #[allow(clippy::all, missing_docs)]
    pub mod v1 {
        tonic::include_proto!("ironhub.shard.v1");
    }
}

/// Log entries and replication.
pub mod raft {
    #[allow(clippy::all, missing_docs)]
    pub mod v1 {
        tonic::include_proto!("ironhub.raft.v1");
    }
}

/// Metadata of a refused stream (`Attach`, `WatchSettings`): the node id of the group's leader, when known.
pub const LEADER_NODE_ID: &str = "ironhub-leader-node-id";

/// Metadata of a call between nodes: the node id that is meant. Another node that lives at the address by now refuses it.
pub const TO_NODE_ID: &str = "ironhub-to-node-id";

mod convert;
mod record;
mod settings;
mod twin;

pub use convert::InvalidMessage;
pub use record::{RecordField, RecordFields, decode_record, encode_record, encode_record_with_body, view_record};
pub use twin::checked_patch;
