//! A full disk: writes are refused as documented, reads go on, health says why, and it ends when there is space again.

use std::{fs, io::Write, path::Path, process::Command, time::Duration};

use anyhow::Context;
use ironhub_tests::{Hub, HubOptions, Received, TestResult, eventually};
use serde_json::{Value, json};

/// A file system in memory that nobody else fills in a hurry.
const FILE_SYSTEM: &str = "/dev/shm";
/// How far the free space is above the reserve in the beginning.
const ROOM_BYTES: u64 = 48 << 20;

fn free_bytes(path: &str) -> TestResult<u64> {
    let output = Command::new("df").args(["--output=avail", "--block-size=1", path]).output()?;
    let text = String::from_utf8(output.stdout)?;
    text.lines().nth(1).and_then(|line| line.trim().parse().ok()).context("df does not say how much is free")
}

fn fill(path: &Path) -> TestResult {
    let mut file = fs::File::create(path)?;
    let chunk = vec![1; 1 << 20];
    for _ in 0..(ROOM_BYTES >> 20) + 8 {
        file.write_all(&chunk)?;
    }
    Ok(())
}

#[tokio::test]
async fn writes_are_refused_reads_go_on_and_it_recovers() -> TestResult {
    let folder = tempfile::tempdir_in(FILE_SYSTEM)?;
    let reserve = free_bytes(FILE_SYSTEM)?.checked_sub(ROOM_BYTES).context("there is too little space in /dev/shm")?;
    let config = format!("[event_log]\ndisk_reserve_bytes = {reserve}\n[shard]\ndisk_reserve_bytes = {reserve}\n");
    let hub = Hub::start_on(folder.path(), HubOptions { config, ..HubOptions::default() }).await?;
    let device = hub.new_device().await?;
    let mut client = hub.connect(&device).await?;
    client.publish_acknowledged(&device.events_topic(), b"before").await?;
    let ballast = folder.path().join("ballast");
    fill(&ballast)?;

    let mut full = (0, String::new());
    eventually("health says that the disk is full", async || {
        full = hub.admin("/healthz").await?;
        Ok(full.1.contains("degraded"))
    })
    .await?;
    assert!(full.1.contains("disk"), "{}", full.1);
    let refused = hub.call("PUT", &format!("/devices/{}", hub.new_id()), &[], &json!({})).await?;
    assert_eq!(refused.status, 503, "{refused}");
    refused.error_name()?;
    let path = format!("/devices/{}/messages/events", device.device_id);
    let refused = hub.call_as(&device.token(), "POST", &path, &[], b"x").await?;
    assert_eq!(refused.status, 503, "{refused}");
    refused.error_name()?;
    client.publish(&device.events_topic(), b"during", Some(2)).await?;
    let answer = client.receive_within(Duration::from_secs(2)).await?;
    assert!(matches!(answer, None | Some(Received::Closed)), "{answer:?}");
    hub.call("GET", &format!("/devices/{}", device.device_id), &[], &Value::Null).await?.expect(200)?;
    assert_eq!(hub.events(&device.device_id).await?.len(), 1);

    fs::remove_file(ballast)?;
    eventually("health is good again", async || Ok(!hub.admin("/healthz").await?.1.contains("degraded"))).await?;
    hub.new_device().await?;
    let mut client = hub.connect(&device).await?;
    client.publish_acknowledged(&device.events_topic(), b"after").await?;
    let events = hub.events(&device.device_id).await?;
    let bodies: Vec<_> =
        events.iter().filter_map(|event| event["body"].as_str()).filter(|body| *body != "during").collect();
    assert_eq!(bodies, ["before", "after"]);
    Ok(())
}

#[tokio::test]
async fn a_data_folder_that_is_gone_is_told_once_and_changes_are_refused() -> TestResult {
    let hub = Hub::start().await?;
    // Not all of the data folder: the test itself reads what clients trust.
    fs::remove_dir_all(hub.data_dir().join("shard"))?;
    eventually("health says that something is wrong", async || {
        let (_, health) = hub.admin("/healthz").await?;
        Ok(health.contains("degraded") && health.contains("gone"))
    })
    .await?;
    let refused = hub.call("PUT", &format!("/devices/{}", hub.new_id()), &[], &json!({})).await?;
    assert_eq!(refused.status, 503, "{refused}");
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(hub.log().matches("the free space of the disk is not known").count(), 1, "{}", hub.log());
    Ok(())
}
