//! The shard service: the hub's state, replicated by Raft.
//!
//! ```text
//!   gateways --gRPC--> service ----commands, reads----> group --entries--> raft --> store (RocksDB)
//!                         |                               |                            |
//!                         +--attach--> sessions <--effects+---------apply: state <-----+
//! ```
//!
//! - [`state`]: what a group's rows mean; applying commands and reading, deterministic.
//! - [`store`]: rows and Raft logs of all groups in one RocksDB.
//! - [`raft`]: openraft's types, its network over gRPC.
//! - [`group`]: one Raft group on this node: proposing, reading, leadership.
//! - [`sessions`]: the live connections of a group, in its leader's memory.
//! - [`receivers`]: who reads which partition of the events, in the memory of the `hub` group's leader.
//! - [`membership`]: which nodes carry which groups, and how replicas and leaders move.
//! - [`service`]: the gRPC services for gateways, and the tasks of a leader.
//!
//! It knows no MQTT, AMQP or HTTP. A group never writes to another group.

pub mod group;
pub mod membership;
mod metrics;
pub mod raft;
pub mod receivers;
pub mod service;
pub mod sessions;
pub mod state;
pub mod store;

pub use group::Config;
pub use metrics::ShardMetrics;
pub use service::Shard;
