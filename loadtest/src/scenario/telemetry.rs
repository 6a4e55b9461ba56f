//! Devices send telemetry; with a comparison, mosquitto gets the same load in turns.

use std::{cell::Cell, collections::BTreeMap, future::Future, rc::Rc, time::Duration};

use anyhow::Context;
use futures::future::try_join_all;

use super::{https_publisher, mqtt_connection, mqtt_publisher, pacer, pacer::Turns, silent::Silent, subscriber};
use crate::{
    arguments::{Comparison, Protocol, TelemetryArguments},
    devices::{self, Devices},
    http::Request,
    measurement::{Counters, Measurement},
    mosquitto::Mosquitto,
    publish_template::PublishTemplate,
    report::Report,
    target::Target,
    tls::Connector,
};

/// Connections being opened at the same time.
const CONCURRENT_CONNECTS: u32 = 32;
/// Until the connections of a round are gone.
const BETWEEN_ROUNDS: Duration = Duration::from_secs(3);

/// Runs the scenario against the hub, in turns with mosquitto if wanted.
pub async fn run(target: &Target, options: &TelemetryArguments) -> anyhow::Result<Report> {
    let mqtt = options.protocol == Protocol::Mqtt;
    anyhow::ensure!(
        mqtt || (options.compare != Some(Comparison::Mosquitto) && options.quality_of_service == 1),
        "mosquitto and QoS 0 are for MQTT"
    );
    anyhow::ensure!(mqtt || options.in_flight == 1, "HTTPS has one request in flight; leave --in-flight away");
    let devices = Devices::create(target, options.connections).await?;
    let measured = rounds(target, options, &devices).await;
    devices.delete(target).await?;
    Ok(Report { title: title(options), unit: "message", servers: measured?, figures: BTreeMap::new() })
}

async fn rounds(
    target: &Target,
    options: &TelemetryArguments,
    devices: &Devices,
) -> anyhow::Result<Vec<(String, Measurement)>> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let names = match options.compare {
        None => return Ok(vec![("ironhub".to_owned(), hub_round(target, options, devices).await?)]),
        Some(Comparison::Mosquitto) => {
            let mosquitto = Mosquitto::start()?;
            for _ in 0..options.rounds {
                ours.push(hub_round(target, options, devices).await?);
                theirs.push(mosquitto_round(&mosquitto, options).await?);
            }
            ["ironhub", "mosquitto"]
        }
        Some(Comparison::Quiet) => {
            let quiet = TelemetryArguments { silent_connections: 0, ..options.clone() };
            for _ in 0..options.rounds {
                ours.push(hub_round(target, options, devices).await?);
                theirs.push(hub_round(target, &quiet, devices).await?);
            }
            ["beside silence", "alone"]
        }
    };
    let [ours, theirs] = [ours, theirs].map(|rounds| Measurement::median(&rounds));
    Ok(names.map(str::to_owned).into_iter().zip([ours, theirs]).collect())
}

async fn hub_round(target: &Target, options: &TelemetryArguments, devices: &Devices) -> anyhow::Result<Measurement> {
    let round = Round::new(options);
    let connector = Connector::new(target.mqtt, &target.host_name, &target.certificate_authority_file, false)?;
    let silent = Silent::open(&connector, options.silent_connections).await?;
    match options.protocol {
        Protocol::Mqtt => {
            round.start_mqtt(options, &connector, |index| (devices.id(index), devices.connect(index))).await?;
        }
        Protocol::Https => round.start_https(options, target, devices).await?,
    }
    let measured = round.measure("ironhub", options, target.server).await;
    round.counters.stop();
    drop(silent);
    if options.compare == Some(Comparison::Quiet) {
        // The end of one round is not the next one's load.
        tokio::time::sleep(BETWEEN_ROUNDS).await;
    }
    measured
}

async fn mosquitto_round(mosquitto: &Mosquitto, options: &TelemetryArguments) -> anyhow::Result<Measurement> {
    let round = Round::new(options);
    let connector = Connector::new(mosquitto.address, "127.0.0.1", &mosquitto.authority_file(), false)?;
    let received = Rc::new(Cell::new(0));
    round.spawn(subscriber::run(
        connector.clone(),
        devices::connect("subscriber".into(), None),
        received.clone(),
        round.counters.clone(),
    ));
    let identity = |index| {
        let id = format!("device-{index}");
        (id.clone(), devices::connect(id, None))
    };
    round.start_mqtt(options, &connector, identity).await?;
    let measured = round.measure("mosquitto", options, Some(mosquitto.server()?)).await?;
    round.counters.stop();
    anyhow::ensure!(
        received.get() > measured.count / 2,
        "the subscriber got {} of {} messages",
        received.get(),
        measured.count
    );
    Ok(measured)
}

/// One stretch of load on one server.
struct Round {
    counters: Rc<Counters>,
    /// One for each connection when the load is paced.
    turns: Option<Vec<Rc<Turns>>>,
}

impl Round {
    fn new(options: &TelemetryArguments) -> Self {
        let turns = || (0..options.connections).map(|_| Rc::default()).collect();
        Self { counters: Rc::default(), turns: options.rate.map(|_| turns()) }
    }

    fn turns(&self, index: u32) -> Option<Rc<Turns>> {
        self.turns.as_ref()?.get(index as usize).cloned()
    }

    /// Runs a task beside the others; its failure is an error of the round.
    fn spawn(&self, task: impl Future<Output = anyhow::Result<()>> + 'static) {
        let counters = self.counters.clone();
        tokio::task::spawn_local(async move {
            let result = task.await;
            counters.unless_stopped(result);
        });
    }

    /// Connects all, then lets all begin.
    async fn start_mqtt(
        &self,
        options: &TelemetryArguments,
        connector: &Connector,
        identity: impl Fn(u32) -> (String, mqtt::Connect),
    ) -> anyhow::Result<()> {
        let payload = vec![b'x'; options.payload_bytes];
        let identities: Vec<_> = (0..options.connections).map(identity).collect();
        let opened = open_all(options.connections, async |index| {
            let (_, connect) = identities.get(index as usize).context("no such device")?;
            mqtt_connection::open(connector, index, connect).await
        });
        for ((index, stream), (id, _)) in opened.await?.into_iter().enumerate().zip(&identities) {
            let topic = format!("devices/{id}/messages/events/");
            let acknowledged = options.quality_of_service == 1;
            let publisher = mqtt_publisher::Publisher {
                template: PublishTemplate::new(&topic, &payload, acknowledged),
                acknowledged,
                in_flight_max: options.in_flight.into(),
                turns: self.turns(index as u32),
                counters: self.counters.clone(),
            };
            self.spawn(publisher.run(stream));
        }
        Ok(())
    }

    async fn start_https(
        &self,
        options: &TelemetryArguments,
        target: &Target,
        devices: &Devices,
    ) -> anyhow::Result<()> {
        let connector = &devices::https_connector(target)?;
        let body = vec![b'x'; options.payload_bytes];
        let opened = open_all(options.connections, async |index| connector.connect(index).await).await?;
        for (index, stream) in (0..).zip(opened) {
            let path = format!("/devices/{}/messages/events?api-version={}", devices.id(index), devices::API_VERSION);
            let token = devices.token(index);
            let request = Request {
                method: "POST",
                target: &path,
                host: &target.host_name,
                token: &token,
                headers: "",
                body: &body,
            };
            let (request, turns) = (request.encode(), self.turns(index));
            self.spawn(https_publisher::Publisher { request, turns, counters: self.counters.clone() }.run(stream));
        }
        Ok(())
    }

    async fn measure(
        &self,
        name: &str,
        options: &TelemetryArguments,
        server: Option<crate::server_process::ServerProcess>,
    ) -> anyhow::Result<Measurement> {
        if let (Some(rate), Some(turns)) = (options.rate, &self.turns) {
            self.spawn(pacer::run(rate, turns.clone(), self.counters.clone()));
        }
        self.counters.progress(&format!("{name} warms up"), "messages", options.warm_up()).await;
        self.counters.measure(name, "messages", options.duration(), server).await
    }
}

/// Opens connections, some at a time; they come back in order.
async fn open_all<T>(count: u32, open: impl AsyncFn(u32) -> anyhow::Result<T>) -> anyhow::Result<Vec<T>> {
    let mut opened = Vec::with_capacity(count as usize);
    let mut next = 0;
    while next < count {
        let end = count.min(next + CONCURRENT_CONNECTS);
        opened.extend(try_join_all((next..end).map(async |index| open(index).await)).await?);
        next = end;
    }
    Ok(opened)
}

fn title(options: &TelemetryArguments) -> String {
    let TelemetryArguments { connections, payload_bytes, in_flight, duration_seconds, .. } = options;
    let protocol = match options.protocol {
        Protocol::Mqtt => format!("MQTT QoS {} over TLS", options.quality_of_service),
        Protocol::Https => "HTTPS".to_owned(),
    };
    let pace = options.rate.map_or_else(|| "unpaced".to_owned(), |rate| format!("{rate} messages/s"));
    let rounds = options.compare.map(|_| format!(", medians of {} rounds", options.rounds)).unwrap_or_default();
    let silent = match options.silent_connections {
        0 => String::new(),
        count => format!(", beside {count} silent ones"),
    };
    format!(
        "telemetry: {protocol}, {connections} connections{silent}, {payload_bytes} bytes, {in_flight} in flight, {pace}, \
         {duration_seconds} s{rounds}"
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::{Arguments, Scenario};

    /// The generator against a server that is known to work: every message is acknowledged and arrives.
    #[test]
    fn mosquitto_carries_the_load() -> anyhow::Result<()> {
        for (options, least) in [("--in-flight 8", 1_000), ("--rate 500", 400), ("--quality-of-service 0", 1_000)] {
            let line = format!(
                "ironhub-loadtest telemetry --connections 10 --duration-seconds 1 --warm-up-seconds 1 {options}"
            );
            let Scenario::Telemetry(options) = Arguments::try_parse_from(line.split(' '))?.scenario else { continue };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let mosquitto = Mosquitto::start()?;
            let measured = tokio::task::LocalSet::new().block_on(&runtime, mosquitto_round(&mosquitto, &options))?;
            assert!(measured.count >= least && measured.errors.is_empty(), "{line}: {measured:?}");
        }
        Ok(())
    }
}
