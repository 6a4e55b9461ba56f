//! What lies on disk: one key-value store, RocksDB, for all groups of a process.
//!
//! ```text
//!   table `log`            entries, votes and purge marks of all groups, written by one thread, synced
//!   table `state-G-N`      rows of group G (generation N), written by apply, not synced: the log has it
//! ```
//!
//! Both share one WAL, so what is applied never becomes durable before the entry it came from, and one fsync serves
//! the appends of every group that waits. State is on disk already, so a snapshot is metadata until a replica needs it.
//!
//! [`KeyValue`] is all that is asked of a disk; the simulation (`tests/sim`) puts a pretended one under it.

mod database;
mod disk_reserve;
mod effects;
mod error;
mod key_value;
pub mod keys;
mod log_store;
mod log_tail;
mod log_writer;
mod memory;
mod rocks;
mod rows;
mod snapshot;
mod state_machine;
mod view;

pub use database::Database;
pub use disk_reserve::DiskReserve;
pub use effects::{EffectReceiver, Effects};
pub use error::{OpenError, StoreError};
pub(crate) use key_value::off_thread;
pub use key_value::{Batch, Change, KeyRange, KeyValue, KeyValueView, Visitor};
pub use log_store::LogStore;
pub use log_writer::LogWriter;
pub use memory::MemoryStore;
pub use rocks::{Options, RocksStore};
pub use rows::{Changes, MemoryRows, Rows, Transaction};
pub use snapshot::{Pages, SnapshotData, Staged};
pub use state_machine::StateMachine;
pub use view::{Table, View};

#[cfg(test)]
mod tests;
