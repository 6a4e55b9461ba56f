//! What crashes and failing disks leave behind: everything acknowledged, in order, nothing torn.
#![allow(clippy::unwrap_used, reason = "a failure is the test's failure")]

mod histories;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use eventlog::{
    Append, AppendError, EventLog, Health, ReadError, ReadLimit, Start, Stored, Topic,
    embedded::{Config, EmbeddedLog, Fault, MemoryDisk, OpenError},
};

const ALL: ReadLimit = ReadLimit { records: usize::MAX, bytes: usize::MAX };
const PARTITIONS: u32 = 3;
const CAPACITY: u64 = 1 << 30;

fn config() -> Config {
    Config { segment_bytes: 4096, commit_interval_microseconds: 0, disk_reserve_bytes: 0, ..Config::default() }
}

fn events() -> Topic {
    Topic::new("events")
}

fn open(disk: &MemoryDisk) -> EmbeddedLog {
    EmbeddedLog::open_on(Arc::new(disk.clone()), config()).unwrap()
}

/// An empty log with the topic, on a disk that misbehaves as the seed says.
async fn new_log(seed: u64) -> (MemoryDisk, EmbeddedLog) {
    let disk = MemoryDisk::new(CAPACITY, seed);
    let log = open(&disk);
    log.create_topic(&events(), PARTITIONS).await.unwrap();
    (disk, log)
}

fn record(partition: u32, bytes: impl Into<Bytes>) -> Append {
    Append { topic: events(), partition, record: bytes.into() }
}

/// All records of a partition; every read must succeed and offsets must have no gap.
async fn read_all(log: &EmbeddedLog, partition: u32) -> Vec<Stored> {
    let mut all: Vec<Stored> = Vec::new();
    let earliest = log.find(&events(), partition, Start::Earliest).await.unwrap();
    loop {
        let next = earliest + all.len() as u64;
        let some = log.read(&events(), partition, next, ALL).await.unwrap();
        if some.is_empty() {
            assert_eq!(log.bounds(&events(), partition).await.unwrap().next, next);
            return all;
        }
        for stored in some {
            assert_eq!(stored.offset, earliest + all.len() as u64, "no gaps");
            all.push(stored);
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Waits until the log is as wanted; it finds out by itself.
async fn until_writable(log: &EmbeddedLog) {
    let wait = async {
        while log.health() != Health::Writable {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap();
}

fn first_segment() -> String {
    format!("{:020}.segment", 1)
}

/// A journal of a few commits and where each of them ended.
async fn small_journal() -> (Vec<u8>, Vec<u8>, Vec<usize>) {
    let (disk, log) = new_log(1).await;
    let mut ends = vec![disk.content(&first_segment()).unwrap().len()];
    for n in 0..6_u8 {
        log.append(vec![record(0, vec![n; 5]), record(u32::from(n % 2), vec![n; 40])]).await.unwrap();
        ends.push(disk.content(&first_segment()).unwrap().len());
    }
    log.shutdown().await;
    (disk.content("topics").unwrap(), disk.content(&first_segment()).unwrap(), ends)
}

/// Opens a journal whose only segment has that content; gives the number of records per partition.
async fn reopen_with(topics: &[u8], segment: Vec<u8>) -> Vec<Vec<Stored>> {
    let disk = MemoryDisk::new(CAPACITY, 2);
    disk.put("topics", topics.to_vec());
    disk.put(&first_segment(), segment);
    let log = open(&disk);
    let mut all = Vec::new();
    for partition in 0..PARTITIONS {
        all.push(read_all(&log, partition).await);
    }
    // and it goes on where it was cut, also after another start
    let appended = log.append(vec![record(0, "after")]).await.unwrap();
    assert_eq!(appended[0].offset, all[0].len() as u64);
    drop(log);
    let log = open(&disk);
    let stored = read_all(&log, 0).await;
    assert_eq!(stored.len(), all[0].len() + 1);
    assert_eq!(stored.last().unwrap().record, "after");
    for partition in 1..PARTITIONS {
        let stored = read_all(&log, partition).await;
        assert_eq!(stored, all[partition as usize], "nothing that was cut comes back behind what followed");
    }
    all
}

#[test]
fn a_tail_cut_or_damaged_at_any_byte_loses_nothing_before_it() {
    runtime().block_on(async {
        let (topics, whole, ends) = small_journal().await;
        let complete = reopen_with(&topics, whole.clone()).await;
        assert_eq!(complete.iter().map(Vec::len).sum::<usize>(), 12);
        let old_frames_behind = [&whole[..], &whole[ends[0]..ends[1]]].concat();
        assert_eq!(reopen_with(&topics, old_frames_behind).await, complete, "a frame that does not continue is cut");
        for position in ends[0]..whole.len() {
            let mut flipped = whole.clone();
            flipped[position] ^= 0x40;
            let mut zeroed = whole.clone();
            zeroed[position..].fill(0);
            let commits = ends.iter().filter(|end| **end <= position).count() - 1;
            for damaged in [whole[..position].to_vec(), flipped, zeroed] {
                let left = reopen_with(&topics, damaged).await;
                let count: usize = left.iter().map(Vec::len).sum();
                // whole commits before the damage, and perhaps the first record of the damaged one; zeroing bytes that
                // are zero damages nothing
                assert!(count >= commits * 2, "cut at {position}: {count} records of {commits} commits");
                for (left, complete) in left.iter().zip(&complete) {
                    assert_eq!(left[..], complete[..left.len()], "cut at {position}");
                }
            }
        }
    });
}

#[test]
fn a_damaged_header_is_reported_and_not_repaired() {
    runtime().block_on(async {
        let (topics, mut segment, _) = small_journal().await;
        segment[20] ^= 1;
        let disk = MemoryDisk::new(CAPACITY, 2);
        disk.put("topics", topics);
        disk.put(&first_segment(), segment.clone());
        let opened = EmbeddedLog::open_on(Arc::new(disk.clone()), config());
        assert!(matches!(opened, Err(OpenError::Damaged(..))));
        assert_eq!(disk.content(&first_segment()).unwrap(), segment);
    });
}

/// A journal of several sealed segments.
async fn large_journal(disk: &MemoryDisk) -> Vec<Stored> {
    let log = open(disk);
    log.create_topic(&events(), PARTITIONS).await.unwrap();
    for n in 0..100_u8 {
        log.append(vec![record(0, vec![n; 100]), record(1, vec![n; 30])]).await.unwrap();
    }
    let stored = read_all(&log, 0).await;
    assert_eq!(stored.len(), 100);
    stored
}

#[test]
fn damage_in_a_sealed_segment_fails_the_reads_that_need_it_and_no_others() {
    runtime().block_on(async {
        for lose_index in [false, true] {
            let disk = MemoryDisk::new(CAPACITY, 3);
            let stored = large_journal(&disk).await;
            let name = format!("{:020}.segment", 2);
            let mut segment = disk.content(&name).unwrap();
            let victim = stored.iter().find(|s| find(&segment, &s.record).is_some_and(|at| at > 800)).unwrap();
            let at = find(&segment, &victim.record).unwrap();
            segment[at + 50] ^= 1;
            disk.put(&name, segment);
            if lose_index {
                disk.put(&format!("{:020}.index", 2), b"garbage".to_vec());
            }
            let log = open(&disk);
            let before = log.read(&events(), 0, 0, ALL).await.unwrap();
            assert_eq!(before[..], stored[..victim.offset as usize]);
            let needed = log.read(&events(), 0, victim.offset, ALL).await;
            assert!(matches!(needed, Err(ReadError::Unavailable(_))), "{needed:?}");
            let behind = log.read(&events(), 0, victim.offset + 1, ALL).await.unwrap();
            assert_eq!(behind[0], stored[victim.offset as usize + 1]);
            assert_eq!(read_all(&log, 1).await.len(), 100);
            let time = log.find(&events(), 0, Start::Time(stored[90].time)).await.unwrap();
            assert_eq!(stored[time as usize].time, stored[90].time);
        }
    });
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[test]
fn a_missing_index_is_made_again() {
    runtime().block_on(async {
        let disk = MemoryDisk::new(CAPACITY, 4);
        let stored = large_journal(&disk).await;
        for sequence in 1..=3 {
            let name = format!("{sequence:020}.index");
            assert!(disk.content(&name).is_some());
            disk.put(&name, vec![0; 10]);
        }
        let log = open(&disk);
        assert_eq!(read_all(&log, 0).await, stored);
        assert!(disk.content(&format!("{:020}.index", 2)).unwrap().len() > 10);
    });
}

#[test]
fn a_full_disk_refuses_appends_serves_reads_and_recovers() {
    runtime().block_on(async {
        let disk = MemoryDisk::new(20_000, 5);
        let log = open(&disk);
        log.create_topic(&events(), PARTITIONS).await.unwrap();
        let mut acknowledged = 0;
        let refused = loop {
            match log.append(vec![record(0, vec![7; 500])]).await {
                Ok(_) => acknowledged += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, AppendError::DiskFull(_)), "{refused:?}");
        assert!(matches!(log.health(), Health::ReadOnly(why) if why.contains("full")));
        assert_eq!(read_all(&log, 0).await.len(), acknowledged);
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert!(matches!(log.health(), Health::ReadOnly(_)), "it does not guess");
        disk.resize(CAPACITY);
        until_writable(&log).await;
        let appended = log.append(vec![record(0, "again")]).await.unwrap();
        assert_eq!(appended[0].offset as usize, acknowledged);
        drop(log);
        assert_eq!(read_all(&open(&disk.reboot()), 0).await.len(), acknowledged + 1);
    });
}

#[test]
fn the_reserve_is_kept_free() {
    runtime().block_on(async {
        let disk = MemoryDisk::new(1_000_000, 6);
        let config = Config { disk_reserve_bytes: 900_000, ..config() };
        let log = EmbeddedLog::open_on(Arc::new(disk.clone()), config).unwrap();
        log.create_topic(&events(), PARTITIONS).await.unwrap();
        let refused = loop {
            if let Err(error) = log.append(vec![record(0, vec![7; 1000])]).await {
                break error;
            }
        };
        assert!(matches!(refused, AppendError::DiskFull(_)), "{refused:?}");
        disk.resize(2_000_000);
        until_writable(&log).await;
        log.append(vec![record(0, "again")]).await.unwrap();
    });
}

#[test]
fn after_a_failed_sync_the_segment_is_abandoned() {
    runtime().block_on(async {
        for seed in 0..200 {
            let (disk, log) = new_log(seed).await;
            log.append(vec![record(0, "one")]).await.unwrap();
            disk.inject(Fault::SyncBroken);
            let failed = log.append(vec![record(0, "bad"), record(1, "lost")]).await;
            assert!(matches!(failed, Err(AppendError::Unavailable(_))));
            assert!(matches!(log.health(), Health::ReadOnly(_)));
            assert_eq!(log.append(vec![record(0, "two")]).await.unwrap()[0].offset, 1);
            assert_eq!(log.health(), Health::Writable);
            drop(log);
            let log = open(&disk.reboot());
            let records: Vec<_> = read_all(&log, 0).await.into_iter().map(|stored| stored.record).collect();
            assert_eq!(records, ["one", "two"], "seed {seed}");
            assert!(read_all(&log, 1).await.is_empty());
        }
    });
}

/// The next record is as long as the first of those that failed; those behind it must not come back.
#[test]
fn a_write_that_found_no_room_leaves_nothing_behind() {
    runtime().block_on(async {
        for seed in 0..200 {
            let (disk, log) = new_log(seed).await;
            disk.inject(Fault::WriteFull);
            let failed = log.append(vec![record(0, "bad"), record(1, "lost"), record(2, vec![0; 100])]).await;
            assert!(matches!(failed, Err(AppendError::DiskFull(_))));
            assert_eq!(log.append(vec![record(0, "one")]).await.unwrap()[0].offset, 0);
            drop(log);
            let log = open(&disk.restart());
            assert_eq!(read_all(&log, 0).await.len(), 1);
            assert!(read_all(&log, 1).await.is_empty(), "seed {seed}");
        }
    });
}

/// Making the next segment may fail although its header, which says where this one ends, is on disk.
#[test]
fn nothing_follows_in_a_segment_that_may_have_been_ended() {
    runtime().block_on(async {
        for seed in 0..50 {
            let (disk, log) = new_log(seed).await;
            log.append(vec![record(0, vec![1; 3000])]).await.unwrap();
            disk.inject(Fault::ReplaceBroken);
            assert!(log.append(vec![record(0, vec![2; 3000])]).await.is_err());
            let appended = log.append(vec![record(0, "fits")]).await.unwrap();
            assert_eq!(appended[0].offset, 1);
            drop(log);
            let stored = read_all(&open(&disk.reboot()), 0).await;
            assert_eq!(stored.len(), 2, "seed {seed}");
            assert_eq!(stored[1].record, "fits");
        }
    });
}

/// A killed process may leave whole records that no sync covered; whoever has read them must find them again.
#[test]
fn what_is_served_after_a_restart_survives_a_loss_of_power() {
    runtime().block_on(async {
        for seed in 0..50 {
            let (disk, log) = new_log(seed).await;
            disk.lose_power_after(1);
            assert!(log.append(vec![record(0, vec![1; 700]), record(1, vec![2; 700])]).await.is_err());
            drop(log);
            let disk = disk.restart();
            let log = open(&disk);
            let served = (read_all(&log, 0).await, read_all(&log, 1).await);
            assert_eq!((served.0.len(), served.1.len()), (1, 1), "written, not acknowledged");
            let disk = disk.reboot();
            drop(log);
            let log = open(&disk);
            assert_eq!((read_all(&log, 0).await, read_all(&log, 1).await), served, "seed {seed}");
        }
    });
}

/// A sync fails, what was written cannot be cut off, and the process is killed: the next one reads what the disk never
/// got, and its own sync would not write it.
#[test]
fn what_a_failed_sync_left_to_be_seen_is_written_again_before_it_is_believed() {
    runtime().block_on(async {
        for seed in 0..200 {
            let (disk, log) = new_log(seed).await;
            log.append(vec![record(0, "one")]).await.unwrap();
            disk.inject(Fault::SyncBroken);
            disk.lose_power_after(2);
            assert!(log.append(vec![record(0, vec![1; 700]), record(1, vec![2; 700])]).await.is_err());
            drop(log);
            let disk = disk.restart();
            let log = open(&disk);
            let mut served = read_all(&log, 0).await;
            log.append(vec![record(0, "two")]).await.unwrap();
            served.extend(log.read(&events(), 0, served.len() as u64, ALL).await.unwrap());
            drop(log);
            let stored = read_all(&open(&disk.reboot()), 0).await;
            assert_eq!(stored, served, "seed {seed}");
            assert_eq!(stored.last().unwrap().record, "two");
        }
    });
}

#[test]
fn a_full_queue_refuses_at_once() {
    runtime().block_on(async {
        let config = Config { queue_bytes_max: 4096, commit_interval_microseconds: 1_000_000, ..config() };
        let log = EmbeddedLog::open_on(Arc::new(MemoryDisk::new(CAPACITY, 7)), config).unwrap();
        log.create_topic(&events(), PARTITIONS).await.unwrap();
        log.append(vec![record(0, "the first commits at once")]).await.unwrap();
        let waiting = log.append(vec![record(0, vec![0; 3000])]);
        let full = log.append(vec![record(0, vec![0; 3000])]).await;
        assert!(matches!(full, Err(AppendError::Full(bytes)) if bytes >= 3000), "{full:?}");
        waiting.await.unwrap();
        log.append(vec![record(0, vec![0; 3000])]).await.unwrap();
    });
}
