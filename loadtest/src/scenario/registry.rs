//! Service clients create or read devices, each over its own keep-alive connection.

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

/// Devices that are there to be read.
const READ_DEVICES: u32 = 10_000;

/// Runs the scenario.
pub async fn run(target: &Target, options: &RegistryArguments) -> anyhow::Result<Report> {
    let work = Work::of(options);
    let devices = match work {
        Work::Read => Devices::create(target, READ_DEVICES).await?,
        Work::Put | Work::Bulk(_) => Devices::none(target)?,
    };
    let load = Rc::new(Load {
        work,
        devices,
        connector: devices::https_connector(target)?,
        token: devices::service_token(target),
        host: target.host_name.clone(),
        next: Cell::new(0),
        counters: Counters::default(),
        failure: RefCell::new(None),
    });
    let tasks: Vec<_> =
        (0..options.clients).map(|client| tokio::task::spawn_local(load.clone().client(client))).collect();
    let unit = work.unit();
    load.counters.progress("warms up", &format!("{unit}s"), Duration::from_secs(1)).await;
    let duration = Duration::from_secs(options.duration_seconds);
    let measured = load.counters.measure("registry", &format!("{unit}s"), duration, target.server).await;
    load.counters.stop();
    futures::future::join_all(tasks).await;
    if let Some(failure) = load.failure.take() {
        return Err(failure.context("a client gave up"));
    }
    let count = if work == Work::Read { READ_DEVICES } else { load.next.get() };
    load.devices.clone().with_count(count).delete(target).await?;
    let title = format!("registry: {}, {} clients, {} s", work.title(), options.clients, options.duration_seconds);
    Ok(Report { title, unit, servers: vec![("ironhub".to_owned(), measured?)], figures: BTreeMap::new() })
}

/// What every call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Put,
    /// So many devices are created at once.
    Bulk(u32),
    Read,
}

impl Work {
    fn of(options: &RegistryArguments) -> Self {
        match options.bulk {
            _ if options.read => Self::Read,
            1 => Self::Put,
            devices => Self::Bulk(devices),
        }
    }

    fn unit(self) -> &'static str {
        if self == Self::Read { "read" } else { "create" }
    }

    fn title(self) -> String {
        match self {
            Self::Put => "device creates".to_owned(),
            Self::Bulk(devices) => format!("device creates, {devices} a call (latency is of calls)"),
            Self::Read => "device reads".to_owned(),
        }
    }

    fn devices(self) -> u32 {
        if let Self::Bulk(devices) = self { devices } else { 1 }
    }
}

/// What all clients share.
struct Load {
    work: Work,
    devices: Devices,
    connector: Connector,
    token: String,
    host: String,
    next: Cell<u32>,
    counters: Counters,
    failure: RefCell<Option<anyhow::Error>>,
}

impl Load {
    async fn client(self: Rc<Self>, client: u32) {
        if let Err(error) = self.call(client).await {
            self.failure.replace(Some(error));
        }
    }

    async fn call(&self, client: u32) -> anyhow::Result<()> {
        let mut connection = HttpConnection::new(self.connector.connect(client).await?);
        let devices = self.work.devices();
        while !self.counters.stopped() {
            let request = self.request(self.next.replace(self.next.get() + devices));
            let started = Instant::now();
            match connection.send(&request).await? {
                (200, _) => self.counters.record_many(devices.into(), started.elapsed()),
                (status, body) => bail!("the hub answered {status} {}", String::from_utf8_lossy(&body)),
            }
        }
        Ok(())
    }

    fn request(&self, first: u32) -> Vec<u8> {
        let (method, path, body) = match self.work {
            Work::Put => {
                let id = self.devices.id(first);
                ("PUT", format!("/devices/{id}"), format!("{{\"deviceId\":\"{id}\",\"status\":\"enabled\"}}"))
            }
            Work::Bulk(devices) => {
                let entry = |index| format!("{{\"id\":\"{}\",\"importMode\":\"create\"}}", self.devices.id(index));
                let entries: Vec<_> = (first..first + devices).map(entry).collect();
                ("POST", "/devices".to_owned(), format!("[{}]", entries.join(",")))
            }
            Work::Read => ("GET", format!("/devices/{}", self.devices.id(first % READ_DEVICES)), String::new()),
        };
        let target = format!("{path}?api-version={}", devices::API_VERSION);
        let (host, token, headers) = (&self.host, &self.token, "Content-Type: application/json\r\n");
        Request { method, target: &target, host, token, headers, body: body.as_bytes() }.encode()
    }
}
