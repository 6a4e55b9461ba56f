//! Counters of the embedded log, for whoever exports them.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Upper bounds, in microseconds, of the buckets of [`Statistics::commit_buckets`]; the last bucket has none.
pub const COMMIT_BUCKETS_MICROSECONDS: [u64; 11] =
    [250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000];

/// What the log did since it was opened, and how it is now. Read with `load`; the fields are not a consistent cut.
#[derive(Debug, Default)]
pub struct Statistics {
    /// Records made durable.
    pub records: AtomicU64,
    /// Bytes of journal made durable, frames included.
    pub bytes: AtomicU64,
    /// Commits that became durable.
    pub commits: AtomicU64,
    /// Commits that failed.
    pub failed_commits: AtomicU64,
    /// Time spent in commits that became durable (one write, one fdatasync), microseconds.
    pub commit_microseconds: AtomicU64,
    /// Durable commits by duration; not cumulative.
    pub commit_buckets: [AtomicU64; COMMIT_BUCKETS_MICROSECONDS.len() + 1],
    /// Bytes that wait or are being written.
    pub queue_bytes: AtomicU64,
    /// Segments on disk, the active one included.
    pub segments: AtomicU64,
    /// Bytes of all segments.
    pub segment_bytes: AtomicU64,
    /// Segments that retention has removed.
    pub removed_segments: AtomicU64,
    /// Free space of the file system when last looked at (at most every 100 ms, only when there is something to do).
    pub disk_free_bytes: AtomicU64,
}

impl Statistics {
    pub(super) fn committed(&self, records: usize, bytes: usize, duration: Duration) {
        let microseconds = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = COMMIT_BUCKETS_MICROSECONDS.partition_point(|bound| *bound < microseconds);
        self.records.fetch_add(records as u64, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
        self.commits.fetch_add(1, Relaxed);
        self.commit_microseconds.fetch_add(microseconds, Relaxed);
        self.commit_buckets[bucket].fetch_add(1, Relaxed);
    }
}
