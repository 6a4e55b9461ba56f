//! What an append to a Kafka costs this process, beside the embedded log:
//! `cargo bench -p eventlog --bench append_kafka -- 127.0.0.1:9092`. Prints a table.
//!
//! Appenders are tasks of a runtime with two threads; each appends calls of some records, the next call when the last was
//! acknowledged, or at a pace. CPU is the whole process: appenders, runtime, threads of the logs, kernel. Records look like
//! telemetry: the four annotations of the hub and 256 bytes.
#![allow(clippy::unwrap_used, reason = "a failure ends the benchmark")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use eventlog::{Append, EventLog, Topic, embedded, encode_record_with_body, kafka};
use model::{Annotation, Record};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const DURATION: Duration = Duration::from_secs(3);
const PARTITIONS: u32 = 4;

#[derive(Clone, Copy)]
struct Case {
    appenders: u32,
    records_per_call: u32,
    /// Records per second of all together; None: as fast as receipts come.
    pace: Option<u32>,
}

fn main() {
    // Cargo adds `--bench`.
    #[expect(clippy::disallowed_methods, reason = "a program of its own")]
    let Some(servers) = std::env::args().skip(1).find(|argument| argument.contains(':')) else {
        return eprintln!("which Kafka? for example: -- 127.0.0.1:9092");
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let kafka_config = kafka::Config { bootstrap_servers: servers, ..kafka::Config::default() };
    let embedded_config = embedded::Config { directory: folder.path().to_owned(), ..embedded::Config::default() };
    let logs: [(&str, Arc<dyn EventLog>); 2] = [
        ("embedded", Arc::new(embedded::EmbeddedLog::open(embedded_config).unwrap())),
        ("kafka", Arc::new(kafka::KafkaLog::open(&kafka_config).unwrap())),
    ];
    println!("log       appenders  per call     pace  records/s  CPU us/record  p50 us   p99 us");
    for (appenders, records_per_call, pace) in
        [(200, 1, Some(5_000)), (200, 1, None), (200, 8, None), (200, 32, None), (2000, 1, None)]
    {
        for (name, log) in &logs {
            runtime.block_on(run(name, log, Case { appenders, records_per_call, pace }));
        }
    }
    runtime.block_on(async {
        for (_, log) in &logs {
            log.shutdown().await;
        }
    });
}

async fn run(name: &str, log: &Arc<dyn EventLog>, case: Case) {
    let topic = Topic::new("benchmark");
    log.create_topic(&topic, PARTITIONS).await.unwrap();
    let (cpu, started) = (cpu(), Instant::now());
    let appenders: Vec<_> =
        (0..case.appenders).map(|number| tokio::spawn(append(log.clone(), topic.clone(), number, case))).collect();
    let mut latencies = Vec::new();
    for appender in appenders {
        latencies.extend(appender.await.unwrap());
    }
    latencies.sort_unstable();
    let records = latencies.len() as f64 * f64::from(case.records_per_call);
    let quantile = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_micros();
    println!(
        "{name:<9} {:>9} {:>9} {:>8} {:>10.0} {:>14.2} {:>7} {:>8}",
        case.appenders,
        case.records_per_call,
        case.pace.map_or("free".to_owned(), |pace| pace.to_string()),
        records / started.elapsed().as_secs_f64(),
        (self::cpu() - cpu).as_micros() as f64 / records,
        quantile(0.5),
        quantile(0.99),
    );
}

async fn append(log: Arc<dyn EventLog>, topic: Topic, number: u32, case: Case) -> Vec<Duration> {
    let between = case.pace.map(|pace| Duration::from_secs(1) * case.appenders * case.records_per_call / pace);
    let record = record(number);
    let append = Append { topic, partition: number % PARTITIONS, record };
    let until = Instant::now() + DURATION;
    let mut next = Instant::now() + between.unwrap_or_default().mul_f64(f64::from(number % 97) / 97.0);
    let mut latencies = Vec::new();
    while Instant::now() < until {
        if let Some(between) = between {
            tokio::time::sleep_until(next.into()).await;
            next += between;
        }
        let started = Instant::now();
        log.append(vec![append.clone(); case.records_per_call as usize]).await.unwrap();
        latencies.push(started.elapsed());
    }
    latencies
}

fn record(number: u32) -> Bytes {
    let method = r#"{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#;
    let annotations = vec![
        (Annotation::ConnectionDeviceId, format!("device-{number}").into()),
        (Annotation::ConnectionAuthGenerationId, "638300000000000000".into()),
        (Annotation::ConnectionAuthMethod, method.into()),
        (Annotation::MessageSource, "Telemetry".into()),
    ];
    let mut wire = Vec::new();
    encode_record_with_body(&Record { annotations, ..Record::default() }, &[b'x'; 256], &mut wire);
    wire.into()
}

/// User and system time of this process so far; counts in steps of 10 ms.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}
