//! Whatever was acknowledged is there after a kill, and in an image of the data folder taken at any moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
    time::Duration,
};

use ironhub_tests::{Device, Hub, HubOptions, Received, TestResult};
use serde_json::Value;

const ROUNDS: usize = 20;
const DEVICES: usize = 3;
/// Messages that a device has in flight.
const WINDOW: u16 = 16;

/// Publishes numbers at QoS 1 until the connection breaks or enough are acknowledged; returns how many were.
async fn publish_until(hub: &Hub, device: &Device, first: u64, enough: u64) -> TestResult<u64> {
    let mut client = hub.connect(device).await?;
    let (mut sent, mut acknowledged) = (first, first);
    loop {
        let mut out = Vec::new();
        while sent - acknowledged < u64::from(WINDOW) {
            let id = (sent % 60_000) as u16 + 1;
            mqtt::client::publish(&device.events_topic(), sent.to_string().as_bytes(), Some(id), &mut out);
            sent += 1;
        }
        if client.send(&out).await.is_err() {
            return Ok(acknowledged);
        }
        match client.receive().await? {
            Received::PubAck(id) => {
                assert_eq!(u64::from(id), acknowledged % 60_000 + 1, "acknowledged in order");
                acknowledged += 1;
            }
            Received::Closed => return Ok(acknowledged),
            other => anyhow::bail!("{other:?}"),
        }
        if acknowledged - first >= enough {
            return Ok(acknowledged);
        }
    }
}

/// All of them publish; each stops when it has enough.
async fn publish_all(hub: &Hub, devices: &[Device], first: &[u64], enough: u64) -> TestResult<Vec<u64>> {
    let publishers = devices.iter().zip(first).map(|(device, first)| publish_until(hub, device, *first, enough));
    futures::future::try_join_all(publishers).await
}

/// Offsets have no gaps, and every device's numbers below its count are there, first arrivals in order.
fn check(events: &[Value], devices: &[Device], acknowledged: &[u64], what: &str) {
    let mut offsets: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for event in events {
        let offset = match &event["offset"] {
            Value::String(text) => text.parse().ok(),
            number => number.as_u64(),
        };
        let new = offsets.entry(event["partition"].as_u64().unwrap()).or_default().insert(offset.unwrap());
        assert!(new, "{what}: an offset twice: {event}");
    }
    for (partition, offsets) in offsets {
        assert_eq!(offsets.last().copied(), Some(offsets.len() as u64 - 1), "{what}: partition {partition} has a gap");
    }
    for (device, acknowledged) in devices.iter().zip(acknowledged) {
        let of_device = events
            .iter()
            .filter(|event| event["systemProperties"]["iothub-connection-device-id"] == device.device_id.as_str());
        let numbers: BTreeSet<u64> = of_device.filter_map(|event| event["body"].as_u64()).collect();
        let missing: Vec<_> = (0..*acknowledged).filter(|number| !numbers.contains(number)).collect();
        assert!(missing.is_empty(), "{what}: {} lost {missing:?} of {acknowledged}", device.device_id);
    }
}

#[tokio::test]
async fn twenty_kills_lose_nothing_that_was_acknowledged() -> TestResult {
    let mut hub = Hub::start().await?;
    let mut devices = Vec::new();
    for _ in 0..DEVICES {
        devices.push(hub.new_device().await?);
    }
    let mut acknowledged = vec![0; DEVICES];
    for round in 0..ROUNDS {
        // A different moment in every round, from the first acknowledgements to well into the load.
        let wait = Duration::from_millis(20 + 13 * round as u64);
        let process = hub.process_id();
        let (result, ()) = tokio::join!(publish_all(&hub, &devices, &acknowledged, u64::MAX), async {
            tokio::time::sleep(wait).await;
            let _ = Command::new("kill").arg("-KILL").arg(process.to_string()).status();
        });
        acknowledged = result?;
        hub.ended().await?;
        hub = hub.restart().await?;
        let events = hub.all_events().await?;
        check(&events, &devices, &acknowledged, &format!("round {round}"));
        // What was sent and not acknowledged may be there too; numbers go on behind it.
        for (device, next) in devices.iter().zip(&mut acknowledged) {
            let of_device = events
                .iter()
                .filter(|event| event["systemProperties"]["iothub-connection-device-id"] == device.device_id.as_str());
            *next = of_device.filter_map(|event| event["body"].as_u64()).max().map_or(0, |number| number + 1);
        }
    }
    assert!(acknowledged.iter().sum::<u64>() > 100 * ROUNDS as u64 / 20, "there was load: {acknowledged:?}");
    Ok(())
}

/// An image of the files as they are at one moment in the middle of the load: what a crash of the machine leaves of
/// what was written. (What a crash leaves of what was not synced is tested beside the journal and the store.)
#[tokio::test]
async fn an_image_taken_under_load_has_what_was_acknowledged_before() -> TestResult {
    let hub = Hub::start().await?;
    let mut devices = Vec::new();
    for _ in 0..DEVICES {
        devices.push(hub.new_device().await?);
    }
    let mut acknowledged = vec![0; DEVICES];
    for round in 0..4 {
        acknowledged = publish_all(&hub, &devices, &acknowledged, 200).await?;
        let late = hub.new_device().await?;
        let image = tempfile::tempdir()?;
        let (more, copied) = tokio::join!(publish_all(&hub, &devices, &acknowledged, 400), async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            copy_stopped(hub.process_id(), &hub.data_dir(), image.path()).await
        });
        copied?;
        let copy = Hub::start_on(image.path(), HubOptions::default()).await?;
        check(&copy.all_events().await?, &devices, &acknowledged, &format!("image {round}"));
        for device in devices.iter().chain([&late]) {
            let found = copy.call("GET", &format!("/devices/{}", device.device_id), &[], &Value::Null).await?;
            assert_eq!(found.expect(200)?.json()?["etag"], device.etag.as_str());
        }
        acknowledged = more?;
    }
    Ok(())
}

/// Copies the folder while the process stands still.
async fn copy_stopped(process: u32, from: &Path, to: &Path) -> TestResult {
    let process = process.to_string();
    anyhow::ensure!(Command::new("kill").args(["-STOP", &process]).status()?.success());
    let copied = Command::new("cp").arg("-r").arg(from).arg(to.join("data")).status();
    anyhow::ensure!(Command::new("kill").args(["-CONT", &process]).status()?.success());
    anyhow::ensure!(copied?.success());
    Ok(())
}
