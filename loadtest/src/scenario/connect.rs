//! A storm: devices connect, are accepted, say goodbye, and do it again.

use std::{
    collections::BTreeMap,
    rc::Rc,
    time::{Duration, Instant},
};

use super::mqtt_connection;
use crate::{
    arguments::ConnectArguments, authority::Authority, devices::Devices, measurement::Counters, report::Report,
    target::Target, tls::Connector,
};

/// Runs the scenario.
pub async fn run(target: &Target, options: &ConnectArguments) -> anyhow::Result<Report> {
    let storm = if options.certificate_authority {
        Storm::by_authority(target, options).await?
    } else {
        Storm::by_token(target, options).await?
    };
    let counters = Rc::new(Counters::default());
    let tasks: Vec<_> = storm
        .clients
        .into_iter()
        .enumerate()
        .map(|(index, client)| tokio::task::spawn_local(client.run(index as u32, counters.clone())))
        .collect();
    counters.progress("warms up", "connects", Duration::from_secs(1)).await;
    let measured =
        counters.measure("connect", "connects", Duration::from_secs(options.duration_seconds), target.server).await;
    counters.stop();
    futures::future::join_all(tasks).await;
    if let Some(authority) = storm.authority {
        authority.remove(target).await?;
    }
    storm.devices.delete(target).await?;
    let handshake = if options.resume { "resumed" } else { "full" };
    let credential = if options.certificate_authority { "X.509 authority" } else { "SAS" };
    let title = format!(
        "connect: TLS 1.3 ({handshake} handshake) + {credential} + CONNACK, {} at a time, {} s",
        options.concurrency, options.duration_seconds
    );
    Ok(Report { title, unit: "connect", servers: vec![("ironhub".to_owned(), measured?)], figures: BTreeMap::new() })
}

/// Who connects, and what the hub has to forget afterwards.
struct Storm {
    devices: Devices,
    authority: Option<Authority>,
    clients: Vec<Client>,
}

impl Storm {
    async fn by_token(target: &Target, options: &ConnectArguments) -> anyhow::Result<Self> {
        let devices = Devices::create(target, options.concurrency).await?;
        let connector =
            Connector::new(&target.mqtt, &target.host_name, &target.certificate_authority_file, options.resume)?;
        let client = |index| Client { connect: devices.connect(index), connector: connector.clone() };
        let clients = (0..options.concurrency).map(client).collect();
        Ok(Self { devices, authority: None, clients })
    }

    async fn by_authority(target: &Target, options: &ConnectArguments) -> anyhow::Result<Self> {
        let devices = Devices::create_by_authority(target, options.concurrency).await?;
        let authority = Authority::register(target, format!("{}authority", devices.id(0))).await?;
        let client = |index| {
            let certificate = Some(authority.sign(&devices.id(index))?);
            let (name, trusted) = (&target.host_name, &target.certificate_authority_file);
            let connector = Connector::with_certificate(&target.mqtt, name, trusted, options.resume, certificate)?;
            Ok(Client { connect: devices.connect_by_certificate(index), connector })
        };
        let clients = (0..options.concurrency).map(client).collect::<anyhow::Result<_>>()?;
        Ok(Self { devices, authority: Some(authority), clients })
    }
}

/// One device.
struct Client {
    connect: mqtt::Connect,
    connector: Connector,
}

impl Client {
    /// Connects and leaves, over and over.
    async fn run(self, index: u32, counters: Rc<Counters>) {
        let mut source = index;
        while !counters.stopped() {
            let started = Instant::now();
            source = source.wrapping_add(1);
            let result = async {
                let stream = mqtt_connection::open(&self.connector, source, &self.connect).await?;
                counters.record(started.elapsed());
                mqtt_connection::close(stream).await
            };
            counters.unless_stopped(result.await);
        }
    }
}
