//! `ironhub-loadtest fleet --html -` as a container runs it: both outputs are one log, and a signal ends it.

use std::{
    fs::File,
    path::Path,
    process::{Child, Command, Stdio},
};

use ironhub_tests::{Hub, eventually};
use serde_json::Value;

/// Starts it with both outputs in that file.
fn fleet(hub: &Hub, options: &[&str], log: &Path) -> anyhow::Result<Child> {
    let file = File::create(log)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_ironhub-loadtest"));
    command.arg("--data-dir").arg(hub.data_dir()).args(["fleet", "--html", "-"]).args(options);
    Ok(command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn()?)
}

async fn ended(mut child: Child) -> anyhow::Result<Option<i32>> {
    let mut code = None;
    eventually("the load test ends", async || {
        let status = child.try_wait()?;
        code = status.and_then(|status| status.code());
        Ok(status.is_some())
    })
    .await?;
    Ok(code)
}

async fn device_count(hub: &Hub) -> anyhow::Result<Option<u64>> {
    let statistics = hub.call("GET", "/statistics/devices", &[], &Value::Null).await?.expect(200)?.json()?;
    Ok(statistics["totalDeviceCount"].as_u64())
}

#[tokio::test]
async fn the_log_is_the_page() -> anyhow::Result<()> {
    let (hub, folder) = (Hub::start().await?, tempfile::tempdir()?);
    let log = folder.path().join("log");
    let options = ["--devices", "10", "--ramp-up-seconds", "1", "--minutes", "0.03", "--telemetry-seconds", "0.2"];
    assert_eq!(ended(fleet(&hub, &options, &log)?).await?, Some(0));
    let log = std::fs::read_to_string(log)?;
    let (comments, page) = log.split_once("<!DOCTYPE html>").unwrap_or_default();
    assert!(page.contains("<h1>fleet: 10 devices") && page.ends_with("</html>\n"), "{log}");
    assert!(
        comments.contains("creating 10 devices") && comments.contains("errors: 0 in the ramp-up, 0 after it"),
        "{log}"
    );
    let between: String = comments.split("<!-- ").filter_map(|comment| Some(comment.split_once(" -->")?.1)).collect();
    assert_eq!(between.trim(), "", "{comments}");
    Ok(())
}

#[tokio::test]
async fn a_signal_ends_it_and_no_device_is_left() -> anyhow::Result<()> {
    let (hub, folder) = (Hub::start().await?, tempfile::tempdir()?);
    let log = folder.path().join("log");
    let child = fleet(&hub, &["--devices", "10", "--ramp-up-seconds", "0", "--minutes", "60"], &log)?;
    eventually("devices", async || Ok(device_count(&hub).await? == Some(10))).await?;
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
    assert!(killed.success());
    assert_eq!(ended(child).await?, Some(1));
    assert_eq!(device_count(&hub).await?, Some(0));
    assert!(std::fs::read_to_string(log)?.contains("the run was told to end"));
    Ok(())
}
