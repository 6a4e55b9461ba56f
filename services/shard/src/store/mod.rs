//! What lies on disk: one RocksDB for all groups of a process.
//!
//! ```text
//!   column family `log`            entries, votes and purge marks of all groups, written by one thread, synced
//!   column family `state-G-N`      rows of group G (generation N), written by apply, not synced: the log has it
//! ```
//!
//! Both share one WAL, so what is applied never becomes durable before the entry it came from, and one fsync serves
//! the appends of every group that waits. State is on disk already, so a snapshot is metadata until a replica needs it.

mod database;
mod disk_reserve;
mod effects;
mod error;
pub mod keys;
mod log_store;
mod log_tail;
mod log_writer;
mod rows;
mod snapshot;
mod state_machine;
mod view;

pub use database::{Database, Options};
pub use disk_reserve::DiskReserve;
pub use effects::{EffectReceiver, Effects};
pub use error::{OpenError, StoreError};
pub use log_store::LogStore;
pub use log_writer::LogWriter;
pub use rows::{Changes, MemoryRows, Rows, Transaction};
pub use snapshot::{ReceivedFiles, SnapshotData, write_files};
pub use state_machine::StateMachine;
pub use view::{Table, View};

#[cfg(test)]
mod tests;
