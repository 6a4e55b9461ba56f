//! `ironhub backup` and `restore`: one hub's state in another one, with another number of groups.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use ironhub_tests::{Hub, HubOptions, Received, TestResult, binary};
use serde_json::{Value, json};

use crate::device_bound::{receive, send};

/// The question, and whether both hubs must give the same answer.
const SAME: [&str; 4] = ["/devices/d1/modules", "/twins/d1", "/twins/d1/modules/m", "/ironhub/v1/policies/service"];

async fn run(hub: &Hub, command: &str, file: &Path, more: &[&str]) -> TestResult<Output> {
    let mut process = Command::new(binary()?);
    process.arg(command).arg(file).args(more).arg("--data-dir").arg(hub.data_dir()).stdin(Stdio::null());
    Ok(tokio::task::spawn_blocking(move || process.output()).await??)
}

async fn succeed(hub: &Hub, command: &str, file: &Path, more: &[&str]) -> TestResult {
    let output = run(hub, command, file, more).await?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

async fn answers(hub: &Hub) -> TestResult<Vec<Value>> {
    let mut answers = Vec::new();
    for path in SAME {
        let mut answer = hub.call("GET", path, &[], &Value::Null).await?.expect(200)?.json()?;
        // Who is connected is not in a backup.
        for member in ["connectionState", "lastActivityTime"] {
            answer.as_object_mut().and_then(|answer| answer.remove(member));
        }
        answers.push(answer);
    }
    Ok(answers)
}

#[tokio::test]
async fn a_hub_is_moved_into_another_one_of_another_size() -> TestResult {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("hub.backup");
    let old = Hub::start().await?;
    let device = old.create_device("d1").await?;
    old.new_module(&device, "m").await?;
    for number in 0..40 {
        old.create_device(&format!("other-{number}")).await?;
    }
    let twin = json!({ "tags": { "floor": 1 }, "properties": { "desired": { "fan": 3, "big": "x".repeat(400) } } });
    old.call("PATCH", "/twins/d1", &[], &twin).await?.expect(200)?;
    send(&old, &device, &[("iothub-messageid", "first")], "hello").await?.expect(204)?;
    let mut client = old.connect(&device).await?;
    client.subscribe(1, &[("$iothub/twin/res/#", 0)]).await?;
    client.publish("$iothub/twin/PATCH/properties/reported/?$rid=1", b"{\"speed\":7}", None).await?;
    assert!(matches!(client.receive().await?, Received::Publish { .. }));
    succeed(&old, "backup", &file, &[]).await?;
    let expected = answers(&old).await?;

    let config = "[shard]\ngroups = 7".to_owned();
    let new = Hub::start_with(HubOptions { config, ..HubOptions::default() }).await?;
    succeed(&new, "restore", &file, &[]).await?;
    // Its keys are those of the old hub now, and hub.json says so.
    let moved = new.kill_and_restart().await?;
    assert_eq!(moved.policy("iothubowner")?, old.policy("iothubowner")?);
    assert_eq!(answers(&moved).await?, expected);
    let statistics = moved.call("GET", "/statistics/devices", &[], &Value::Null).await?.expect(200)?.json()?;
    assert_eq!(statistics["totalDeviceCount"], 41);
    let message = receive(&moved, &device).await?.expect("the message that waited");
    assert_eq!((message.header("iothub-messageid"), message.body.as_slice()), (Some("first"), &b"hello"[..]));
    moved.connect(&device).await?;
    Ok(())
}

#[tokio::test]
async fn a_hub_with_devices_takes_no_backup_unless_told_to_and_a_file_that_is_cut_off_is_none() -> TestResult {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("hub.backup");
    let hub = Hub::start().await?;
    hub.create_device("d1").await?;
    succeed(&hub, "backup", &file, &[]).await?;
    let refused = run(&hub, "restore", &file, &[]).await?;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("the hub has 1 devices"), "{refused:?}");
    succeed(&hub, "restore", &file, &["--again"]).await?;

    let whole = std::fs::read(&file)?;
    let cut = folder.path().join("cut");
    std::fs::write(&cut, &whole[..whole.len() - 1])?;
    let refused = run(&hub, "restore", &cut, &["--again"]).await?;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is cut off"), "{refused:?}");
    // Without its last frame, the end, it reads well but says that it is not whole.
    std::fs::write(&cut, &whole[..whole.len() - 8])?;
    let refused = run(&hub, "restore", &cut, &["--again"]).await?;
    assert!(!refused.status.success(), "{refused:?}");
    std::fs::write(&cut, "something else")?;
    let refused = run(&hub, "restore", &cut, &["--again"]).await?;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is no backup"), "{refused:?}");
    Ok(())
}
