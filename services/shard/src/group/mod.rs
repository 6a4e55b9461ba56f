//! One Raft group on this node, as the rest of the shard uses it: propose, read, lead, hear of effects.
//!
//! ```text
//!   propose --> queue --> entry of many commands --> log (fsync) --> majority --> apply --> result
//!   read    --> one read-index round for all who wait ----------------------------------> view of the rows
//!   leader  --> an entry of its own, its log index is the fence --> read-index round --> Leading { fence }
//! ```

mod config;
mod entry_clock;
mod founding;
mod handle;
mod leadership;
mod log_retention;
mod node;
mod proposer;
mod reads;
mod refusal;

pub use config::{Config, Member};
pub use founding::Founder;
pub use handle::Group;
pub use leadership::Leadership;
pub use node::{Environment, Health, Node};
pub use refusal::Refusal;

#[cfg(test)]
mod tests;
