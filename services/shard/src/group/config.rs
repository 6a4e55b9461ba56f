use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    raft::NodeId,
    store::{self, OpenError},
};

/// What a shard node is made of. Times are in milliseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Names this node's disk among the nodes of the hub; never used again for another disk. 0: an empty disk draws one
    /// and keeps it.
    pub node_id: NodeId,
    /// Folder of the database. One process at a time.
    pub directory: PathBuf,
    /// Device groups of the hub; the group `hub` comes on top. Fixed when the hub is created.
    pub groups: u32,
    /// The voters that a new hub begins with, this node included; the one named first writes them down, so all name
    /// the same one. Empty: this node alone. Looked at once in the life of the store; later members come by
    /// membership change.
    pub initial_members: Vec<Member>,
    /// An empty store waits until it is founded ([`super::Founder`]) or made a member by others, whatever
    /// `initial_members` says.
    #[serde(skip)]
    pub joins: bool,
    /// URIs of other nodes, for one that no membership has reached and that makes itself known.
    #[serde(skip)]
    pub seeds: Vec<String>,

    /// URI of this node's services, as other nodes reach it. Empty: what `initial_members` says, or nobody does.
    #[serde(skip)]
    pub address: String,
    /// What people call this node, such as the name of its pod. Empty: its node id.
    pub name: String,

    /// How often a leader tells its followers that it lives.
    pub heartbeat_interval_milliseconds: u64,
    /// A follower that hears nothing for a time between these two asks for votes.
    pub election_timeout_min_milliseconds: u64,
    /// See `election_timeout_min_milliseconds`.
    pub election_timeout_max_milliseconds: u64,
    /// A leader whose clock differs more than this from those of a majority refuses to propose.
    pub clock_difference_max_milliseconds: u64,
    /// Longest wait for a command to be applied; then its outcome is unknown.
    pub propose_timeout_milliseconds: u64,
    /// Longest transfer of one group's snapshot.
    pub snapshot_timeout_milliseconds: u64,
    /// Snapshots that are sent at the same time, and as many that are received; others wait for their turn.
    pub snapshots_at_once_max: usize,

    /// Commands in one entry.
    pub commands_per_entry_max: usize,
    /// Bytes of one entry; also of one command.
    pub entry_bytes_max: usize,
    /// Entries of one group that are proposed and not yet applied.
    pub entries_in_flight_max: usize,
    /// Commands of one group that wait to be proposed.
    pub queued_commands_max: usize,
    /// Their bytes.
    pub queued_bytes_max: usize,
    /// Reads of one group that wait for a read-index round.
    pub queued_reads_max: usize,
    /// Effects of one group that wait to be performed; beyond it the leadership starts anew.
    pub queued_effects_max: usize,

    /// Newest entries of one group kept in memory.
    pub log_memory_bytes: usize,
    /// Entries of one group behind which the log is cut.
    pub log_entries_max: u64,
    /// Entries that are kept then, for followers that are a little behind.
    pub log_entries_kept: u64,
    /// Bytes of one group's log behind which it is cut, however few entries that are.
    pub log_bytes_max: u64,
    /// Free space that is left on the disk: below it commands are refused, reads go on.
    pub disk_reserve_bytes: u64,
    /// Rows of one group in memory before they go to a file.
    pub memtable_bytes: usize,
    /// The same for all groups together.
    pub memtables_bytes_max: usize,
    /// Blocks of files kept in memory.
    pub block_cache_bytes: usize,
    /// Write-ahead log of the database.
    pub wal_bytes_max: u64,
    /// Files that the database holds open.
    pub open_files_max: u32,
}

/// A voter of a new hub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    pub node_id: NodeId,
    /// URI of its Raft service, such as `http://shard-0:7600`.
    pub address: String,
}

impl Default for Config {
    fn default() -> Self {
        let database = store::Options::default();
        Self {
            node_id: 1,
            directory: "shard".into(),
            groups: 4,
            initial_members: Vec::new(),
            joins: false,
            seeds: Vec::new(),
            address: String::new(),
            name: String::new(),
            heartbeat_interval_milliseconds: 150,
            election_timeout_min_milliseconds: 600,
            election_timeout_max_milliseconds: 900,
            clock_difference_max_milliseconds: 5000,
            propose_timeout_milliseconds: 10_000,
            snapshot_timeout_milliseconds: 600_000,
            snapshots_at_once_max: 2,
            commands_per_entry_max: 512,
            entry_bytes_max: 1 << 20,
            entries_in_flight_max: 4,
            queued_commands_max: 8192,
            queued_bytes_max: 16 << 20,
            queued_reads_max: 8192,
            queued_effects_max: 16_384,
            log_memory_bytes: 2 << 20,
            log_entries_max: 10_000,
            log_entries_kept: 5_000,
            log_bytes_max: 32 << 20,
            disk_reserve_bytes: 256 << 20,
            memtable_bytes: database.memtable_bytes,
            memtables_bytes_max: database.memtables_bytes_max,
            block_cache_bytes: database.block_cache_bytes,
            wal_bytes_max: database.wal_bytes_max,
            open_files_max: database.open_files_max,
        }
    }
}

impl Config {
    pub(super) fn database_options(&self) -> store::Options {
        store::Options {
            memtable_bytes: self.memtable_bytes,
            memtables_bytes_max: self.memtables_bytes_max,
            block_cache_bytes: self.block_cache_bytes,
            wal_bytes_max: self.wal_bytes_max,
            open_files_max: self.open_files_max,
        }
    }

    pub(super) fn raft_config(&self, cluster_name: String) -> Result<openraft::Config, OpenError> {
        let config = openraft::Config {
            cluster_name,
            heartbeat_interval: self.heartbeat_interval_milliseconds,
            election_timeout_min: self.election_timeout_min_milliseconds,
            election_timeout_max: self.election_timeout_max_milliseconds,
            install_snapshot_timeout: self.snapshot_timeout_milliseconds,
            snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(self.log_entries_max),
            max_in_snapshot_log_to_keep: self.log_entries_kept,
            purge_batch_size: 256,
            ..openraft::Config::default()
        };
        config.validate().map_err(|error| OpenError::Configuration(error.to_string()))
    }

    pub(super) fn heartbeat_interval(&self) -> Duration {
        Duration::from_millis(self.heartbeat_interval_milliseconds)
    }

    /// How often a leader looks whether it still is one.
    pub(super) fn leadership_look_interval(&self) -> Duration {
        Duration::from_millis(self.election_timeout_min_milliseconds / 2)
    }

    pub(super) fn propose_timeout(&self) -> Duration {
        Duration::from_millis(self.propose_timeout_milliseconds)
    }

    /// How long a leader may fail to reach a majority before it stops calling itself one.
    pub(super) fn leadership_timeout(&self) -> Duration {
        Duration::from_millis(2 * self.election_timeout_max_milliseconds)
    }
}
