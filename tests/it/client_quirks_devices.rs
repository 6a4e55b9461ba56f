//! The rows of rest §25 and the examples of rest §27 that are about twins, methods and messages for devices: requests as
//! that client builds them, and the one thing of the answer that it stumbles over.

use std::time::{Duration, Instant};

use ironhub_tests::{Device, Hub, Response, TestResult};
use serde_json::{Value, json};

async fn as_owner(hub: &Hub, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> TestResult<Response> {
    hub.call_as(&hub.policy_token("iothubowner")?, method, path, headers, body.as_bytes()).await
}

/// A queue with one message.
async fn with_message(hub: &Hub, headers: &[(&str, &str)], body: &str) -> TestResult<Device> {
    let device = hub.new_device().await?;
    let path = format!("/devices/{}/messages/deviceBound", device.device_id);
    as_owner(hub, "POST", &path, headers, body).await?.expect(204)?;
    Ok(device)
}

/// The lock token between the quotes that every client expects.
fn lock_token(response: &Response) -> TestResult<String> {
    let etag = response.header("etag").unwrap_or_default();
    let token = etag.strip_prefix('"').and_then(|etag| etag.strip_suffix('"')).unwrap_or_default();
    assert!(!token.is_empty() && token.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{response}");
    Ok(token.to_owned())
}

/// Row 1 and the last example: polls with curl in the version of 2016, completes with exactly 204.
#[tokio::test]
async fn c_device_sdk_polls() -> TestResult {
    let hub = Hub::shared().await?;
    let sent = [
        ("iothub-messageid", "m1"),
        ("iothub-contenttype", "application/json"),
        ("iothub-contentencoding", "utf-8"),
        ("iothub-app-level", "high"),
    ];
    let device = with_message(&hub, &sent, r#"{"x":1}"#).await?;
    let path = format!("/devices/{}/messages/devicebound", device.device_id);
    let authorization = format!("Authorization: {}", device.token());
    let curl = async |more: &[&str], path: &str| {
        let arguments = [&["--http1.1", "--header", authorization.as_str()], more].concat();
        TestResult::Ok(hub.curl(&arguments, &[path]).await?.remove(0).response)
    };
    let polled = curl(&[], &format!("{path}?api-version=2016-11-14")).await?;
    assert!(polled.head.starts_with("HTTP/1.1 200 OK"), "{polled}");
    assert_eq!(polled.body, br#"{"x":1}"#);
    for line in [
        "iothub-messageid: m1",
        "iothub-sequencenumber: 1",
        "iothub-deliverycount: 0",
        &format!("iothub-to: /devices/{}/messages/deviceBound", device.device_id),
        "ContentType: application/json",
        "ContentEncoding: utf-8",
        "iothub-app-level: high",
        "Content-Type: application/octet-stream",
    ] {
        assert!(polled.head.lines().any(|found| found == line), "{line}: {polled}");
    }
    let token = lock_token(&polled)?;
    assert!(polled.head.contains(&format!("ETag: \"{token}\"")), "{polled}");
    let if_match = format!("If-Match: {token}");
    let completed =
        curl(&["--request", "DELETE", "--header", &if_match], &format!("{path}/{token}?api-version=2016-11-14"))
            .await?;
    assert!(completed.head.starts_with("HTTP/1.1 204 No Content"), "{completed}");
    assert_eq!(curl(&[], &format!("{path}?api-version=2016-11-14")).await?.status, 204);
    Ok(())
}

/// Row 3 and the third example: a PATCH that is a POST, with `"*"`.
#[tokio::test]
async fn java_service_sdk_patches_twins() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let headers = [("X-HTTP-Method-Override", "PATCH"), ("If-Match", "\"*\"")];
    let path = format!("/twins/{}", device.device_id);
    let patched =
        as_owner(&hub, "POST", &path, &headers, r#"{"properties":{"desired":{"fan":2}}}"#).await?.expect(200)?;
    assert_eq!(patched.header("etag"), Some("\"AAAAAAAAAAI=\""));
    assert_eq!(patched.json()?["properties"]["desired"]["fan"], 2);
    Ok(())
}

/// Row 4: abandons with a body of one byte; the question mark of `?reject` is encoded.
#[tokio::test]
async fn java_device_sdk_settles() -> TestResult {
    let hub = Hub::shared().await?;
    let device = with_message(&hub, &[], "x").await?;
    let path = format!("/devices/{}/messages/devicebound", device.device_id);
    let headers = [("IotHub-MessageLockTimeout", "180")];
    let received = hub.call_as(&device.token(), "GET", &path, &headers, b"").await?.expect(200)?;
    let token = lock_token(&received)?;
    let headers = [("If-Match", token.as_str())];
    hub.call_as(&device.token(), "POST", &format!("{path}/{token}/abandon"), &headers, b" ").await?.expect(204)?;
    let received = hub.call_as(&device.token(), "GET", &path, &[], b"").await?.expect(200)?;
    let token = lock_token(&received)?;
    hub.call_as(&device.token(), "DELETE", &format!("{path}/{token}%3Freject=true"), &[], b"").await?.expect(204)?;
    assert_eq!(hub.call_as(&device.token(), "GET", &path, &[], b"").await?.status, 204);
    Ok(())
}

/// Row 6: sends a misspelt `IfMatch`, reads headers in lower case and the delivery count as one byte.
#[tokio::test]
async fn csharp_device_sdk_settles() -> TestResult {
    let hub = Hub::shared().await?;
    let device = with_message(&hub, &[], "x").await?;
    let path = format!("/devices/{}/messages/devicebound", device.device_id);
    for deliveries in 0..3_u8 {
        let target = format!("{path}?iothub-messagelocktimeout=60&api-version=2021-04-12");
        let received = hub.https().await?.request("GET", &target, &[("Authorization", &device.token())], b"").await?;
        assert_eq!(received.header("iothub-deliverycount"), Some(deliveries.to_string().as_str()), "{received}");
        assert!(received.has_header_spelled("iothub-deliverycount"));
        let token = lock_token(&received)?;
        let headers = [("IfMatch", "\"something else\"")];
        hub.call_as(&device.token(), "POST", &format!("{path}/{token}/abandon"), &headers, b"").await?.expect(204)?;
    }
    Ok(())
}

/// Row 7: always waits a minute for the device to connect, however long it may take to answer.
#[tokio::test]
async fn c_service_sdk_invokes() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = hub.connect(&device).await?;
    client.subscribe(1, &[("$iothub/methods/POST/#", 0)]).await?;
    let (caller, path) = (hub.clone(), format!("/twins/{}/methods", device.device_id));
    let body = r#"{"methodName":"m","connectTimeoutInSeconds":60,"responseTimeoutInSeconds":20}"#;
    let invoked = tokio::spawn(async move { as_owner(&caller, "POST", &path, &[], body).await });
    let (topic, payload) = client.message().await?;
    assert_eq!(payload, b"null", "no payload is null");
    let request_id = topic.rsplit("$rid=").next().unwrap();
    client.publish(&format!("$iothub/methods/res/200/?$rid={request_id}"), b"", None).await?;
    assert_eq!(invoked.await??.expect(200)?.json()?, json!({ "status": 200, "payload": null }));
    Ok(())
}

/// Row 10: waits not a moment longer than the two times together.
#[tokio::test]
async fn node_service_sdk_times_out() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let begun = Instant::now();
    let body = r#"{"methodName":"m","connectTimeoutInSeconds":2,"payload":null}"#;
    let path = format!("/twins/{}/methods", device.device_id);
    let answer = as_owner(&hub, "POST", &path, &[], body).await?.expect(404)?;
    let waited = begun.elapsed();
    assert!(waited > Duration::from_millis(1600) && waited < Duration::from_secs(2), "{waited:?}");
    assert_eq!(answer.header("iothub-errorcode"), Some("DeviceNotOnline"));
    Ok(())
}

/// Row 11: encodes whole paths, sends the whole twin back, and takes every other success than 204 for JSON.
#[tokio::test]
async fn explorer_writes_twins_and_messages() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let id = &device.device_id;
    let mut twin = as_owner(&hub, "GET", &format!("/twins%2F{id}"), &[], "").await?.expect(200)?.json()?;
    twin["properties"]["desired"]["fan"] = json!(1);
    twin["tags"] = json!({ "floor": 2 });
    let patched =
        as_owner(&hub, "PATCH", &format!("/twins%2F{id}"), &[], &twin.to_string()).await?.expect(200)?.json()?;
    assert_eq!((&patched["properties"]["desired"]["fan"], &patched["tags"]), (&json!(1), &json!({ "floor": 2 })));
    assert_eq!(patched["properties"]["desired"]["$version"], 2);
    let path = format!("/devices%2F{id}%2Fmessages%2FdeviceBound");
    let sent = as_owner(&hub, "POST", &path, &[("Content-Encoding", "utf-8")], "hello").await?;
    assert_eq!((sent.status, sent.body.len()), (204, 0), "{sent}");
    Ok(())
}

/// Row 13: every twin has these members, or the export of a hub's state ends in a KeyError.
#[tokio::test]
async fn azure_cli_exports_twins() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let path = format!("/twins/{}", device.device_id);
    let twin = hub.call("GET", &path, &[], &Value::Null).await?.expect(200)?.json()?;
    for pointer in [
        "/authenticationType",
        "/x509Thumbprint/primaryThumbprint",
        "/x509Thumbprint/secondaryThumbprint",
        "/properties/desired/$metadata",
        "/properties/desired/$version",
        "/properties/reported/$metadata",
        "/etag",
        "/deviceEtag",
        "/capabilities/iotEdge",
    ] {
        assert!(twin.pointer(pointer).is_some(), "{pointer}: {twin}");
    }
    Ok(())
}
