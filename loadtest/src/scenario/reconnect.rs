//! All devices lose their connection at once, because the hub restarts: how long until every one is served again?

use std::{
    cell::Cell,
    collections::BTreeMap,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::Context;
use futures::future::{join_all, try_join_all};
use tokio::{io::AsyncReadExt, time::timeout};

use super::{mqtt_connection, subscribed_device::SubscribedDevice};
use crate::{arguments::ReconnectArguments, console, devices::Devices, report::Report, target::Target, tls::Connector};

/// Connections being opened at the same time at the start.
const CONCURRENT_CONNECTS: usize = 64;
/// How long the restart of the hub is waited for.
const RESTART_WITHIN: Duration = Duration::from_secs(120);
/// How long a device waits before it tries again.
const RETRY: Duration = Duration::from_millis(100);

/// Runs the scenario.
pub async fn run(target: &Target, options: &ReconnectArguments) -> anyhow::Result<Report> {
    let devices = Devices::create(target, options.connections).await?;
    let connector = Connector::new(&target.mqtt, &target.host_name, &target.certificate_authority_file, false)?;
    let devices = Rc::new(devices);
    let mut opened = Vec::new();
    let indexes: Vec<u32> = (0..options.connections).collect();
    for some in indexes.chunks(CONCURRENT_CONNECTS) {
        opened.extend(try_join_all(some.iter().map(|index| open(&connector, &devices, *index))).await?);
    }
    console::progress(&format!("{} devices are connected; restart the hub now", options.connections));
    let first = Rc::new(Cell::new(None));
    let tasks = opened.into_iter().zip(indexes).map(|(device, index)| {
        let (connector, devices, first) = (connector.clone(), devices.clone(), first.clone());
        tokio::task::spawn_local(async move {
            let mut stream = device.into_stream();
            let _ = stream.read_u8().await; // until the hub goes
            loop {
                match mqtt_connection::open(&connector, index, &session(&devices, index)).await {
                    Ok(stream) => {
                        first.set(first.get().or(Some(Instant::now())));
                        return (stream, Instant::now());
                    }
                    Err(_) => tokio::time::sleep(RETRY).await,
                }
            }
        })
    });
    let served = timeout(RESTART_WITHIN, join_all(tasks)).await.context("not all devices came back")?;
    let served: Vec<_> = served.into_iter().collect::<Result<_, _>>()?;
    let (first, last) = (first.get(), served.iter().map(|(_, at)| *at).max());
    let seconds = first.zip(last).map_or(f64::NAN, |(first, last)| (last - first).as_secs_f64());
    drop(served);
    Rc::unwrap_or_clone(devices).delete(target).await?;
    let title = format!("reconnect: {} devices after a restart, sessions stored, no SUBSCRIBE", options.connections);
    let figures = BTreeMap::from([("seconds from the first to the last device", seconds)]);
    Ok(Report { title, unit: "device", servers: Vec::new(), figures })
}

/// A session that stays, as SDKs have it.
fn session(devices: &Devices, index: u32) -> mqtt::Connect {
    mqtt::Connect { clean_session: false, ..devices.connect(index) }
}

/// The first time, with all that is subscribed to.
async fn open(connector: &Connector, devices: &Devices, index: u32) -> anyhow::Result<SubscribedDevice> {
    let connect = session(devices, index);
    let filter = format!("devices/{}/messages/devicebound/#", devices.id(index));
    let filters = [(filter.as_str(), 1), ("$iothub/methods/POST/#", 0), ("$iothub/twin/PATCH/properties/desired/#", 0)];
    SubscribedDevice::open(connector, index, &connect, &filters).await
}
