//! Raft between replicas: openraft's types filled in, our messages, and the gRPC between nodes.
//!
//! ```text
//!   group -> network -> exchange ==one stream to each peer==> answers -> group of the other node
//!            network -> snapshots --one call for each-------> snapshots -> store of the other node
//! ```
//!
//! - `network`, `peers`: openraft's way out, over one connection to each node.
//! - `exchange`, `answers`: both ends of the stream that carries the votes, heartbeats and entries of all groups.
//! - `snapshots`, `transfers`: the rows of a group, a few snapshots at once.
//! - `rhythm`: when timers go off.
//! - `succession`: who asks for votes when a leader's stream has ended.
//! - `server`: what other nodes call.
//!
//! Only this folder, [`crate::store`] and [`crate::group`] name openraft; disks and wires carry `proto::raft`.

mod answers;
mod clocks;
pub mod convert;
mod exchange;
mod network;
mod peers;
pub mod rhythm;
mod server;
mod snapshots;
mod succession;
mod to_node;
mod transfers;
mod types;

pub use clocks::Clocks;
pub use network::Network;
pub use peers::{Connect, Peers};
pub use server::{RaftService, Served};
pub use to_node::ToNode;
pub use transfers::Transfers;
pub use types::{Entry, LogId, Membership, NodeId, Raft, SnapshotMeta, StoredMembership, TypeConfig, Vote};

#[cfg(test)]
mod tests;
