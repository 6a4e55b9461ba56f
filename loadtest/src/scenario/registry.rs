//! Service clients create devices, each over its own keep-alive connection.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::bail;

use crate::{
    arguments::RegistryArguments,
    devices::{self, Devices},
    http::{HttpConnection, Request},
    measurement::Counters,
    report::Report,
    target::Target,
    tls::Connector,
};

/// Runs the scenario.
pub async fn run(target: &Target, options: &RegistryArguments) -> anyhow::Result<Report> {
    let creator = Rc::new(Creator {
        devices: Devices::none(target)?,
        connector: devices::https_connector(target)?,
        token: devices::service_token(target),
        host: target.host_name.clone(),
        next: Cell::new(0),
        counters: Counters::default(),
        failure: RefCell::new(None),
    });
    let tasks: Vec<_> =
        (0..options.clients).map(|client| tokio::task::spawn_local(creator.clone().client(client))).collect();
    creator.counters.progress("warms up", "creates", Duration::from_secs(1)).await;
    let duration = Duration::from_secs(options.duration_seconds);
    let measured = creator.counters.measure("registry", "creates", duration, target.server).await;
    creator.counters.stop();
    futures::future::join_all(tasks).await;
    if let Some(failure) = creator.failure.take() {
        return Err(failure.context("a client gave up"));
    }
    creator.devices.clone().with_count(creator.next.get()).delete(target).await?;
    let title = format!("registry: device creates, {} clients, {} s", options.clients, options.duration_seconds);
    Ok(Report { title, unit: "create", servers: vec![("ironhub".to_owned(), measured?)], figures: BTreeMap::new() })
}

/// What all clients share.
struct Creator {
    devices: Devices,
    connector: Connector,
    token: String,
    host: String,
    next: Cell<u32>,
    counters: Counters,
    failure: RefCell<Option<anyhow::Error>>,
}

impl Creator {
    async fn client(self: Rc<Self>, client: u32) {
        if let Err(error) = self.create(client).await {
            self.failure.replace(Some(error));
        }
    }

    async fn create(&self, client: u32) -> anyhow::Result<()> {
        let mut connection = HttpConnection::new(self.connector.connect(client).await?);
        while !self.counters.stopped() {
            let id = self.devices.id(self.next.replace(self.next.get() + 1));
            let target = format!("/devices/{id}?api-version={}", devices::API_VERSION);
            let body = format!("{{\"deviceId\":\"{id}\",\"status\":\"enabled\"}}");
            let (host, token) = (&self.host, &self.token);
            let headers = "Content-Type: application/json\r\n";
            let request = Request { method: "PUT", target: &target, host, token, headers, body: body.as_bytes() };
            let started = Instant::now();
            match connection.send(&request.encode()).await? {
                (200, _) => self.counters.record(started.elapsed()),
                (status, body) => bail!("the hub answered {status} {}", String::from_utf8_lossy(&body)),
            }
        }
        Ok(())
    }
}
