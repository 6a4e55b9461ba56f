//! An orderly end, an orderly refusal to start, and what a restart keeps.

use std::{os::unix::fs::PermissionsExt, path::Path, process::Command};

use ironhub_tests::{Device, Hub, HubOptions, Received, TestResult, binary};

#[tokio::test]
async fn sigterm_answers_what_was_read_closes_and_exits_0() -> TestResult {
    let mut hub = Hub::start().await?;
    let device = hub.new_device().await?;
    let mut client = hub.connect(&device).await?;
    let idle = hub.new_device().await?;
    let idle = hub.connect(&idle).await?;
    let mut out = Vec::new();
    for id in 1..=40_u16 {
        mqtt::client::publish(&device.events_topic(), id.to_string().as_bytes(), Some(id), &mut out);
    }
    client.send(&out).await?;
    client.expect(Received::PubAck(1)).await?;
    hub.terminate()?;
    let mut acknowledged = 1;
    while let Received::PubAck(_) = client.receive().await? {
        acknowledged += 1;
    }
    idle.expect_closed().await?;
    let status = hub.ended().await?;
    assert!(status.success(), "{status}\n{}", hub.log());
    let hub = hub.restart().await?;
    let events = hub.events(&device.device_id).await?;
    assert_eq!(events.len(), acknowledged, "exactly what was acknowledged is there");
    Ok(())
}

#[tokio::test]
async fn a_restart_keeps_everything() -> TestResult {
    let mut hub = Hub::start().await?;
    let device = hub.new_device().await?;
    hub.connect(&device).await?.publish_acknowledged(&device.events_topic(), b"before").await?;
    let (strings, authority) = (hub.json["connectionStrings"].clone(), std::fs::read(&hub.authority)?);
    let identity =
        hub.call("GET", &format!("/devices/{}", device.device_id), &[], &serde_json::Value::Null).await?.json()?;
    hub.terminate()?;
    hub.ended().await?;
    let hub = hub.restart().await?;
    assert_eq!((&hub.json["connectionStrings"], std::fs::read(&hub.authority)?), (&strings, authority));
    let again = hub
        .call("GET", &format!("/devices/{}", device.device_id), &[], &serde_json::Value::Null)
        .await?
        .expect(200)?
        .json()?;
    for member in ["etag", "generationId", "authentication", "status"] {
        assert_eq!(again[member], identity[member], "{member}");
    }
    let mut client = hub.connect(&device).await?;
    client.publish_acknowledged(&device.events_topic(), b"after").await?;
    let events = hub.wait_for_events(&device.device_id, 2).await?;
    assert_eq!(events.iter().map(|event| event["body"].as_str()).collect::<Vec<_>>(), [Some("before"), Some("after")]);
    Ok(())
}

#[tokio::test]
async fn new_host_names_keep_the_authority_and_the_devices() -> TestResult {
    let mut hub = Hub::start().await?;
    let device = hub.new_device().await?;
    let authority = std::fs::read(&hub.authority)?;
    hub.terminate()?;
    hub.ended().await?;
    let data = hub.data_dir();
    let folder = data.parent().unwrap();
    let arguments = ["--host-name", "localhost", "--host-name", "hub.example.test"].map(str::to_owned).to_vec();
    let renamed = Hub::start_on(folder, HubOptions { arguments, ..HubOptions::default() }).await?;
    assert_eq!((renamed.host_name.as_str(), std::fs::read(&renamed.authority)?), ("localhost", authority));
    // The harness checks the server's certificate against the new name.
    for name in ["localhost", "hub.example.test", "HUB.example.test"] {
        let device = Device { host_name: name.to_owned(), ..device.clone() };
        assert_eq!(renamed.connect_code(&device.connect()).await?, 0, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_second_hub_on_the_same_data_refuses_and_says_who_has_it() -> TestResult {
    let hub = Hub::start().await?;
    let output = Command::new(binary()?)
        .args(["all", "--mqtt-port", "0", "--amqp-port", "0", "--https-port", "0", "--admin-port", "0", "--data-dir"])
        .arg(hub.data_dir())
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(said.contains("in use") && said.contains(&hub.process_id().to_string()), "{said}");
    let device = hub.new_device().await?;
    hub.connect(&device).await?.ping().await
}

#[tokio::test]
async fn a_taken_port_is_explained_in_one_line() -> TestResult {
    let hub = Hub::start().await?;
    for (flag, address) in [("--mqtt-port", hub.mqtt), ("--amqp-port", hub.amqp), ("--https-port", hub.https)] {
        let folder = tempfile::tempdir()?;
        let mut ports = vec![("--mqtt-port", 0), ("--amqp-port", 0), ("--https-port", 0), ("--admin-port", 0)];
        ports.iter_mut().filter(|(name, _)| *name == flag).for_each(|(_, port)| *port = address.port());
        let mut command = Command::new(binary()?);
        command.arg("all").arg("--data-dir").arg(folder.path().join("data"));
        for (name, port) in ports {
            command.args([name.to_owned(), port.to_string()]);
        }
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success());
        let lines: Vec<_> = said.lines().filter(|line| line.contains(&address.port().to_string())).collect();
        assert!(lines.len() == 1 && lines[0].contains(flag) && lines[0].contains("127.0.0.2"), "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn secrets_are_readable_by_the_owner_only() -> TestResult {
    let hub = Hub::start().await?;
    let mode = |path: &Path| Ok::<_, std::io::Error>(path.metadata()?.permissions().mode() & 0o077);
    assert_eq!(mode(&hub.data_dir())?, 0);
    assert_eq!(mode(&hub.data_dir().join("hub.json"))?, 0);
    for entry in std::fs::read_dir(hub.data_dir().join("certificates"))? {
        let path = entry?.path();
        if std::fs::read_to_string(&path)?.contains("PRIVATE KEY") {
            assert_eq!(mode(&path)?, 0, "{}", path.display());
        }
    }
    Ok(())
}

#[tokio::test]
async fn operators_see_health_readiness_and_metrics() -> TestResult {
    let hub = Hub::start().await?;
    let device = hub.new_device().await?;
    hub.connect(&device).await?.publish_acknowledged(&device.events_topic(), b"x").await?;
    assert_eq!(hub.admin("/healthz").await?.0, 200);
    assert_eq!(hub.admin("/readyz").await?.0, 200);
    let (status, metrics) = hub.admin("/metrics").await?;
    assert_eq!(status, 200);
    assert!(metrics.lines().any(|line| line.starts_with("# TYPE ")), "{metrics}");
    assert!(!metrics.contains(&device.device_id), "no labels per device");
    Ok(())
}
