//! Devices report properties, one patch after the other: durable twin writes per second.

use std::{
    collections::BTreeMap,
    rc::Rc,
    time::{Duration, Instant},
};

use futures::future::{join_all, try_join_all};

use super::subscribed_device::SubscribedDevice;
use crate::{
    arguments::TwinsArguments, devices::Devices, measurement::Counters, report::Report, target::Target, tls::Connector,
};

/// Runs the scenario.
pub async fn run(target: &Target, options: &TwinsArguments) -> anyhow::Result<Report> {
    let devices = Devices::create(target, options.connections).await?;
    let connector = Connector::new(&target.mqtt, &target.host_name, &target.certificate_authority_file, false)?;
    let opened = (0..options.connections).map(async |index| {
        SubscribedDevice::open(&connector, index, &devices.connect(index), &[("$iothub/twin/res/#", 0)]).await
    });
    let opened = try_join_all(opened).await?;
    let counters = Rc::new(Counters::default());
    let tasks: Vec<_> = opened
        .into_iter()
        .map(|device| {
            let counters = counters.clone();
            tokio::task::spawn_local(async move {
                let result = report(device, &counters).await;
                counters.unless_stopped(result);
            })
        })
        .collect();
    counters.progress("warms up", "writes", Duration::from_secs(2)).await;
    let duration = Duration::from_secs(options.duration_seconds);
    let measured = counters.measure("twins", "writes", duration, target.server).await;
    counters.stop();
    join_all(tasks).await;
    devices.delete(target).await?;
    let title = format!("twins: reported patches of {} devices, {} s", options.connections, options.duration_seconds);
    Ok(Report { title, unit: "write", servers: vec![("ironhub".to_owned(), measured?)], figures: BTreeMap::new() })
}

/// One patch at a time; done when the hub answers 204.
async fn report(mut device: SubscribedDevice, counters: &Counters) -> anyhow::Result<()> {
    let mut number = 0_u64;
    while !counters.stopped() {
        number += 1;
        let started = Instant::now();
        let patch = format!(r#"{{"temperature":{number},"state":"running"}}"#);
        device.publish(&format!("$iothub/twin/PATCH/properties/reported/?$rid={number}"), patch.as_bytes());
        device.flush().await?;
        let messages = device.read().await?;
        let is_done = messages.iter().all(|message| message.topic.starts_with("$iothub/twin/res/204/"));
        anyhow::ensure!(is_done && messages.len() == 1, "the hub did not take the patch");
        counters.record(started.elapsed());
    }
    Ok(())
}
