//! Back ends read what devices sent: how fast does one reader catch up, and how old is an event when it arrives?

use std::{
    collections::BTreeMap,
    rc::Rc,
    time::{Duration, SystemTime},
};

use super::{
    event_reader::{EventReader, Start, enqueued_time},
    senders::Senders,
};
use crate::{
    arguments::{Comparison, EventsArguments, Protocol, TelemetryArguments},
    devices::Devices,
    measurement::{Counters, Measurement},
    report::Report,
    target::Target,
};

const IN_FLIGHT: u16 = 32;
const WARM_UP: Duration = Duration::from_secs(2);

/// Runs the scenario.
pub async fn run(target: &Target, options: &EventsArguments) -> anyhow::Result<Report> {
    let devices = Devices::create(target, options.connections).await?;
    let measured = match options.rate {
        Some(_) => follow(target, options, &devices).await,
        None => catch_up(target, options, &devices).await,
    };
    devices.delete(target).await?;
    let EventsArguments { connections, payload_bytes, credit, duration_seconds, .. } = options;
    let what = match options.rate {
        Some(rate) => format!("one reader waits, {rate}/s; the latency is from enqueued to received"),
        None => "one reader catches up".to_owned(),
    };
    let title = format!(
        "events: {what}; {connections} devices, {payload_bytes} bytes, credit {credit} a partition, {duration_seconds} s"
    );
    Ok(Report { title, unit: "event", servers: vec![("ironhub".to_owned(), measured?)], figures: BTreeMap::new() })
}

/// Everything is there; it is read over and over.
async fn catch_up(target: &Target, options: &EventsArguments, devices: &Devices) -> anyhow::Result<Measurement> {
    let senders = senders(options);
    senders.start(target, devices).await?;
    while senders.counters.done() < options.events {
        senders.counters.progress("sending", "events", Duration::from_secs(1)).await;
        senders.counters.check()?;
    }
    senders.counters.stop();
    let mut reader = EventReader::open(target).await?;
    let total = reader.event_count().await?;
    let (counters, credit) = (Rc::new(Counters::default()), options.credit);
    let reading = async |counters: &Counters| {
        loop {
            reader.start(Start::Earliest, credit).await?;
            let mut read = 0;
            while read < total {
                if counters.stopped() {
                    return Ok(());
                }
                let mut count = 0;
                reader.receive(|_, _| count += 1).await?;
                counters.add(count);
                read += count;
            }
        }
    };
    measure(reading, target, options, &counters).await
}

/// The reader waits for what is sent.
async fn follow(target: &Target, options: &EventsArguments, devices: &Devices) -> anyhow::Result<Measurement> {
    let senders = senders(options);
    let mut reader = EventReader::open(target).await?;
    reader.start(Start::Latest, options.credit).await?;
    senders.start(target, devices).await?;
    senders.pace();
    let counters = Rc::new(Counters::default());
    let reading = async |counters: &Counters| {
        while !counters.stopped() {
            reader
                .receive(|_, event| enqueued_time(event).and_then(age).into_iter().for_each(|age| counters.record(age)))
                .await?;
        }
        Ok(())
    };
    let measured = measure(reading, target, options, &counters).await;
    senders.counters.stop();
    senders.counters.check()?;
    measured
}

/// Reads for a while.
async fn measure(
    mut reading: impl AsyncFnMut(&Counters) -> anyhow::Result<()>,
    target: &Target,
    options: &EventsArguments,
    counters: &Counters,
) -> anyhow::Result<Measurement> {
    let measuring = async {
        counters.progress("warms up", "events", WARM_UP).await;
        let duration = Duration::from_secs(options.duration_seconds);
        counters.measure("ironhub", "events", duration, target.server).await
    };
    tokio::select! {
        measured = measuring => measured,
        ended = reading(counters) => Err(ended.err().unwrap_or_else(|| anyhow::anyhow!("the reader stopped"))),
    }
}

fn senders(options: &EventsArguments) -> Senders {
    let EventsArguments { connections, payload_bytes, rate, duration_seconds, .. } = *options;
    Senders::new(&TelemetryArguments {
        connections,
        quality_of_service: 1,
        payload_bytes,
        in_flight: IN_FLIGHT,
        rate,
        duration_seconds,
        warm_up_seconds: WARM_UP.as_secs(),
        silent_connections: 0,
        protocol: Protocol::Mqtt,
        compare: None::<Comparison>,
        rounds: 1,
    })
}

/// How long ago that was, by the clock that the hub on this machine has, too. Its times are whole milliseconds, so this is
/// up to one millisecond too long.
fn age(enqueued_milliseconds: i64) -> Option<Duration> {
    let enqueued = Duration::from_millis(enqueued_milliseconds.try_into().ok()?);
    Some(SystemTime::UNIX_EPOCH.elapsed().ok()?.saturating_sub(enqueued))
}
