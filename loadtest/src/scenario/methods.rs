//! Back ends invoke methods, devices answer at once: how long the way there and back takes.

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use futures::future::try_join_all;

use super::{service_calls::Calls, subscribed_device::SubscribedDevice};
use crate::{
    arguments::CallsArguments, devices::Devices, measurement::Counters, report::Report, target::Target, tls::Connector,
};

/// Runs the scenario.
pub async fn run(target: &Target, options: &CallsArguments) -> anyhow::Result<Report> {
    let devices = Devices::create(target, options.connections).await?;
    let connector = Connector::new(&target.mqtt, &target.host_name, &target.certificate_authority_file, false)?;
    let opened = (0..options.connections).map(async |index| {
        SubscribedDevice::open(&connector, index, &devices.connect(index), &[("$iothub/methods/POST/#", 0)]).await
    });
    let counters = Rc::new(Counters::default());
    for device in try_join_all(opened).await? {
        let counters = counters.clone();
        tokio::task::spawn_local(async move {
            let result = answer(device, &counters).await;
            counters.unless_stopped(result);
        });
    }
    let (named, count) = (devices.clone(), u64::from(options.connections));
    let call = move |number: u64| {
        let id = named.id((number % count) as u32);
        (
            format!("/twins/{id}/methods"),
            br#"{"methodName":"echo","payload":{"n":1},"responseTimeoutInSeconds":10}"#.to_vec(),
        )
    };
    let duration = Duration::from_secs(options.duration_seconds);
    let calls = Calls { clients: options.clients, rate: options.rate, duration, unit: "calls", records: true };
    let measured = calls.run(target, &counters, Rc::new(call)).await;
    devices.delete(target).await?;
    let CallsArguments { connections, clients, rate, duration_seconds, .. } = options;
    let title = format!("methods: {rate}/s by {clients} clients on {connections} devices, {duration_seconds} s");
    Ok(Report { title, unit: "call", servers: vec![("ironhub".to_owned(), measured?)], figures: BTreeMap::new() })
}

/// Answers every method with its payload.
async fn answer(mut device: SubscribedDevice, counters: &Counters) -> anyhow::Result<()> {
    while !counters.stopped() {
        for message in device.read().await? {
            if let Some((_, request_id)) = message.topic.split_once("?$rid=") {
                device.publish(&format!("$iothub/methods/res/200/?$rid={request_id}"), &message.payload);
            }
        }
        device.flush().await?;
    }
    Ok(())
}
