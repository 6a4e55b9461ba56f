//! A storm: devices connect, are accepted, say goodbye, and do it again.

use std::{
    collections::BTreeMap,
    rc::Rc,
    time::{Duration, Instant},
};

use super::mqtt_connection;
use crate::{
    arguments::ConnectArguments, devices::Devices, measurement::Counters, report::Report, target::Target,
    tls::Connector,
};

/// Runs the scenario.
pub async fn run(target: &Target, options: &ConnectArguments) -> anyhow::Result<Report> {
    let devices = Rc::new(Devices::create(target, options.concurrency).await?);
    let connector = Connector::new(target.mqtt, &target.host_name, &target.certificate_authority_file, options.resume)?;
    let counters = Rc::new(Counters::default());
    let tasks: Vec<_> = (0..options.concurrency)
        .map(|index| tokio::task::spawn_local(storm(devices.clone(), index, connector.clone(), counters.clone())))
        .collect();
    counters.progress("warms up", "connects", Duration::from_secs(1)).await;
    let measured =
        counters.measure("connect", "connects", Duration::from_secs(options.duration_seconds), target.server).await;
    counters.stop();
    futures::future::join_all(tasks).await;
    if let Some(devices) = Rc::into_inner(devices) {
        devices.delete(target).await?;
    }
    let handshake = if options.resume { "resumed" } else { "full" };
    let title = format!(
        "connect: TLS 1.3 ({handshake} handshake) + SAS + CONNACK, {} at a time, {} s",
        options.concurrency, options.duration_seconds
    );
    Ok(Report { title, unit: "connect", servers: vec![("ironhub".to_owned(), measured?)], figures: BTreeMap::new() })
}

async fn storm(devices: Rc<Devices>, index: u32, connector: Connector, counters: Rc<Counters>) {
    let connect = devices.connect(index);
    let mut source = index;
    while !counters.stopped() {
        let started = Instant::now();
        source = source.wrapping_add(1);
        let result = async {
            let stream = mqtt_connection::open(&connector, source, &connect).await?;
            counters.record(started.elapsed());
            mqtt_connection::close(stream).await
        };
        counters.unless_stopped(result.await);
    }
}
