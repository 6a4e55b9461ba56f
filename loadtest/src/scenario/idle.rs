//! Devices connect and stay silent: what does each of them hold in the server's memory?

use std::{cell::Cell, collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use amqp::Source;
use anyhow::Context;
use futures::future::try_join_all;

use super::{amqp_connection::AmqpConnection, mqtt_connection, subscribed_device::SubscribedDevice};
use crate::{
    arguments::{IdleArguments, Protocol},
    devices::Devices,
    measurement::Counters,
    report::Report,
    server_process::Memory,
    target::Target,
    tls::{Connector, TlsStream},
};

/// As much as the SDK for Node takes in advance.
const MESSAGES_CREDIT: u32 = 1000;

/// Runs the scenario.
pub async fn run(target: &Target, options: &IdleArguments) -> anyhow::Result<Report> {
    let server = target.server.context("memory is read from /proc: name the server with --data-dir or --server-pid")?;
    let loaded = options.devices_file.as_deref().map(|file| Devices::load(target, file)).transpose()?.flatten();
    let devices = match (loaded, &options.devices_file) {
        (Some(devices), _) => devices,
        (None, None) => Devices::create(target, options.connections).await?,
        (None, Some(file)) => return made(&Devices::create(target, options.connections).await?, file),
    };
    anyhow::ensure!(options.protocol != Protocol::Https, "there is nothing idle about HTTPS");
    anyhow::ensure!(devices.count() >= options.connections, "the file names {} devices only", devices.count());
    let settle = Duration::from_secs(options.settle_seconds);
    tokio::time::sleep(settle).await;
    let before = server.memory()?;
    let endpoint = if options.protocol == Protocol::Amqp { &target.amqp } else { &target.mqtt };
    let connector = Connector::new(endpoint, &target.host_name, &target.certificate_authority_file, false)?;
    let counters = Counters::default();
    let streams = open_all(&devices, &connector, options, &counters).await?;
    let measured = counters.measure("idle", "connects", settle.max(Duration::from_secs(1)), Some(server)).await?;
    let after = server.memory()?;
    drop(streams);
    devices.delete(target).await?;
    let subscribed = if options.subscribe { ", subscribed to everything" } else { "" };
    let protocol = options.protocol;
    let title = format!("idle: {} silent devices, {protocol:?} over TLS{subscribed}", options.connections);
    let figures = figures(options.connections, before, after);
    Ok(Report { title, unit: "connect", servers: vec![("ironhub".to_owned(), measured)], figures })
}

/// The devices are there; the next run connects them.
fn made(devices: &Devices, file: &Path) -> anyhow::Result<Report> {
    devices.save(file)?;
    let title = format!("idle: made {} devices; restart the hub and run this again", devices.count());
    Ok(Report { title, unit: "connect", servers: Vec::new(), figures: BTreeMap::new() })
}

async fn open_all(
    devices: &Devices,
    connector: &Connector,
    options: &IdleArguments,
    counters: &Counters,
) -> anyhow::Result<Vec<TlsStream>> {
    let next = &Cell::new(0);
    let opened = try_join_all((0..options.concurrency).map(async |_| {
        let mut streams = Vec::new();
        loop {
            let index = next.get();
            if index >= options.connections {
                return anyhow::Ok(streams);
            }
            next.set(index + 1);
            streams.push(match options.protocol {
                Protocol::Amqp => open_amqp(devices, connector, index).await?,
                _ => open_mqtt(&devices.connect(index), connector, index, options.subscribe).await?,
            });
            counters.add(1);
        }
    }));
    tokio::select! {
        streams = opened => Ok(streams?.into_iter().flatten().collect()),
        () = counters.progress("connecting", "connects", Duration::from_secs(3600)) => anyhow::bail!("connecting takes an hour"),
    }
}

/// A token, a link for telemetry and one for messages.
async fn open_amqp(devices: &Devices, connector: &Connector, index: u32) -> anyhow::Result<TlsStream> {
    let mut connection = AmqpConnection::open(connector, index, Arc::default()).await?;
    let node = devices.node(index);
    connection.authenticate(&devices.token(index), &node).await?;
    connection.attach_sender(&format!("{node}/messages/events")).await?;
    connection.attach_receiver(Source::at(format!("{node}/messages/devicebound")), MESSAGES_CREDIT).await?;
    connection.into_stream().await
}

async fn open_mqtt(
    connect: &mqtt::Connect,
    connector: &Connector,
    index: u32,
    subscribes: bool,
) -> anyhow::Result<TlsStream> {
    if !subscribes {
        return mqtt_connection::open(connector, index, connect).await;
    }
    let messages = format!("devices/{}/messages/devicebound/#", connect.client_id);
    let filters = [
        (messages.as_str(), 1),
        ("$iothub/methods/POST/#", 0),
        ("$iothub/twin/res/#", 0),
        ("$iothub/twin/PATCH/properties/desired/#", 0),
    ];
    Ok(SubscribedDevice::open(connector, index, connect, &filters).await?.into_stream())
}

fn figures(connections: u32, before: Memory, after: Memory) -> BTreeMap<&'static str, f64> {
    let each = |before: u64, after: u64| (after as f64 - before as f64) / 1024.0 / f64::from(connections);
    BTreeMap::from([
        ("RSS per connection, KiB", each(before.resident, after.resident)),
        ("private per connection, KiB", each(before.private, after.private)),
        ("RSS before, MiB", before.resident as f64 / 1048576.0),
    ])
}
