//! Raft between replicas: openraft's types filled in, our messages, and the gRPC between nodes.
//!
//! Only this folder, [`crate::store`] and [`crate::group`] name openraft; disks and wires carry `proto::raft`.

mod clocks;
pub mod convert;
mod network;
mod server;
mod types;

pub use clocks::Clocks;
pub use network::{Connect, Network, Peers};
pub use server::{RaftService, Served};
pub use types::{Entry, LogId, Membership, NodeId, Raft, SnapshotMeta, StoredMembership, TypeConfig, Vote};
