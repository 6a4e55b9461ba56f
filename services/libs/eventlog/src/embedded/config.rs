//! Settings of the embedded log, and what is refused.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::OpenError;

/// Configuration of the embedded event log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of the journal; made when missing. One process at a time.
    pub directory: PathBuf,
    /// A segment is sealed before it grows beyond this. The last segment is read through at every start.
    pub segment_bytes: u64,
    /// Segments whose newest record is older than this are removed. A segment is sealed after an eighth of it, so a
    /// record lives at most nine eighths of this, plus the upkeep interval.
    pub retention_seconds: u64,
    /// The oldest segments are removed while all together are larger than this.
    pub retention_bytes: u64,
    /// Records that wait or are being written; an append beyond it fails with `Full` at once.
    pub queue_bytes_max: usize,
    /// Least time between the starts of two commits. An append to an idle log commits at once; under load each commit
    /// gathers what arrived meanwhile. 0 gives the lowest latency for the most CPU.
    pub commit_interval_microseconds: u64,
    /// Appends fail with `DiskFull` while the file system has less free space than this, so that the store next door
    /// can still write.
    pub disk_reserve_bytes: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("events"),
            segment_bytes: 64 << 20,
            retention_seconds: 24 * 60 * 60,
            retention_bytes: 10 << 30,
            queue_bytes_max: 64 << 20,
            commit_interval_microseconds: 500,
            disk_reserve_bytes: 256 << 20,
        }
    }
}

impl Config {
    /// Positions in a segment are 32 bits wide; a batch may overshoot the segment by the size of the queue.
    const SEGMENT_BYTES_MAX: u64 = 2 << 30;
    const QUEUE_BYTES_MAX: usize = 1 << 30;

    pub(super) fn check(&self) -> Result<(), OpenError> {
        let refuse = |what: &str| Err(OpenError::Configuration(what.to_owned()));
        if !(4096..=Self::SEGMENT_BYTES_MAX).contains(&self.segment_bytes) {
            return refuse("segment_bytes must be between 4096 and 2147483648");
        }
        if !(4096..=Self::QUEUE_BYTES_MAX).contains(&self.queue_bytes_max) {
            return refuse("queue_bytes_max must be between 4096 and 1073741824");
        }
        if self.commit_interval_microseconds > 1_000_000 {
            return refuse("commit_interval_microseconds must be at most 1000000");
        }
        if self.retention_seconds == 0 || self.retention_seconds > 10 * 366 * 24 * 60 * 60 {
            return refuse("retention_seconds must be between 1 and ten years");
        }
        Ok(())
    }

    pub(super) fn commit_interval(&self) -> Duration {
        Duration::from_micros(self.commit_interval_microseconds)
    }
}
