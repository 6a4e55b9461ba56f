//! The state of one group and what changes it: deterministic, no clock, no randomness, no configuration.
//!
//! ```text
//!   Proposal (commands + time) --apply--> rows in one batch, a result for each command, effects
//!   Read                       --read---> ReadResult
//! ```
//!
//! Every replica applies the same proposals to the same rows and gets the same rows. Effects say what changed for
//! others; only the leader performs them, and they die with it (design "Pushes are level-triggered").

mod apply;
mod backup;
mod bulk;
mod cluster;
mod commands;
mod edge;
mod effect;
mod feedback;
mod file_notifications;
pub mod keys;
mod presence;
mod queue;
mod read;
mod registry;
mod rows;
mod session;
mod settings;
mod statistics;
mod twin;

pub use apply::{Applied, apply};
pub use backup::exported;
pub use cluster::{Cluster, cluster};
pub use commands::{expired_clients, is_expired};
pub use effect::Effect;
pub use feedback::batch as feedback_batch;
pub use file_notifications::notification as file_notification;
pub use presence::{StoredPresence, connected_after};
#[cfg(test)]
pub use queue::messages;
pub use queue::{count as queued_count, has_expired, received};
pub use read::{credentials, read, subscriptions, twin_document};
pub use rows::entry_time;
pub use session::changes_nothing;
pub use settings::settings;
pub use statistics::statistics;
pub use twin::{desired_version, missed_deltas};

#[cfg(test)]
mod tests;
