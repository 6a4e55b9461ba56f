//! mosquitto_pub and mosquitto_sub, exactly as their users call them (mqtt §13).

use std::{path::Path, process::Output};

use ironhub_tests::{Device, Hub, TestResult};
use tokio::process::Command;

fn mosquitto(program: &str, hub: &Hub, device: &Device) -> Command {
    let mut command = Command::new(program);
    command.args(["-h", &hub.host_name, "-p", &hub.mqtt.port().to_string(), "-V", "mqttv311"]);
    command.arg("--cafile").arg::<&Path>(&hub.authority);
    command.args(["-i", &device.device_id, "-u", &device.username(), "-P", &device.token()]);
    command.kill_on_drop(true);
    command
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn mosquitto_pub_publishes_with_both_qualities_and_retain() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let topic = format!("devices/{}/messages/events/", device.device_id);
    for more in [&["-m", "zero", "-q", "0"][..], &["-m", "one", "-q", "1", "-d"], &["-m", "kept", "-q", "1", "-r"]] {
        let output = mosquitto("mosquitto_pub", &hub, &device).args(["-t", &topic]).args(more).output().await?;
        assert!(output.status.success(), "{}", text(&output));
    }
    let with_bag = format!("{topic}%24.ct=application%2Fjson&%24.ce=utf-8&alert=true");
    let output = mosquitto("mosquitto_pub", &hub, &device)
        .args(["-t", &with_bag, "-m", "{\"t\":1}", "-q", "1"])
        .output()
        .await?;
    assert!(output.status.success(), "{}", text(&output));
    let events = hub.wait_for_events(&device.device_id, 4).await?;
    let mut bodies: Vec<_> = events.iter().map(|event| event["body"].to_string()).collect();
    bodies.sort();
    assert_eq!(bodies, ["\"kept\"", "\"one\"", "\"zero\"", "{\"t\":1}"]);
    let with_bag = events.iter().find(|event| event["body"]["t"] == 1).unwrap();
    assert_eq!(with_bag["properties"]["alert"], "true");
    Ok(())
}

#[tokio::test]
async fn mosquitto_pub_is_told_that_it_is_not_authorised() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let other = hub.new_device().await?;
    let topic = format!("devices/{}/messages/events/", device.device_id);
    let device = Device { primary_key: other.primary_key, ..device };
    let output = mosquitto("mosquitto_pub", &hub, &device).args(["-t", &topic, "-m", "x", "-q", "1"]).output().await?;
    assert!(!output.status.success());
    assert!(text(&output).contains("not authorised"), "{}", text(&output));
    Ok(())
}

#[tokio::test]
async fn mosquitto_sub_is_granted_its_filters() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    for filter in ["#", &format!("devices/{}/messages/devicebound/#", device.device_id)] {
        let output =
            mosquitto("mosquitto_sub", &hub, &device).args(["-t", filter, "-q", "1", "-d", "-W", "1"]).output().await?;
        assert!(
            text(&output).contains("received SUBACK") && text(&output).contains("Subscribed (mid: 1): 1"),
            "{}",
            text(&output)
        );
    }
    Ok(())
}
