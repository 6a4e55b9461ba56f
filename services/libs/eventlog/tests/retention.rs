//! Old segments go, offsets stay.
#![allow(clippy::unwrap_used, reason = "a failure is the test's failure")]

use std::{path::Path, time::Duration};

use eventlog::{
    Append, EventLog, ReadError, ReadLimit, Start, Topic,
    embedded::{Config, EmbeddedLog, OpenError},
};

const ALL: ReadLimit = ReadLimit { records: usize::MAX, bytes: usize::MAX };

fn config(folder: &Path) -> Config {
    Config {
        directory: folder.to_owned(),
        segment_bytes: 4096,
        commit_interval_microseconds: 0,
        disk_reserve_bytes: 0,
        ..Config::default()
    }
}

async fn append(log: &EmbeddedLog, partition: u32, bytes: usize) -> u64 {
    let record = vec![0; bytes].into();
    log.append(vec![Append { topic: Topic::new("events"), partition, record }]).await.unwrap()[0].offset
}

async fn until_earliest(log: &EmbeddedLog, earliest: impl Fn(u64) -> bool) {
    let events = Topic::new("events");
    let wait = async {
        while !earliest(log.bounds(&events, 0).await.unwrap().earliest) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap();
}

#[tokio::test]
async fn by_time_even_when_nothing_is_appended_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { retention_seconds: 1, ..config(folder.path()) };
    let log = EmbeddedLog::open(config.clone()).unwrap();
    let events = Topic::new("events");
    log.create_topic(&events, 2).await.unwrap();
    for _ in 0..20 {
        append(&log, 0, 500).await;
    }
    append(&log, 1, 1).await;
    until_earliest(&log, |earliest| earliest == 20).await;
    let bounds = log.bounds(&events, 0).await.unwrap();
    assert_eq!((bounds.earliest, bounds.next), (20, 20));
    let trimmed = ReadError::Trimmed { wanted: 3, earliest: 20 };
    assert_eq!(log.read(&events, 0, 3, ALL).await, Err(trimmed));
    assert_eq!(log.find(&events, 0, Start::Offset(3)).await, Ok(20));
    assert_eq!(log.find(&events, 0, Start::Earliest).await, Ok(20));
    drop(log);
    let log = EmbeddedLog::open(config).unwrap();
    assert_eq!(append(&log, 0, 1).await, 20, "offsets go on although no record is left");
    assert_eq!(append(&log, 1, 1).await, 1);
    drop(log);
    let segments = std::fs::read_dir(folder.path()).unwrap().flatten();
    let segments = segments.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "segment"));
    assert!(segments.count() <= 2);
}

#[tokio::test]
async fn a_shorter_retention_holds_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(config(folder.path())).unwrap();
    log.create_topic(&Topic::new("events"), 1).await.unwrap();
    for _ in 0..20 {
        append(&log, 0, 500).await;
    }
    log.set_retention(Duration::from_secs(1));
    until_earliest(&log, |earliest| earliest == 20).await;
    log.set_retention(Duration::from_secs(3600));
    assert_eq!(append(&log, 0, 1).await, 20);
    assert_eq!(log.bounds(&Topic::new("events"), 0).await.unwrap().earliest, 20);
}

#[tokio::test]
async fn by_size() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { retention_seconds: 1600, retention_bytes: 20_000, ..config(folder.path()) };
    let log = EmbeddedLog::open(config.clone()).unwrap();
    let events = Topic::new("events");
    log.create_topic(&events, 1).await.unwrap();
    for _ in 0..100 {
        append(&log, 0, 1000).await;
    }
    drop(log);
    let log = EmbeddedLog::open(config).unwrap(); // upkeep runs at once
    until_earliest(&log, |earliest| earliest > 50).await;
    let bounds = log.bounds(&events, 0).await.unwrap();
    assert!(bounds.next - bounds.earliest >= 10, "{bounds:?}");
    let read = log.read(&events, 0, bounds.earliest, ALL).await.unwrap();
    assert_eq!(read.len() as u64, bounds.next - bounds.earliest);
}

#[tokio::test]
async fn one_folder_has_one_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(config(folder.path())).unwrap();
    assert!(matches!(EmbeddedLog::open(config(folder.path())), Err(OpenError::InUse(_))));
    drop(log);
    EmbeddedLog::open(config(folder.path())).unwrap();
}
