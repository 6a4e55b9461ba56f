//! Direct methods from a back end to a device and back (rest §10, mqtt §6, twins-jobs-query §3).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ironhub_tests::{Device, Hub, Mqtt, Received, Response, TestResult, eventually};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

const METHODS: &str = "$iothub/methods/POST/#";

async fn connect(hub: &Hub, device: &Device) -> TestResult<Mqtt> {
    let mut client = hub.connect(device).await?;
    client.subscribe(1, &[(METHODS, 0)]).await?;
    Ok(client)
}

async fn invoke(hub: &Hub, device: &Device, body: Value) -> TestResult<Response> {
    let path = format!("/twins/{}/methods", device.client_id().replace('/', "/modules/"));
    hub.call("POST", &path, &[], &body).await
}

fn invoking(hub: &Arc<Hub>, device: &Device, body: Value) -> JoinHandle<TestResult<Response>> {
    let (hub, device) = (hub.clone(), device.clone());
    tokio::spawn(async move { invoke(&hub, &device, body).await })
}

/// The next method: its name, the id to answer with, and its payload.
async fn called(client: &mut Mqtt) -> TestResult<(String, String, Value)> {
    let (topic, payload) = client.json_message().await?;
    let rest = topic.strip_prefix("$iothub/methods/POST/").ok_or_else(|| anyhow::anyhow!("{topic}"))?;
    let (name, request_id) = rest.split_once("/?$rid=").ok_or_else(|| anyhow::anyhow!("{topic}"))?;
    assert!(request_id.len() <= 36 && request_id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{topic}");
    Ok((name.into(), request_id.into(), payload))
}

async fn answer(client: &mut Mqtt, status: i32, request_id: &str, payload: &[u8]) -> TestResult {
    client.publish(&format!("$iothub/methods/res/{status}/?$rid={request_id}"), payload, None).await
}

fn inner(response: &Response) -> TestResult<Value> {
    let envelope = response.json()?;
    assert_eq!(envelope["ExceptionMessage"], "");
    Ok(serde_json::from_str(envelope["Message"].as_str().unwrap_or_default())?)
}

#[tokio::test]
async fn payloads_and_statuses_pass_unchanged_both_ways() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let module = hub.new_module(&device, "m").await?;
    for target in [&device, &module] {
        let mut client = connect(&hub, target).await?;
        for (sent, status, answered) in [
            (json!({ "delay": [5, null] }), 200, json!({ "ok": true })),
            (json!(null), 0, json!(null)),
            (json!(""), 404, json!("")),
            (json!([]), 500, json!([1])),
            (json!(1.5), -7, json!(false)),
        ] {
            let response = invoking(&hub, target, json!({ "methodName": "set*Fan", "payload": sent }));
            let (name, request_id, payload) = called(&mut client).await?;
            assert_eq!((name.as_str(), payload), ("set*Fan", sent));
            answer(&mut client, status, &request_id, answered.to_string().as_bytes()).await?;
            let response = response.await??.expect(200)?.json()?;
            assert_eq!(response, json!({ "status": status, "payload": answered }));
        }
        let response = invoking(&hub, target, json!({ "methodName": "no payload" }));
        let (name, request_id, payload) = called(&mut client).await?;
        assert_eq!((name.as_str(), payload), ("no%20payload", Value::Null));
        answer(&mut client, 200, &request_id, b"").await?;
        assert_eq!(response.await??.expect(200)?.json()?, json!({ "status": 200, "payload": null }));
    }
    Ok(())
}

#[tokio::test]
async fn who_cannot_be_reached_is_not_online() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let begun = Instant::now();
    let offline = invoke(&hub, &device, json!({ "methodName": "m" })).await?.expect(404)?;
    assert_eq!(offline.header("iothub-errorcode"), Some("DeviceNotOnline"));
    let inner = inner(&offline)?;
    assert_eq!(inner["errorCode"], 404_103);
    assert!(inner.as_object().unwrap().values().all(|value| value.is_string() || value.is_number()), "{inner}");
    let _connected = hub.connect(&device).await?;
    let unsubscribed = invoke(&hub, &device, json!({ "methodName": "m" })).await?.expect(404)?;
    assert_eq!(unsubscribed.header("iothub-errorcode"), Some("DeviceNotOnline"));
    assert!(begun.elapsed() < Duration::from_secs(5), "at once");
    hub.update_device(&device, json!({ "status": "disabled" })).await?.expect(200)?;
    assert_eq!(invoke(&hub, &device, json!({ "methodName": "m" })).await?.expect(404)?.error_name()?, "DeviceNotFound");
    let nobody = Device { device_id: "nobody".into(), ..device.clone() };
    assert_eq!(invoke(&hub, &nobody, json!({ "methodName": "m" })).await?.expect(404)?.error_name()?, "DeviceNotFound");
    let nobody = Device { module_id: Some("nobody".into()), ..hub.new_device().await? };
    assert_eq!(invoke(&hub, &nobody, json!({ "methodName": "m" })).await?.expect(404)?.error_name()?, "DeviceNotFound");
    let oversize = json!({ "methodName": "m", "payload": "x".repeat(128 * 1024) });
    assert_eq!(invoke(&hub, &device, oversize).await?.expect(413)?.error_name()?, "MessageTooLarge");
    Ok(())
}

#[tokio::test]
async fn a_late_device_is_waited_for_until_it_subscribes() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let response = invoking(&hub, &device, json!({ "methodName": "m", "connectTimeoutInSeconds": 30 }));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut client = hub.connect(&device).await?;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!response.is_finished());
    client.subscribe(1, &[(METHODS, 1)]).await?;
    let (_, request_id, _) = called(&mut client).await?;
    answer(&mut client, 200, &request_id, b"1").await?;
    response.await??.expect(200)?;
    let begun = Instant::now();
    client.disconnect().await?;
    eventually("the device is gone", async || {
        let body = json!({ "methodName": "m", "connectTimeoutInSeconds": 1 });
        Ok(invoke(&hub, &device, body).await?.status == 404)
    })
    .await?;
    assert!(begun.elapsed() >= Duration::from_millis(700), "it waited for the device");
    Ok(())
}

#[tokio::test]
async fn a_silent_device_times_out_a_little_early_and_its_late_answer_is_dropped() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = connect(&hub, &device).await?;
    let begun = Instant::now();
    let response = invoking(&hub, &device, json!({ "methodName": "m", "responseTimeoutInSeconds": 5 }));
    let (_, request_id, _) = called(&mut client).await?;
    let response = response.await??.expect(504)?;
    let waited = begun.elapsed();
    assert!(waited > Duration::from_millis(4500) && waited < Duration::from_millis(5000 + 3000), "{waited:?}");
    assert_eq!(response.header("iothub-errorcode"), Some("GatewayTimeout"));
    assert_eq!(inner(&response)?["errorCode"], 504_101);
    client.publish(&format!("$iothub/methods/res/200/?$rid={request_id}"), b"{}", Some(9)).await?;
    client.expect(Received::PubAck(9)).await?;
    client.publish("$iothub/methods/res/200/?$rid=nonsense", b"{}", Some(10)).await?;
    client.expect(Received::PubAck(10)).await
}

#[tokio::test]
async fn only_the_target_itself_can_answer_but_on_any_of_its_connections() -> TestResult {
    let hub = Hub::shared().await?;
    let (device, other) = (hub.new_device().await?, hub.new_device().await?);
    let mut client = connect(&hub, &device).await?;
    let mut stranger = connect(&hub, &other).await?;
    let response = invoking(&hub, &device, json!({ "methodName": "m" }));
    let (_, request_id, _) = called(&mut client).await?;
    answer(&mut stranger, 200, &request_id, b"\"forged\"").await?;
    stranger.ping().await?;
    let mut newer = connect(&hub, &device).await?;
    client.expect_closed().await?;
    // It is not sent again to the newer connection,
    newer.ping().await?;
    // which may answer all the same.
    answer(&mut newer, 200, &request_id, b"\"mine\"").await?;
    assert_eq!(response.await??.expect(200)?.json()?["payload"], "mine");
    Ok(())
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_a_bad_one() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = connect(&hub, &device).await?;
    let large = format!("\"{}\"", "x".repeat(128 * 1024));
    for payload in [&b"not json"[..], b"{", b"\xff", large.as_bytes()] {
        let response = invoking(&hub, &device, json!({ "methodName": "m" }));
        let (_, request_id, _) = called(&mut client).await?;
        answer(&mut client, 200, &request_id, payload).await?;
        assert_eq!(response.await??.expect(502)?.error_name()?, "GenericBadGateway");
    }
    Ok(())
}

#[tokio::test]
async fn many_methods_are_under_way_at_once_and_too_many_are_refused() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = connect(&hub, &device).await?;
    let responses: Vec<_> =
        (0..32).map(|number| invoking(&hub, &device, json!({ "methodName": "m", "payload": number }))).collect();
    let mut calls = Vec::new();
    for _ in 0..32 {
        calls.push(called(&mut client).await?);
    }
    let refused = invoke(&hub, &device, json!({ "methodName": "m" })).await?.expect(403)?;
    assert_eq!(refused.error_name()?, "DeviceMaximumInflightMethodExceeded");
    for (_, request_id, payload) in calls.iter().rev() {
        answer(&mut client, 200, request_id, payload.to_string().as_bytes()).await?;
    }
    for (number, response) in responses.into_iter().enumerate() {
        assert_eq!(response.await??.expect(200)?.json()?["payload"], number);
    }
    let response = invoking(&hub, &device, json!({ "methodName": "m" }));
    let (_, request_id, _) = called(&mut client).await?;
    answer(&mut client, 200, &request_id, b"").await?;
    response.await??.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_stored_session_takes_methods_without_subscribing() -> TestResult {
    let hub = Hub::start().await?;
    let device = hub.new_device().await?;
    let mut client = hub.connect_as(&mqtt::Connect { clean_session: false, ..device.connect() }).await?;
    client.subscribe(1, &[(METHODS, 0)]).await?;
    let hub = Arc::new(hub.kill_and_restart().await?);
    let device = Device { host_name: hub.host_name.clone(), ..device };
    let mut client = hub.connect_as(&mqtt::Connect { clean_session: false, ..device.connect() }).await?;
    let response = invoking(&hub, &device, json!({ "methodName": "m" }));
    let (_, request_id, _) = called(&mut client).await?;
    answer(&mut client, 200, &request_id, b"").await?;
    response.await??.expect(200)?;
    client.unsubscribe(2, &[METHODS]).await?;
    invoke(&hub, &device, json!({ "methodName": "m" })).await?.expect(404)?;
    Ok(())
}

#[tokio::test]
async fn a_method_that_was_begun_is_answered_before_the_gateway_goes() -> TestResult {
    let hub = Arc::new(Hub::start().await?);
    let (device, silent) = (hub.new_device().await?, hub.new_device().await?);
    let (mut client, mut other) = (connect(&hub, &device).await?, connect(&hub, &silent).await?);
    let call = |device| invoking(&hub, device, json!({ "methodName": "m", "responseTimeoutInSeconds": 30 }));
    let (answered, unanswered) = (call(&device), call(&silent));
    let (_, request_id, _) = called(&mut client).await?;
    called(&mut other).await?;
    hub.terminate()?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    answer(&mut client, 200, &request_id, b"{}").await?;
    assert_eq!(answered.await??.status, 200);
    client.expect_closed().await?;
    // It is not waited for until its caller gives up.
    other.expect_closed().await?;
    unanswered.abort();
    Ok(())
}
