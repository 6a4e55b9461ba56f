//! The commands for twins, methods and messages against a running hub.

use std::process::{Command, Output, Stdio};

use ironhub_tests::{Hub, Received, TestResult, binary, eventually};
use serde_json::{Value, json};

fn command(hub: &Hub, arguments: &[&str]) -> TestResult<Command> {
    let mut command = Command::new(binary()?);
    command.args(arguments).arg("--data-dir").arg(hub.data_dir()).stdin(Stdio::null());
    Ok(command)
}

/// Runs the command without keeping the test's thread.
async fn run(hub: &Hub, arguments: &[&str]) -> TestResult<Output> {
    let mut command = command(hub, arguments)?;
    Ok(tokio::task::spawn_blocking(move || command.output()).await??)
}

/// The JSON that it prints.
async fn json_of(hub: &Hub, arguments: &[&str]) -> TestResult<Value> {
    let output = run(hub, &[arguments, &["--json"]].concat()).await?;
    anyhow::ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn error(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn twins_are_shown_updated_and_replaced() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    hub.new_module(&device, "m").await?;
    let id = device.device_id.as_str();
    let tags = r#"{"floor":1}"#;
    let updated = json_of(&hub, &["twin", "update", id, "--desired", r#"{"a":1}"#, "--tags", tags]).await?;
    assert_eq!((&updated["tags"], &updated["properties"]["desired"]["a"]), (&json!({ "floor": 1 }), &json!(1)));
    let old = ["twin", "update", id, "--tags", "{}", "--etag", "AAAAAAAAAAE="];
    assert!(error(&run(&hub, &old).await?).contains("ironhub twin show"));
    let replaced = json_of(&hub, &["twin", "replace", id, "--desired", r#"{"b":2}"#]).await?;
    assert_eq!((replaced.get("tags"), &replaced["properties"]["desired"]["b"]), (None, &json!(2)));
    assert_eq!(json_of(&hub, &["twin", "show", id]).await?, replaced);
    assert_eq!(json_of(&hub, &["twin", "show", id, "--module", "m"]).await?["moduleId"], "m");
    assert!(error(&run(&hub, &["twin", "update", id, "--desired", "{"]).await?).contains("--desired"));
    Ok(())
}

#[tokio::test]
async fn a_method_is_invoked_and_its_status_is_the_exit_code() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let id = device.device_id.clone();
    assert!(error(&run(&hub, &["method", "invoke", &id, "m"]).await?).contains("isn't online"));
    let mut client = hub.connect(&device).await?;
    client.subscribe(1, &[("$iothub/methods/POST/#", 0)]).await?;
    for (status, succeeds) in [(200, true), (400, false)] {
        let (hub, id) = (hub.clone(), id.clone());
        let invoked =
            tokio::spawn(async move { run(&hub, &["method", "invoke", &id, "m", r#"{"x":1}"#, "--json"]).await });
        let Received::Publish { topic, payload, .. } = client.receive().await? else { panic!("no method") };
        assert_eq!(payload, br#"{"x":1}"#);
        let request_id = topic.rsplit("$rid=").next().unwrap_or_default();
        client.publish(&format!("$iothub/methods/res/{status}/?$rid={request_id}"), b"[7]", None).await?;
        let output = invoked.await??;
        assert_eq!(output.status.success(), succeeds);
        assert_eq!(serde_json::from_slice::<Value>(&output.stdout)?, json!({ "status": status, "payload": [7] }));
    }
    Ok(())
}

#[tokio::test]
async fn messages_are_sent_received_settled_and_purged() -> TestResult {
    let hub = Hub::shared().await?;
    let id = hub.new_device().await?.device_id;
    let send = ["c2d", "send", &id, "hello", "--property", "level=high", "--message-id", "m1", "--ack", "full"];
    json_of(&hub, &send).await?;
    let received = json_of(&hub, &["c2d", "receive", &id]).await?;
    assert_eq!((&received["body"], &received["messageId"]), (&json!("hello"), &json!("m1")));
    assert_eq!(received["properties"], json!({ "level": "high" }));
    let lock_token = received["lockToken"].as_str().unwrap_or_default();
    json_of(&hub, &["c2d", "abandon", &id, lock_token]).await?;
    assert!(error(&run(&hub, &["c2d", "complete", &id, lock_token]).await?).contains("hands"));
    let again = json_of(&hub, &["c2d", "receive", &id]).await?;
    assert_eq!(again["deliveryCount"], "1");
    json_of(&hub, &["c2d", "reject", &id, again["lockToken"].as_str().unwrap_or_default()]).await?;
    assert_eq!(json_of(&hub, &["c2d", "receive", &id]).await?, Value::Null);
    json_of(&hub, &["c2d", "send", &id, "more", "--expires-in", "10min"]).await?;
    assert_eq!(json_of(&hub, &["c2d", "purge", &id]).await?["totalMessagesPurged"], 1);
    assert!(json_of(&hub, &["c2d", "feedback", "--keep"]).await?.is_array());
    Ok(())
}

#[tokio::test]
async fn a_simulated_device_does_what_devices_do() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let id = device.device_id.clone();
    let mut command = command(&hub, &["device", "simulate", &id, "--every", "20ms", "--count", "100", "--json"])?;
    let simulated = tokio::task::spawn_blocking(move || command.output());
    eventually("it answers methods", async || {
        Ok(run(&hub, &["method", "invoke", &id, "m", "[1]", "--json"]).await?.status.success())
    })
    .await?;
    json_of(&hub, &["twin", "update", &id, "--desired", r#"{"fan":3}"#]).await?;
    json_of(&hub, &["c2d", "send", &id, "hello"]).await?;
    eventually("it reports what is desired", async || {
        Ok(json_of(&hub, &["twin", "show", &id]).await?["properties"]["reported"]["fan"] == 3)
    })
    .await?;
    let output = simulated.await??;
    assert!(output.status.success(), "{output:?}");
    let lines: Vec<Value> =
        String::from_utf8(output.stdout)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    for event in ["connected", "twin", "sent", "method", "desired", "reported", "message", "disconnected"] {
        assert!(lines.iter().any(|line| line["event"] == event), "{event}: {lines:?}");
    }
    assert_eq!(hub.wait_for_events(&id, 100).await?.len(), 100);
    Ok(())
}
