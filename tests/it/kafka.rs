//! Events in a real Kafka (`deploy/kafka`): the log itself, and a hub that keeps them there.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use bytes::Bytes;
use eventlog::{
    Append, AppendError, EventLog, Health, ReadError, ReadLimit, Start, Topic, conformance, encode_record,
    kafka::{Config, KafkaLog, OpenError},
    view_record,
};
use ironhub_tests::{Hub, HubOptions, Kafka, Received, TestResult, eventually};
use model::{Annotation, Record, SystemProperty, Timestamp};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier},
    consumer::{BaseConsumer, Consumer},
    message::Headers,
};

use crate::kafka_faults;

pub(super) const ALL: ReadLimit = ReadLimit { records: usize::MAX, bytes: usize::MAX };

pub(super) fn config(kafka: &Kafka) -> Config {
    Config { bootstrap_servers: kafka.bootstrap_servers.clone(), ..Config::default() }
}

pub(super) async fn open_kafka(config: Config) -> TestResult<KafkaLog> {
    let opened: Result<KafkaLog, OpenError> = tokio::task::spawn_blocking(move || KafkaLog::open(&config)).await?;
    Ok(opened?)
}

pub(super) async fn open(config: Config) -> TestResult<Arc<dyn EventLog>> {
    Ok(Arc::new(open_kafka(config).await?))
}

fn append(topic: &Topic, record: &Record<'_>) -> Vec<Append> {
    append_to(topic, 0, record)
}

pub(super) fn append_to(topic: &Topic, partition: u32, record: &Record<'_>) -> Vec<Append> {
    let mut wire = Vec::new();
    encode_record(record, &mut wire);
    vec![Append { topic: topic.clone(), partition, record: wire.into() }]
}

pub(super) fn body(text: &str) -> Record<'static> {
    Record { body: Bytes::copy_from_slice(text.as_bytes()), ..Record::default() }
}

/// One broker for all: they take turns, because one of them ends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::unwrap_used, reason = "a failure is the test's failure")]
async fn a_log_in_kafka() -> TestResult {
    let kafka = Kafka::start(1)?;
    let config = config(&kafka);
    conformance::suite(|| async { open(config.clone()).await.unwrap() }).await;
    plain_consumers_read_records(&kafka).await?;
    laggards_read_what_is_no_longer_in_memory(&kafka).await?;
    a_changed_retention_leaves_other_settings_alone(&kafka).await?;
    starts_find_their_offset_behind_a_gap(&kafka).await?;
    kafka_faults::a_producer_that_fails_for_good_is_replaced(&kafka).await?;
    brokers_that_are_away_hold_appends_back(&kafka).await?;
    a_hub_keeps_its_events_there(&kafka).await
}

async fn plain_consumers_read_records(kafka: &Kafka) -> TestResult {
    let log = open(config(kafka)).await?;
    let topic = Topic::new("plain");
    log.create_topic(&topic, 1).await?;
    let record = Record {
        system_properties: vec![(SystemProperty::ContentType, "application/json".into())],
        annotations: vec![(Annotation::ConnectionDeviceId, "d1".into())],
        application_properties: vec![
            ("colour".into(), "blåu".into()),
            ("iothub-connection-device-id".into(), "somebody else".into()),
            ("app.colour".into(), "".into()),
        ],
        body: Bytes::from_static(b"{\"t\":1}"),
    };
    log.append(append(&topic, &record)).await?;
    let read = log.read(&topic, 0, 0, ALL).await?;
    assert_eq!(view_record(&read[0].record)?, record);

    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", &kafka.bootstrap_servers).set("group.id", "somebody").create()?;
    let mut places = TopicPartitionList::new();
    places.add_partition_offset("ironhub.plain", 0, Offset::Beginning)?;
    consumer.assign(&places)?;
    let message = consumer.poll(Duration::from_secs(20)).context("no message")??;
    assert_eq!((message.key(), message.payload()), (Some(&b"d1"[..]), Some(&b"{\"t\":1}"[..])));
    let headers: Vec<_> = message.headers().context("no headers")?.iter().collect();
    let headers: Vec<_> = headers
        .iter()
        .map(|header| (header.key, String::from_utf8_lossy(header.value.unwrap_or_default()).into_owned()))
        .collect();
    let expected = [
        ("content-type", "application/json"),
        ("iothub-connection-device-id", "d1"),
        ("colour", "blåu"),
        ("app.iothub-connection-device-id", "somebody else"),
        ("app.app.colour", ""),
    ];
    assert_eq!(headers, expected.map(|(name, value)| (name, value.to_owned())));
    assert_eq!(message.timestamp().to_millis(), Some(read[0].time.unix_milliseconds()));
    log.shutdown().await;
    Ok(())
}

async fn laggards_read_what_is_no_longer_in_memory(kafka: &Kafka) -> TestResult {
    const RECORDS: u64 = 3000;
    let log = open(Config { tail_bytes_max: 10_000, ..config(kafka) }).await?;
    let topic = Topic::new("laggards");
    log.create_topic(&topic, 1).await?;
    assert_eq!(log.read(&topic, 0, 0, ALL).await?, [], "now its end is followed");
    let receipts: Vec<_> = (0..RECORDS).map(|number| log.append(append(&topic, &body(&number.to_string())))).collect();
    for receipt in receipts {
        receipt.await?;
    }
    // Two readers, each with a pace of its own, and one that asks for a little less than it gets.
    let mut positions = [(0, 1000, usize::MAX), (0, 70, usize::MAX), (0, 1000, 100)];
    while positions.iter().any(|(position, ..)| *position < RECORDS) {
        for (position, records, bytes) in &mut positions {
            let read = log.read(&topic, 0, *position, ReadLimit { records: *records, bytes: *bytes }).await?;
            assert!(!read.is_empty() || *position == RECORDS);
            for stored in read {
                assert_eq!(stored.offset, *position);
                assert_eq!(view_record(&stored.record)?.body, position.to_string());
                *position += 1;
            }
        }
    }
    log.shutdown().await;
    Ok(())
}

async fn a_changed_retention_leaves_other_settings_alone(kafka: &Kafka) -> TestResult {
    let config = config(kafka);
    let log = Arc::new(tokio::task::spawn_blocking(move || KafkaLog::open(&config)).await??);
    log.create_topic(&Topic::new("kept"), 1).await?;
    let admin: AdminClient<_> = ClientConfig::new().set("bootstrap.servers", &kafka.bootstrap_servers).create()?;
    let topic = ResourceSpecifier::Topic("ironhub.kept");
    let by_hand =
        [("max.message.bytes", "2000000"), ("message.timestamp.type", "LogAppendTime"), ("retention.ms", "1000")];
    let by_hand = by_hand.iter().fold(AlterConfig::new(topic), |change, (name, value)| change.set(name, value));
    admin.alter_configs(&[by_hand], &AdminOptions::new()).await?;
    log.set_retention(Duration::from_secs(7200)).await?;
    let described = admin.describe_configs(&[topic], &AdminOptions::new()).await?;
    let described =
        described.into_iter().next().context("nothing is described")?.map_err(|code| anyhow::anyhow!("{code}"))?;
    for (name, value) in
        [("max.message.bytes", "2000000"), ("message.timestamp.type", "LogAppendTime"), ("retention.ms", "7200000")]
    {
        assert_eq!(described.get(name).and_then(|entry| entry.value.as_deref()), Some(value), "{name}");
    }
    log.shutdown().await;
    Ok(())
}

/// Retention took the beginning.
async fn starts_find_their_offset_behind_a_gap(kafka: &Kafka) -> TestResult {
    let log = open(config(kafka)).await?;
    let topic = Topic::new("gap");
    log.create_topic(&topic, 1).await?;
    let mut times = Vec::new();
    for number in 0..6 {
        times.push(log.append(append(&topic, &body(&number.to_string()))).await?[0].time.unix_microseconds());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let admin: AdminClient<_> = ClientConfig::new().set("bootstrap.servers", &kafka.bootstrap_servers).create()?;
    let mut gone = TopicPartitionList::new();
    gone.add_partition_offset("ironhub.gap", 0, Offset::Offset(3))?;
    admin.delete_records(&gone, &AdminOptions::new()).await?;
    let at = |microseconds: i64| Start::Time(Timestamp::from_unix_microseconds(microseconds));
    let starts = [
        (Start::Earliest, 3),
        (Start::Latest, 6),
        (Start::Offset(0), 3),
        (Start::Offset(5), 5),
        (at(0), 3),
        (at(times[0]), 3),
        (at(times[2] + 1), 3),
        (at(times[3]), 3),
        (at(times[3] + 1), 4),
        (at(times[5]), 5),
        (at(times[5] + 1), 6),
        (at(i64::MAX / 2), 6),
    ];
    for (start, offset) in starts {
        assert_eq!(log.find(&topic, 0, start).await, Ok(offset), "{start:?}");
    }
    assert_eq!(log.read(&topic, 0, 1, ALL).await, Err(ReadError::Trimmed { wanted: 1, earliest: 3 }));
    let bounds = log.bounds(&topic, 0).await?;
    assert_eq!((bounds.earliest, bounds.next), (3, 6));
    // All of it is gone.
    let mut gone = TopicPartitionList::new();
    gone.add_partition_offset("ironhub.gap", 0, Offset::End)?;
    admin.delete_records(&gone, &AdminOptions::new()).await?;
    for start in [Start::Earliest, Start::Latest, Start::Offset(2), at(0), at(times[4])] {
        assert_eq!(log.find(&topic, 0, start).await, Ok(6), "{start:?}");
    }
    log.shutdown().await;
    Ok(())
}

async fn brokers_that_are_away_hold_appends_back(kafka: &Kafka) -> TestResult {
    let log = open(Config { queue_bytes_max: 100_000, delivery_timeout_seconds: 60, ..config(kafka) }).await?;
    let topic = Topic::new("away");
    log.create_topic(&topic, 1).await?;
    log.append(append(&topic, &body("before"))).await?;
    kafka.kill(1)?;
    let mut waiting = Vec::new();
    let full = loop {
        let mut receipt = Box::pin(log.append(append(&topic, &body(&waiting.len().to_string()))));
        match tokio::time::timeout(Duration::from_millis(1), &mut receipt).await {
            Ok(Err(AppendError::Full(bytes))) => break bytes,
            Ok(other) => bail!("without a broker: {other:?}"),
            Err(_) => waiting.push(receipt),
        }
        assert!(waiting.len() < 10_000, "it is bounded");
    };
    assert!((90_000..=100_000).contains(&full), "{full}");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while log.health() == Health::Writable {
        assert!(tokio::time::Instant::now() < deadline, "health says nothing");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    kafka.start_again(1)?;
    for (number, receipt) in waiting.iter_mut().enumerate() {
        assert_eq!(receipt.await?[0].offset, number as u64 + 1, "in order, once");
    }
    assert_eq!(log.health(), Health::Writable);
    log.append(append(&topic, &body("after"))).await?;
    let read = log.read(&topic, 0, 0, ALL).await?;
    let bodies: Vec<_> = read.iter().map(|stored| view_record(&stored.record).map(|record| record.body)).collect();
    assert_eq!(bodies.first().context("nothing")?.as_ref().ok(), Some(&Bytes::from("before")));
    log.shutdown().await;
    Ok(())
}

/// Nothing is acknowledged while there is no broker, and all of it when there is one again.
async fn a_hub_keeps_its_events_there(kafka: &Kafka) -> TestResult {
    let arguments = ["--kafka-bootstrap-servers", &kafka.bootstrap_servers].map(str::to_owned).to_vec();
    let hub = Hub::start_with(HubOptions { arguments, ..HubOptions::default() }).await?;
    let device = hub.new_device().await?;
    let mut client = hub.connect(&device).await?;
    client.publish_acknowledged(&device.events_topic(), b"0").await?;
    kafka.kill(1)?;
    for number in 1..=5_u16 {
        client.publish(&device.events_topic(), number.to_string().as_bytes(), Some(number)).await?;
    }
    assert_eq!(client.receive_within(Duration::from_secs(1)).await?, None, "nothing is durable");
    eventually("the hub says that it is unwell", async || Ok(hub.admin("/healthz").await?.1.contains("degraded")))
        .await?;
    kafka.start_again(1)?;
    for number in 1..=5 {
        client.expect(Received::PubAck(number)).await?;
    }
    eventually("the hub says that it is well", async || Ok(!hub.admin("/healthz").await?.1.contains("degraded")))
        .await?;
    let hub = hub.kill_and_restart().await?;
    let bodies: Vec<_> =
        hub.wait_for_events(&device.device_id, 6).await?.iter().map(|event| event["body"].clone()).collect();
    assert_eq!(bodies, [0, 1, 2, 3, 4, 5]);
    let (_, metrics) = hub.admin("/metrics").await?;
    assert!(metrics.contains("ironhub_event_log_failed_records_total 0"), "{metrics}");
    Ok(())
}

#[test]
fn what_cannot_be_is_refused() {
    let right = || Config { bootstrap_servers: "127.0.0.1:1".to_owned(), ..Config::default() };
    let wrong = [
        Config::default(),
        Config { name_prefix: "a/b".to_owned(), ..right() },
        Config { replication_factor: 0, ..right() },
        Config { queue_bytes_max: 10, ..right() },
        Config { delivery_timeout_seconds: 0, ..right() },
        Config { retention_seconds: 0, ..right() },
        Config { linger_microseconds: 2_000_000, ..right() },
        Config { client: BTreeMap::from([("acks".to_owned(), "1".to_owned())]), ..right() },
        Config { sasl_password_file: "/no/such/file".into(), ..right() },
        Config { sasl_password_file: "/dev/null".into(), ..right() },
    ];
    for config in wrong {
        assert!(matches!(KafkaLog::open(&config), Err(OpenError::Configuration(_))), "{config:?}");
    }
    let client = BTreeMap::from([("no.such.property".to_owned(), "1".to_owned())]);
    assert!(matches!(KafkaLog::open(&Config { client, ..right() }), Err(OpenError::Kafka(..))));
}
