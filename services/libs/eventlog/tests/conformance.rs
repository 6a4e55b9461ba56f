//! The embedded log passes the suite of event logs, on the operating system's disk and on the one in memory.

use std::{error::Error, sync::Arc};

use eventlog::{
    EventLog, conformance,
    embedded::{Config, EmbeddedLog, MemoryDisk, OpenError},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_folder() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let config = Config { directory: folder.path().join("events"), disk_reserve_bytes: 0, ..Config::default() };
    conformance::suite(|| async { open(EmbeddedLog::open(config.clone())) }).await;
    Ok(())
}

/// Tiny segments: every read crosses many, and sidecars are used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_tiny_segments() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let config = Config {
        directory: folder.path().join("events"),
        segment_bytes: 4096,
        commit_interval_microseconds: 0,
        disk_reserve_bytes: 0,
        ..Config::default()
    };
    conformance::suite(|| async { open(EmbeddedLog::open(config.clone())) }).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_memory() {
    let disk = Arc::new(MemoryDisk::new(1 << 30, 1));
    let config = Config { segment_bytes: 8192, disk_reserve_bytes: 0, ..Config::default() };
    conformance::suite(|| async { open(EmbeddedLog::open_on(disk.clone(), config.clone())) }).await;
}

#[allow(clippy::unwrap_used, reason = "a failure is the test's failure")]
fn open(log: Result<EmbeddedLog, OpenError>) -> Arc<dyn EventLog> {
    Arc::new(log.unwrap())
}
