//! What every event log must do, as tests. [`suite`] runs them one after the other on one log; each uses topics of its
//! own, so the log may hold other data.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests: a failure is meant to panic")]

use std::{collections::HashSet, future::Future, sync::Arc, time::Duration};

use model::{EventPartition, Record, Timestamp};

use crate::{
    Append, AppendError, EventLog, Offset, ReadError, ReadLimit, Start, Stored, Topic, encode_record_with_body,
    view_record,
};

/// A log under test.
type Log = Arc<dyn EventLog>;

const ALL: ReadLimit = ReadLimit { records: usize::MAX, bytes: usize::MAX };
/// Nothing here takes that long on a working log.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs every test. `make` opens the log under test; it is called again after a shutdown and must then find the data
/// that was there before.
///
/// # Panics
/// When the log does not behave.
pub async fn suite<F, Opening>(make: F)
where
    F: Fn() -> Opening,
    Opening: Future<Output = Log>,
{
    let log = make().await;
    topics_keep_their_partitions(&log).await;
    unknown_partitions_are_refused(&log).await;
    records_come_back_in_order(&log).await;
    one_call_spans_topics_and_partitions(&log).await;
    an_empty_append_is_fine(&log).await;
    limits_bound_a_read(&log).await;
    starts_find_their_offset(&log).await;
    times_never_decrease(&log).await;
    concurrent_appenders_share_without_gaps(&log).await;
    calls_from_one_place_keep_their_order(&log).await;
    appended_wakes_readers(&log).await;
    who_asked_for_the_bounds_is_woken(&log).await;
    consumers_remember_their_place(&log).await;
    shutdown_flushes_and_refuses(log).await;
    reopening_keeps_everything(make).await;
}

async fn topic(log: &Log, name: &str, partitions: u32) -> Topic {
    let topic = Topic::new(name);
    assert_eq!(log.create_topic(&topic, partitions).await, Ok(partitions));
    topic
}

/// A record with that body: not every log takes what is none.
fn record(topic: &Topic, partition: EventPartition, body: impl AsRef<[u8]>) -> Append {
    let mut record = Vec::new();
    encode_record_with_body(&Record::default(), body.as_ref(), &mut record);
    Append { topic: topic.clone(), partition, record: record.into() }
}

async fn append(log: &Log, topic: &Topic, partition: EventPartition, text: &str) -> Offset {
    let appended = log.append(vec![record(topic, partition, text)]).await.unwrap();
    assert_eq!(appended.len(), 1);
    appended[0].offset
}

async fn read_all(log: &Log, topic: &Topic, partition: EventPartition) -> Vec<Stored> {
    let mut from = log.find(topic, partition, Start::Earliest).await.unwrap();
    let mut all: Vec<Stored> = Vec::new();
    loop {
        let some = log.read(topic, partition, from, ALL).await.unwrap();
        let Some(last) = some.last() else { return all };
        from = last.offset + 1;
        all.extend(some);
    }
}

fn texts(stored: &[Stored]) -> Vec<String> {
    let body = |stored: &Stored| view_record(&stored.record).unwrap().body;
    stored.iter().map(|stored| String::from_utf8_lossy(&body(stored)).into_owned()).collect()
}

async fn topics_keep_their_partitions(log: &Log) {
    let name = Topic::new("conformance-partitions");
    assert_eq!(log.partitions(&name), 0);
    assert_eq!(log.create_topic(&name, 3).await, Ok(3));
    assert_eq!(log.create_topic(&name, 5).await, Ok(3), "the number never changes");
    assert_eq!(log.partitions(&name), 3);
    assert!(log.create_topic(&Topic::new("conformance-none"), 0).await.is_err());
}

async fn unknown_partitions_are_refused(log: &Log) {
    let known = topic(log, "conformance-known", 2).await;
    for (name, partition) in [(Topic::new("conformance-unknown"), 0), (known.clone(), 2)] {
        let gone = (name.as_str().to_owned(), partition);
        let appended = log.append(vec![record(&known, 0, "a"), record(&name, partition, "b")]).await;
        assert_eq!(appended, Err(AppendError::UnknownPartition(gone.0.clone(), gone.1)));
        let unknown = ReadError::UnknownPartition(gone.0, gone.1);
        assert_eq!(log.read(&name, partition, 0, ALL).await, Err(unknown.clone()));
        assert_eq!(log.find(&name, partition, Start::Earliest).await, Err(unknown.clone()));
        assert_eq!(log.bounds(&name, partition).await, Err(unknown.clone()));
        assert_eq!(log.committed("c", &name, partition).await, Err(unknown));
        assert!(log.commit("c", &name, partition, 0).await.is_err());
    }
    assert_eq!(read_all(log, &known, 0).await, [], "all of a call or none of it");
}

async fn records_come_back_in_order(log: &Log) {
    let topic = topic(log, "conformance-order", 1).await;
    let empty = log.bounds(&topic, 0).await.unwrap();
    assert_eq!((empty.earliest, empty.next, empty.last_time), (0, 0, None));
    assert_eq!(log.read(&topic, 0, 0, ALL).await, Ok(vec![]));
    assert_eq!(log.read(&topic, 0, 7, ALL).await, Ok(vec![]), "beyond the end is not an error");
    let long = "x".repeat(300_000);
    for (offset, text) in ["", "a", &long, "b"].into_iter().enumerate() {
        assert_eq!(append(log, &topic, 0, text).await, offset as u64);
    }
    let stored = read_all(log, &topic, 0).await;
    assert_eq!(texts(&stored), ["", "a", &long, "b"]);
    assert_eq!(stored.iter().map(|stored| stored.offset).collect::<Vec<_>>(), [0, 1, 2, 3]);
    let tail = log.read(&topic, 0, 3, ALL).await.unwrap();
    assert_eq!(texts(&tail), ["b"]);
    let bounds = log.bounds(&topic, 0).await.unwrap();
    assert_eq!((bounds.earliest, bounds.next, bounds.last_time), (0, 4, Some(tail[0].time)));
}

async fn one_call_spans_topics_and_partitions(log: &Log) {
    let (one, other) = (topic(log, "conformance-one", 2).await, topic(log, "conformance-other", 1).await);
    let records = vec![record(&one, 1, "a"), record(&other, 0, "b"), record(&one, 1, "c"), record(&one, 0, "d")];
    let appended = log.append(records).await.unwrap();
    assert_eq!(appended.iter().map(|appended| appended.offset).collect::<Vec<_>>(), [0, 0, 1, 0]);
    let stored = read_all(log, &one, 1).await;
    assert_eq!(texts(&stored), ["a", "c"]);
    assert_eq!((stored[0].time, stored[1].time), (appended[0].time, appended[2].time));
    assert_eq!(texts(&read_all(log, &one, 0).await), ["d"]);
    assert_eq!(texts(&read_all(log, &other, 0).await), ["b"]);
}

async fn an_empty_append_is_fine(log: &Log) {
    assert_eq!(log.append(Vec::new()).await, Ok(vec![]));
}

async fn limits_bound_a_read(log: &Log) {
    let topic = topic(log, "conformance-limits", 1).await;
    log.append((0..10).map(|_| record(&topic, 0, vec![0; 100])).collect()).await.unwrap();
    for (records, bytes, expected) in [(3, usize::MAX, 3), (10, 250, 2), (10, 1, 1), (10, 0, 1), (100, 2000, 10)] {
        let read = log.read(&topic, 0, 0, ReadLimit { records, bytes }).await.unwrap();
        assert_eq!(read.len(), expected, "{records} records, {bytes} bytes");
    }
}

async fn starts_find_their_offset(log: &Log) {
    let topic = topic(log, "conformance-start", 1).await;
    assert_eq!(log.find(&topic, 0, Start::Earliest).await, Ok(0));
    assert_eq!(log.find(&topic, 0, Start::Latest).await, Ok(0));
    let mut times = Vec::new();
    for _ in 0..4 {
        times.push(log.append(vec![record(&topic, 0, "x")]).await.unwrap()[0].time);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(log.find(&topic, 0, Start::Earliest).await, Ok(0));
    assert_eq!(log.find(&topic, 0, Start::Latest).await, Ok(4));
    assert_eq!(log.find(&topic, 0, Start::Offset(2)).await, Ok(2));
    let at = |microseconds: i64| Start::Time(Timestamp::from_unix_microseconds(microseconds));
    for (offset, time) in times.iter().enumerate() {
        let time = time.unix_microseconds();
        assert_eq!(log.find(&topic, 0, at(time)).await, Ok(offset as u64), "at its time");
        assert_eq!(log.find(&topic, 0, at(time + 2000)).await, Ok(offset as u64 + 1), "between two times");
    }
    assert_eq!(log.find(&topic, 0, at(0)).await, Ok(0), "before all");
    assert_eq!(log.find(&topic, 0, at(i64::MAX / 2)).await, Ok(4), "after all");
}

async fn times_never_decrease(log: &Log) {
    let topic = topic(log, "conformance-time", 1).await;
    for _ in 0..50 {
        append(log, &topic, 0, "x").await;
    }
    let stored = read_all(log, &topic, 0).await;
    assert_eq!(stored.len(), 50);
    assert!(stored.is_sorted_by_key(|stored| stored.time));
}

async fn concurrent_appenders_share_without_gaps(log: &Log) {
    const APPENDERS: u32 = 20;
    const EACH: u32 = 50;
    let topic = topic(log, "conformance-concurrent", 4).await;
    let appenders = (0..APPENDERS).map(|appender| {
        let (log, topic) = (log.clone(), topic.clone());
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for count in 0..EACH {
                let text = format!("{appender} {count}");
                let offset = append(&log, &topic, appender % 4, &text).await;
                acknowledged.push((appender % 4, offset, text));
            }
            acknowledged
        })
    });
    let mut acknowledged = HashSet::new();
    for appender in appenders.collect::<Vec<_>>() {
        acknowledged.extend(appender.await.unwrap());
    }
    for partition in 0..4 {
        let stored = read_all(log, &topic, partition).await;
        assert_eq!(stored.len() as u32, APPENDERS * EACH / 4);
        for (index, (stored, text)) in stored.iter().zip(texts(&stored)).enumerate() {
            assert_eq!(stored.offset, index as u64, "no gaps");
            assert!(acknowledged.remove(&(partition, stored.offset, text)), "where it was acknowledged");
        }
    }
    assert!(acknowledged.is_empty());
}

async fn calls_from_one_place_keep_their_order(log: &Log) {
    let topic = topic(log, "conformance-pipelined", 1).await;
    let receipts: Vec<_> = (0..500).map(|n: u32| log.append(vec![record(&topic, 0, n.to_string())])).collect();
    for (offset, receipt) in receipts.into_iter().enumerate() {
        assert_eq!(receipt.await.unwrap()[0].offset, offset as u64);
    }
    let expected: Vec<_> = (0..500).map(|n: u32| n.to_string()).collect();
    assert_eq!(texts(&read_all(log, &topic, 0).await), expected);
}

async fn appended_wakes_readers(log: &Log) {
    let topic = topic(log, "conformance-wake", 1).await;
    let mut appended = log.appended();
    let (reader_log, reader_topic) = (log.clone(), topic.clone());
    let reader = tokio::spawn(async move {
        let mut seen = Vec::new();
        while seen.len() < 20 {
            let some = reader_log.read(&reader_topic, 0, seen.len() as u64, ALL).await.unwrap();
            if some.is_empty() {
                appended.changed().await.unwrap();
            }
            seen.extend(texts(&some));
        }
        seen
    });
    for n in 0..20 {
        append(log, &topic, 0, &n.to_string()).await;
    }
    let seen = tokio::time::timeout(PATIENCE, reader).await.expect("readers are woken").unwrap();
    assert_eq!(seen, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
}

/// Also when nobody ever read the partition.
async fn who_asked_for_the_bounds_is_woken(log: &Log) {
    let topic = topic(log, "conformance-bounds-wake", 1).await;
    assert_eq!(log.bounds(&topic, 0).await.unwrap().next, 0);
    let mut appended = log.appended();
    append(log, &topic, 0, "first").await;
    // Sooner than anybody is asked to look again.
    let woken = tokio::time::timeout(Duration::from_secs(10), appended.changed()).await;
    woken.expect("who knows the bounds is woken").unwrap();
}

async fn consumers_remember_their_place(log: &Log) {
    let topic = topic(log, "conformance-consumers", 2).await;
    assert_eq!(log.committed("router", &topic, 0).await, Ok(None));
    log.commit("router", &topic, 0, 7).await.unwrap();
    log.commit("router", &topic, 1, 8).await.unwrap();
    log.commit("other", &topic, 0, 9).await.unwrap();
    log.commit("router", &topic, 0, 3).await.unwrap();
    assert_eq!(log.committed("router", &topic, 0).await, Ok(Some(3)), "backwards is allowed");
    assert_eq!(log.committed("router", &topic, 1).await, Ok(Some(8)));
    assert_eq!(log.committed("other", &topic, 0).await, Ok(Some(9)));
}

async fn shutdown_flushes_and_refuses(log: Log) {
    let topic = topic(&log, "conformance-shutdown", 1).await;
    let receipts: Vec<_> = (0..100).map(|n: u32| log.append(vec![record(&topic, 0, n.to_string())])).collect();
    tokio::time::timeout(PATIENCE, log.shutdown()).await.expect("shutdown ends");
    for receipt in receipts {
        receipt.await.expect("what was queued is durable");
    }
    assert_eq!(log.append(vec![record(&topic, 0, "late")]).await, Err(AppendError::ShuttingDown));
    log.shutdown().await; // a second time is harmless
}

async fn reopening_keeps_everything<F, Opening>(make: F)
where
    F: Fn() -> Opening,
    Opening: Future<Output = Log>,
{
    let log = make().await;
    let shutdown = Topic::new("conformance-shutdown");
    let expected: Vec<_> = (0..100).map(|n: u32| n.to_string()).collect();
    assert_eq!(texts(&read_all(&log, &shutdown, 0).await), expected);
    assert_eq!(append(&log, &shutdown, 0, "more").await, 100, "offsets go on");
    assert_eq!(log.partitions(&Topic::new("conformance-partitions")), 3);
    let consumers = Topic::new("conformance-consumers");
    assert_eq!(log.committed("router", &consumers, 0).await, Ok(Some(3)));
    let before = read_all(&log, &Topic::new("conformance-time"), 0).await;
    let after = append(&log, &Topic::new("conformance-time"), 0, "x").await;
    assert_eq!(after, before.len() as u64);
    let stored = read_all(&log, &Topic::new("conformance-time"), 0).await;
    assert!(stored.is_sorted_by_key(|stored| stored.time), "also across a restart");
    log.shutdown().await;
}
