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
mod gate;
mod handle;
mod leadership;
mod log_retention;
mod members;
mod node;
mod proposer;
mod reads;
mod refusal;
mod transfer;
mod wipe;

pub use config::{Config, Member};
pub use founding::Founder;
pub use handle::Group;
pub use leadership::Leadership;
pub use members::{ChangeError, Description, Leading, MemberChange};
pub use node::{Environment, Health, Node};
pub use refusal::Refusal;
pub use transfer::TransferError;
pub use wipe::WipeError;

#[cfg(test)]
mod tests;
