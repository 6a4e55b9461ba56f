//! What breaks under an event log in Kafka, on real brokers: brokers that are killed, a producer that fails for good.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use eventlog::{
    AppendError, EventLog, Health, Topic, conformance,
    kafka::{Config, KafkaLog},
    view_record,
};
use ironhub_tests::{Kafka, TestResult, eventually};
use tokio::task::JoinHandle;

use crate::kafka::{ALL, append_to, body, config, open, open_kafka};

const PARTITIONS: u32 = 3;
const APPENDERS: u32 = 12;

/// Appenders at work: each has one record on its way, and goes on with the next one whatever became of it.
struct Load {
    log: Arc<dyn EventLog>,
    topic: Topic,
    acknowledged: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    appenders: Vec<JoinHandle<Appender>>,
}

/// What one of them was told, in its order.
#[derive(Default)]
struct Appender {
    /// Offset and text.
    acknowledged: Vec<(u64, String)>,
    failed: usize,
}

impl Load {
    async fn start(log: Arc<dyn EventLog>, topic: &str) -> TestResult<Self> {
        let topic = Topic::new(topic);
        log.create_topic(&topic, PARTITIONS).await?;
        let (acknowledged, is_over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let appenders = (0..APPENDERS)
            .map(|number| {
                let (log, topic) = (log.clone(), topic.clone());
                let (acknowledged, is_over) = (acknowledged.clone(), is_over.clone());
                tokio::spawn(async move {
                    let mut appender = Appender::default();
                    for count in 0.. {
                        if is_over.load(Relaxed) {
                            break;
                        }
                        let text = format!("{number} {count}");
                        match log.append(append_to(&topic, number % PARTITIONS, &body(&text))).await {
                            Ok(appended) => {
                                acknowledged.fetch_add(1, Relaxed);
                                appender.acknowledged.extend(appended.first().map(|first| (first.offset, text)));
                            }
                            Err(_) => appender.failed += 1,
                        }
                    }
                    appender
                })
            })
            .collect();
        Ok(Self { log, topic, acknowledged, is_over, appenders })
    }

    /// Waits until every appender can have gone on. Another leader is found in seconds, on a busy machine in many.
    async fn goes_on(&self, when: &str) -> TestResult {
        let enough = self.acknowledged.load(Relaxed) + 50 * APPENDERS as usize;
        let deadline = tokio::time::Instant::now() + Duration::from_secs(90);
        while self.acknowledged.load(Relaxed) <= enough {
            ensure!(tokio::time::Instant::now() < deadline, "in vain waited for: {when}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Ends it: everything that was acknowledged lies where it was said to, in the order of its appender. How many were
    /// acknowledged and failed.
    async fn check(self) -> TestResult<(usize, usize)> {
        self.is_over.store(true, Relaxed);
        let mut stored = Vec::new();
        let (mut acknowledged, mut failed) = (0, 0);
        for (number, appender) in (0..).zip(self.appenders) {
            let appender = tokio::time::timeout(Duration::from_secs(60), appender).await??;
            if number < PARTITIONS {
                stored.push(texts(&*self.log, &self.topic, number).await?);
            }
            ensure!(appender.acknowledged.is_sorted_by_key(|(offset, _)| *offset), "order of {number}");
            // Read after the first of a partition ended; the others go on meanwhile, so read again what is missing.
            let last = appender.acknowledged.last().map_or(0, |(offset, _)| *offset);
            let partition = number % PARTITIONS;
            let stored = stored.get_mut(partition as usize).context("no such partition")?;
            if !stored.contains_key(&last) {
                *stored = texts(&*self.log, &self.topic, partition).await?;
            }
            for (offset, text) in &appender.acknowledged {
                ensure!(stored.get(offset) == Some(text), "{text} is not at {offset} of {partition}");
            }
            acknowledged += appender.acknowledged.len();
            failed += appender.failed;
        }
        Ok((acknowledged, failed))
    }
}

/// All of a partition by offset.
async fn texts(log: &dyn EventLog, topic: &Topic, partition: u32) -> TestResult<BTreeMap<u64, String>> {
    let mut texts = BTreeMap::new();
    loop {
        let next = texts.last_key_value().map_or(0, |(offset, _)| *offset + 1);
        let read = log.read(topic, partition, next, ALL).await?;
        if read.is_empty() {
            return Ok(texts);
        }
        for stored in read {
            let text = String::from_utf8(view_record(&stored.record)?.body.to_vec())?;
            texts.insert(stored.offset, text);
        }
    }
}

/// Three copies of everything, an acknowledgement needs two. First one broker is killed, then two at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "three brokers need more than CI has; `make kafka-faults`"]
#[allow(clippy::unwrap_used, reason = "a failure is the test's failure")]
async fn three_brokers_of_which_one_and_two_are_killed() -> TestResult {
    let kafka = Kafka::start(3)?;
    let config = config(&kafka);
    conformance::suite(|| async { open(config.clone()).await.unwrap() }).await;
    let log = open(Config { queue_bytes_max: 200_000, delivery_timeout_seconds: 300, ..config }).await?;
    let load = Load::start(log.clone(), "survivors").await?;
    load.goes_on("all are there").await?;
    kafka.kill(1)?;
    load.goes_on("two of three go on").await?;
    kafka.start_again(1)?;
    load.goes_on("all are there again").await?;

    kafka.kill(2)?;
    kafka.kill(3)?;
    eventually("health says that nothing is acknowledged", async || Ok(log.health() != Health::Writable)).await?;
    let before = load.acknowledged.load(Relaxed);
    let mut waiting = Vec::new();
    loop {
        let append = append_to(&load.topic, waiting.len() as u32 % PARTITIONS, &body("waiting"));
        let mut receipt = Box::pin(log.append(append));
        match tokio::time::timeout(Duration::from_millis(1), &mut receipt).await {
            Ok(Err(AppendError::Full(_))) => break,
            Ok(other) => bail!("with one copy: {other:?}"),
            Err(_) => waiting.push(receipt),
        }
        ensure!(waiting.len() < 10_000, "it is bounded");
    }
    ensure!(load.acknowledged.load(Relaxed) == before, "nothing is acknowledged with one copy");

    kafka.start_again(2)?;
    kafka.start_again(3)?;
    for receipt in waiting {
        receipt.await.context("what waited is written")?;
    }
    load.goes_on("all are there once more").await?;
    ensure!(log.health() == Health::Writable, "{:?}", log.health());
    let (acknowledged, failed) = load.check().await?;
    println!("{acknowledged} records were acknowledged, {failed} were not");
    log.shutdown().await;
    Ok(())
}

/// It is replaced under load, several times; whoever waited hears of it, and nobody is told what is not so.
pub(super) async fn a_producer_that_fails_for_good_is_replaced(kafka: &Kafka) -> TestResult {
    let log: Arc<KafkaLog> = Arc::new(open_kafka(config(kafka)).await?);
    let load = Load::start(log.clone(), "replaced").await?;
    for _ in 0..3 {
        load.goes_on("the producer is well").await?;
        // Some on their way, so that there is what can fail.
        let waiting: Vec<_> =
            (0..500).map(|number| log.append(append_to(&load.topic, number % PARTITIONS, &body("waiting")))).collect();
        log.fail_producer();
        for receipt in waiting {
            let outcome = tokio::time::timeout(Duration::from_secs(30), receipt).await.context("it waits for ever")?;
            ensure!(matches!(outcome, Ok(_) | Err(AppendError::Unavailable(_))), "{outcome:?}");
        }
    }
    load.goes_on("the last producer is well").await?;
    ensure!(log.health() == Health::Writable, "{:?}", log.health());
    let (_, failed) = load.check().await?;
    ensure!(failed > 0, "nobody waited");
    log.shutdown().await;
    Ok(())
}
