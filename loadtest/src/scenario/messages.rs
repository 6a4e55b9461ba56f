//! Back ends send messages to devices: how long it takes from the request until the device has the message.

use std::{
    collections::BTreeMap,
    rc::Rc,
    time::{Duration, Instant},
};

use futures::future::try_join_all;

use super::{
    service_calls::{Calls, age, stamp},
    subscribed_device::SubscribedDevice,
};
use crate::{
    arguments::CallsArguments, devices::Devices, measurement::Counters, report::Report, target::Target, tls::Connector,
};

/// Runs the scenario.
pub async fn run(target: &Target, options: &CallsArguments) -> anyhow::Result<Report> {
    let devices = Devices::create(target, options.connections).await?;
    let connector = Connector::new(&target.mqtt, &target.host_name, &target.certificate_authority_file, false)?;
    let opened = (0..options.connections).map(async |index| {
        let filter = format!("devices/{}/messages/devicebound/#", devices.id(index));
        SubscribedDevice::open(&connector, index, &devices.connect(index), &[(&filter, 1)]).await
    });
    let (counters, began) = (Rc::new(Counters::default()), Instant::now());
    for device in try_join_all(opened).await? {
        let counters = counters.clone();
        tokio::task::spawn_local(async move {
            let result = receive(device, &counters, began).await;
            counters.unless_stopped(result);
        });
    }
    let (named, count) = (devices.clone(), u64::from(options.connections));
    let call = move |number: u64| {
        let id = named.id((number % count) as u32);
        (format!("/devices/{id}/messages/devicebound"), stamp(began))
    };
    let duration = Duration::from_secs(options.duration_seconds);
    let calls = Calls { clients: options.clients, rate: options.rate, duration, unit: "messages", records: false };
    let measured = calls.run(target, &counters, Rc::new(call)).await;
    devices.delete(target).await?;
    let CallsArguments { connections, clients, rate, duration_seconds, .. } = options;
    let title = format!("c2d: {rate}/s by {clients} clients to {connections} devices, QoS 1, {duration_seconds} s");
    Ok(Report { title, unit: "message", servers: vec![("ironhub".to_owned(), measured?)], figures: BTreeMap::new() })
}

/// Acknowledges every message and tells how old it was.
async fn receive(mut device: SubscribedDevice, counters: &Counters, began: Instant) -> anyhow::Result<()> {
    while !counters.stopped() {
        for message in device.read().await? {
            if let Some(age) = age(began, &message.payload) {
                counters.record(age);
            }
        }
        device.flush().await?;
    }
    Ok(())
}
