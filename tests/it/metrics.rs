//! What operators can count of twins, methods and messages for devices: read from `/metrics` after it was done.

use ironhub_tests::{Device, Hub, HubOptions, TestResult, eventually};
use serde_json::{Value, json};

use super::device_bound::{lock_token, receive, send, settle};

/// The value of a metric, written as it stands in the text format; 0 when it is not there.
async fn value(hub: &Hub, metric: &str) -> TestResult<f64> {
    let text = hub.admin("/metrics").await?.1;
    let found = text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    Ok(found.map(str::parse).transpose()?.unwrap_or(0.0))
}

async fn expect(hub: &Hub, metric: &str, expected: f64) -> TestResult {
    let mut found = 0.0;
    let arrived = eventually(metric, async || {
        found = value(hub, metric).await?;
        Ok(found == expected)
    });
    arrived.await.map_err(|error| error.context(format!("{metric} is {found}, expected {expected}")))
}

#[tokio::test]
async fn twin_requests_by_operation_and_result() -> TestResult {
    let hub = Hub::start().await?;
    let device = hub.new_device().await?;
    let path = format!("/twins/{}", device.device_id);
    let mut client = hub.connect(&device).await?;
    client.subscribe(1, &[("$iothub/twin/res/#", 0), ("$iothub/twin/PATCH/properties/desired/#", 0)]).await?;
    for (topic, body) in [
        ("$iothub/twin/GET/?$rid=1", ""),
        ("$iothub/twin/PATCH/properties/reported/?$rid=2", r#"{"a":1}"#),
        ("$iothub/twin/PATCH/properties/reported/?$rid=3", "not JSON"),
        ("$iothub/twin/PATCH/properties/reported/?$rid=4&$version=7", r#"{"a":2}"#),
    ] {
        client.publish(topic, body.as_bytes(), None).await?;
        client.message().await?;
    }
    let desired = json!({ "properties": { "desired": { "b": 1 } } });
    hub.call("PATCH", &path, &[], &desired).await?.expect(200)?;
    client.message().await?;
    hub.call("PATCH", &path, &[("If-Match", "\"AAAAAAAAAAk=\"")], &desired).await?.expect(412)?;
    hub.call("GET", &path, &[], &Value::Null).await?.expect(200)?;
    hub.call("GET", "/twins/nobody", &[], &Value::Null).await?.expect(404)?;
    for (operation, result, count) in [
        ("get", "ok", 2.0),
        ("get", "DeviceNotFound", 1.0),
        ("report", "ok", 1.0),
        ("report", "ArgumentInvalid", 1.0),
        ("report", "PreconditionFailed", 1.0),
        ("write", "ok", 1.0),
        ("write", "PreconditionFailed", 1.0),
    ] {
        let metric = format!(r#"ironhub_twin_requests_total{{operation="{operation}",result="{result}"}}"#);
        expect(&hub, &metric, count).await?;
    }
    expect(&hub, r#"ironhub_twin_request_seconds_count{operation="report"}"#, 3.0).await?;
    expect(&hub, "ironhub_twin_desired_updates_total", 1.0).await
}

#[tokio::test]
async fn methods_by_result_and_how_long_they_took() -> TestResult {
    let hub = Hub::start().await?;
    let device = hub.new_device().await?;
    let path = format!("/twins/{}/methods", device.device_id);
    let method = json!({ "methodName": "m" });
    hub.call("POST", &path, &[], &method).await?.expect(404)?;
    hub.call("POST", &path, &[], &json!({})).await?.expect(400)?;
    let mut client = hub.connect(&device).await?;
    client.subscribe(1, &[("$iothub/methods/POST/#", 0)]).await?;
    let invoked = async { hub.call("POST", &path, &[], &method).await?.expect(200) };
    let answered = async {
        let (topic, _) = client.json_message().await?;
        let (_, request_id) = topic.split_once("$rid=").unwrap();
        client.publish(&format!("$iothub/methods/res/200/?$rid={request_id}"), b"{}", None).await
    };
    tokio::try_join!(invoked, answered)?;
    for (result, count) in [("ok", 1.0), ("DeviceNotOnline", 1.0), ("ArgumentInvalid", 1.0)] {
        expect(&hub, &format!(r#"ironhub_methods_total{{result="{result}"}}"#), count).await?;
    }
    expect(&hub, "ironhub_method_seconds_count", 1.0).await?;
    let seconds = value(&hub, "ironhub_method_seconds_sum").await?;
    assert!(seconds > 0.0 && seconds < 30.0, "{seconds}");
    Ok(())
}

#[tokio::test]
async fn messages_for_devices_from_the_send_to_their_end() -> TestResult {
    let config = "[gateway.cloud_to_device]\nmax_delivery_count = 1\nfeedback_flush_seconds = 0\n".to_owned();
    let hub = Hub::start_with(HubOptions { config, ..HubOptions::default() }).await?;
    let device = hub.new_device().await?;
    for _ in 0..6 {
        send(&hub, &device, &[("iothub-ack", "full")], "x").await?.expect(204)?;
    }
    send(&hub, &device, &[("iothub-ack", "full"), ("iothub-expiry", "2020-01-01T00:00:00Z")], "x")
        .await?
        .expect(204)?;
    let nobody = Device { device_id: "nobody".into(), ..device.clone() };
    send(&hub, &nobody, &[], "x").await?.expect(404)?;
    for (method, rest) in [("DELETE", ""), ("DELETE", "?reject&api-version=2021-04-12"), ("POST", "/abandon")] {
        let message = receive(&hub, &device).await?.unwrap();
        settle(&hub, &device, method, &format!("/{}{rest}", lock_token(&message)?)).await?.expect(204)?;
    }
    let topic = format!("devices/{}/messages/devicebound/#", device.device_id);
    let mut client = hub.connect(&device).await?;
    client.subscribe(1, &[(&topic, 0)]).await?;
    for _ in 0..3 {
        client.message().await?;
    }
    expect(&hub, r#"ironhub_device_bound_sends_total{result="ok"}"#, 7.0).await?;
    expect(&hub, r#"ironhub_device_bound_sends_total{result="DeviceNotFound"}"#, 1.0).await?;
    expect(&hub, r#"ironhub_device_bound_deliveries_total{delivery="first",protocol="https"}"#, 3.0).await?;
    expect(&hub, r#"ironhub_device_bound_deliveries_total{delivery="first",protocol="mqtt"}"#, 3.0).await?;
    expect(&hub, "ironhub_device_bound_wait_seconds_count", 6.0).await?;
    for (outcome, count) in [("success", 4.0), ("rejected", 1.0), ("delivery_count_exceeded", 1.0), ("expired", 1.0)] {
        expect(&hub, &format!(r#"ironhub_device_bound_ended_total{{outcome="{outcome}"}}"#), count).await?;
    }
    let feedback = "/messages/serviceBound/feedback";
    hub.call_as(&hub.policy_token("service")?, "GET", feedback, &[], b"").await?.expect(200)?;
    expect(&hub, "ironhub_device_bound_feedback_total", 7.0).await
}

#[tokio::test]
async fn the_depth_of_all_queues_also_after_a_restart() -> TestResult {
    let hub = Hub::start().await?;
    let (device, other) = (hub.new_device().await?, hub.new_device().await?);
    for _ in 0..3 {
        send(&hub, &device, &[], "x").await?.expect(204)?;
        send(&hub, &other, &[], "x").await?.expect(204)?;
    }
    let message = receive(&hub, &device).await?.unwrap();
    expect(&hub, "ironhub_device_bound_queued", 6.0).await?;
    settle(&hub, &device, "DELETE", &format!("/{}", lock_token(&message)?)).await?.expect(204)?;
    expect(&hub, "ironhub_device_bound_queued", 5.0).await?;
    let hub = hub.kill_and_restart().await?;
    expect(&hub, "ironhub_device_bound_queued", 5.0).await?;
    hub.delete_device(&other).await?.expect(204)?;
    expect(&hub, "ironhub_device_bound_queued", 2.0).await?;
    let path = format!("/devices/{}/commands", device.device_id);
    hub.call("DELETE", &path, &[], &Value::Null).await?.expect(200)?;
    expect(&hub, "ironhub_device_bound_queued", 0.0).await?;
    expect(&hub, r#"ironhub_device_bound_ended_total{outcome="purged"}"#, 2.0).await
}
