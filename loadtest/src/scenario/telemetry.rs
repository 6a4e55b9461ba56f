//! Devices send telemetry; with a comparison, something else gets the same load in turns.

use std::{cell::Cell, collections::BTreeMap, rc::Rc, time::Duration};

use super::{senders::Senders, silent::Silent, subscriber};
use crate::{
    arguments::{Comparison, Protocol, TelemetryArguments},
    devices::{self, Devices},
    measurement::Measurement,
    mosquitto::Mosquitto,
    report::Report,
    target::Target,
    tls::{Connector, Endpoint},
};

/// What is in flight on a connection of the MQTT that another protocol is compared with.
const MQTT_IN_FLIGHT: u16 = 32;
/// Until the connections of a round are gone.
const BETWEEN_ROUNDS: Duration = Duration::from_secs(3);

/// Runs the scenario against the hub, in turns with mosquitto if wanted.
pub async fn run(target: &Target, options: &TelemetryArguments) -> anyhow::Result<Report> {
    let mqtt = options.protocol == Protocol::Mqtt;
    anyhow::ensure!(
        mqtt || (options.compare != Some(Comparison::Mosquitto) && options.quality_of_service == 1),
        "mosquitto and QoS 0 are for MQTT"
    );
    let one_at_a_time = options.protocol == Protocol::Https;
    anyhow::ensure!(
        !one_at_a_time || options.in_flight == 1,
        "HTTPS has one request in flight; leave --in-flight away"
    );
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
        Some(Comparison::Mqtt) => {
            let mqtt = TelemetryArguments { protocol: Protocol::Mqtt, in_flight: MQTT_IN_FLIGHT, ..options.clone() };
            for _ in 0..options.rounds {
                ours.push(hub_round(target, options, devices).await?);
                theirs.push(hub_round(target, &mqtt, devices).await?);
            }
            ["this", "MQTT"]
        }
    };
    let [ours, theirs] = [ours, theirs].map(|rounds| Measurement::median(&rounds));
    Ok(names.map(str::to_owned).into_iter().zip([ours, theirs]).collect())
}

async fn hub_round(target: &Target, options: &TelemetryArguments, devices: &Devices) -> anyhow::Result<Measurement> {
    let senders = Senders::new(options);
    let connector = Connector::new(&target.mqtt, &target.host_name, &target.certificate_authority_file, false)?;
    let silent = Silent::open(&connector, options.silent_connections).await?;
    senders.start(target, devices).await?;
    let measured = senders.measure("ironhub", target.server).await;
    senders.counters.stop();
    drop(silent);
    if matches!(options.compare, Some(Comparison::Quiet | Comparison::Mqtt)) {
        // The end of one round is not the next one's load.
        tokio::time::sleep(BETWEEN_ROUNDS).await;
    }
    measured
}

async fn mosquitto_round(mosquitto: &Mosquitto, options: &TelemetryArguments) -> anyhow::Result<Measurement> {
    let senders = Senders::new(options);
    let connector = Connector::new(
        &Endpoint::new(vec![mosquitto.address], Vec::new())?,
        "127.0.0.1",
        &mosquitto.authority_file(),
        false,
    )?;
    let received = Rc::new(Cell::new(0));
    senders.spawn(subscriber::run(
        connector.clone(),
        devices::connect("subscriber".into(), None),
        received.clone(),
        senders.counters.clone(),
    ));
    let identity = |index| {
        let id = format!("device-{index}");
        (id.clone(), devices::connect(id, None))
    };
    senders.start_mqtt(&connector, identity).await?;
    let measured = senders.measure("mosquitto", Some(mosquitto.server()?)).await?;
    senders.counters.stop();
    anyhow::ensure!(
        received.get() > measured.count / 2,
        "the subscriber got {} of {} messages",
        received.get(),
        measured.count
    );
    Ok(measured)
}

fn title(options: &TelemetryArguments) -> String {
    let TelemetryArguments { connections, payload_bytes, in_flight, duration_seconds, .. } = options;
    let protocol = match options.protocol {
        Protocol::Mqtt => format!("MQTT QoS {} over TLS", options.quality_of_service),
        Protocol::Amqp => "AMQP over TLS".to_owned(),
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
