//! Telemetry over HTTPS: what is accepted and how refusals look (rest §17.1, §21).

use base64::{Engine, prelude::BASE64_STANDARD};
use ironhub_tests::{Device, Hub, OTHER_KEY, Response, TestResult, token, token_that_expires};
use jiff::SignedDuration;
use serde_json::json;

const BATCH: (&str, &str) = ("Content-Type", "application/vnd.microsoft.iothub.json");

async fn post(hub: &Hub, device: &Device, token: &str, headers: &[(&str, &str)], body: &[u8]) -> TestResult<Response> {
    let module = device.module_id.as_ref().map(|module| format!("/modules/{module}")).unwrap_or_default();
    let path = format!("/devices/{}{module}/messages/events", device.device_id);
    hub.call_as(token, "POST", &path, headers, body).await
}

#[tokio::test]
async fn devices_modules_and_policies_may_send() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let module = hub.new_module(&device, "m").await?;
    let response = post(&hub, &device, &device.token(), &[], b"device").await?.expect(204)?;
    assert_eq!(response.body, b"");
    post(&hub, &module, &module.token(), &[], b"module").await?.expect(204)?;
    post(&hub, &device, &hub.policy_token("device")?, &[], b"policy").await?.expect(204)?;
    let events = hub.wait_for_events(&device.device_id, 3).await?;
    let bodies: Vec<_> = events.iter().map(|event| event["body"].as_str().unwrap()).collect();
    assert_eq!(bodies, ["device", "module", "policy"]);
    assert_eq!(events[1]["systemProperties"]["iothub-connection-module-id"], "m");
    Ok(())
}

#[tokio::test]
async fn refusals_have_the_documented_status_and_name() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let other = hub.new_device().await?;
    let disabled = hub.new_device().await?;
    hub.update_device(&disabled, json!({ "status": "disabled" })).await?.expect(200)?;
    let unknown = Device { device_id: hub.new_id(), ..device.clone() };
    let expired = token_that_expires(&device.resource(), &device.primary_key, None, SignedDuration::from_mins(-10));
    let wrong = token(&device.resource(), &OTHER_KEY.parse()?, None);
    let unauthorized = ["IotHubUnauthorizedAccess", "IotHubUnauthorized"];
    let large = vec![b'x'; 262_145];
    #[expect(clippy::type_complexity, reason = "a table")]
    let cases: [(&str, &Device, String, &[(&str, &str)], &[u8], u16, &[&str]); 9] = [
        ("no token", &device, String::new(), &[], b"x", 401, &unauthorized),
        ("another key", &device, wrong, &[], b"x", 401, &unauthorized),
        ("an expired token", &device, expired, &[], b"x", 401, &unauthorized),
        ("another device's token", &device, other.token(), &[], b"x", 401, &unauthorized),
        ("an unknown device", &unknown, unknown.token(), &[], b"x", 401, &unauthorized),
        ("a disabled device", &disabled, disabled.token(), &[], b"x", 401, &unauthorized),
        ("an unknown device, by a policy", &unknown, hub.policy_token("device")?, &[], b"x", 404, &["DeviceNotFound"]),
        ("too large", &device, device.token(), &[], &large, 413, &["MessageTooLarge"]),
        (
            "a batch that is no JSON",
            &device,
            device.token(),
            &[BATCH],
            b"[{",
            400,
            &["InvalidContentEncodingOrType", "ArgumentInvalid"],
        ),
    ];
    for (what, device, token, headers, body, status, names) in cases {
        let response = post(&hub, device, &token, headers, body).await.map_err(|error| error.context(what))?;
        assert_eq!(response.status, status, "{what}: {response}");
        let name = response.error_name()?;
        assert!(names.contains(&name.as_str()), "{what}: {name}");
    }
    assert_eq!(hub.events(&device.device_id).await?.len(), 0);
    Ok(())
}

#[tokio::test]
async fn the_largest_message_is_accepted() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    post(&hub, &device, &device.token(), &[], &vec![b'x'; 262_144]).await?.expect(204)?;
    assert_eq!(hub.wait_for_events(&device.device_id, 1).await?[0]["body"].as_str().map(str::len), Some(262_144));
    Ok(())
}

#[tokio::test]
async fn a_batch_is_accepted_as_a_whole_or_not_at_all() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let good = json!({ "body": BASE64_STANDARD.encode("good") });
    let bad = json!({ "body": "not base64!", "base64Encoded": true });
    let body = json!([good, bad]).to_string();
    assert_eq!(post(&hub, &device, &device.token(), &[BATCH], body.as_bytes()).await?.status, 400);
    assert_eq!(hub.events(&device.device_id).await?.len(), 0);
    let body = json!([good, good, good]).to_string();
    post(&hub, &device, &device.token(), &[BATCH], body.as_bytes()).await?.expect(204)?;
    assert_eq!(hub.wait_for_events(&device.device_id, 3).await?.len(), 3);
    Ok(())
}

#[tokio::test]
async fn many_requests_follow_each_other_on_one_connection() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut connection = hub.https().await?;
    let target = format!("/devices/{}/messages/events?api-version=2021-04-12", device.device_id);
    let token = device.token();
    for number in 0..20 {
        let body = number.to_string();
        connection.request("POST", &target, &[("Authorization", &token)], body.as_bytes()).await?.expect(204)?;
    }
    let events = hub.wait_for_events(&device.device_id, 20).await?;
    assert_eq!(
        events.iter().map(|event| event["body"].as_u64()).collect::<Vec<_>>(),
        (0..20).map(Some).collect::<Vec<_>>()
    );
    Ok(())
}

#[tokio::test]
async fn application_properties_keep_the_case_of_their_names() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let headers = [("iothub-app-Level", "1"), ("IoTHub-App-level", "2"), ("iothub-app-UPPER", "grün")];
    post(&hub, &device, &device.token(), &headers, b"x").await?.expect(204)?;
    let mut connection = hub.https().await?;
    let target = format!("/devices/{}/messages/events?api-version=2021-04-12", device.device_id);
    let token = device.token();
    let chunked = format!(
        "POST {target} HTTP/1.1\r\nHost: hub\r\nAuthorization: {token}\r\niothub-app-First: 1\r\n\
         Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    );
    connection.send_raw(chunked.as_bytes()).await?;
    connection.response().await?.expect(204)?;
    let headers = [("Authorization", token.as_str()), ("iothub-app-Second", "2")];
    connection.request("POST", &target, &headers, b"x").await?.expect(204)?;
    let events = hub.wait_for_events(&device.device_id, 3).await?;
    let properties: Vec<_> = events.iter().map(|event| event["properties"].clone()).collect();
    let expected =
        [json!({ "Level": "1", "level": "2", "UPPER": "grün" }), json!({ "First": "1" }), json!({ "Second": "2" })];
    assert_eq!(properties, expected);
    Ok(())
}

#[tokio::test]
async fn the_tracking_id_of_a_refusal_leads_to_its_one_line_in_the_log() -> TestResult {
    let hub = Hub::start().await?;
    let device = hub.new_device().await?;
    let wrong = token(&device.resource(), &OTHER_KEY.parse()?, None);
    let response = post(&hub, &device, &wrong, &[], b"x").await?.expect(401)?;
    let envelope = response.json()?;
    let id = envelope["ExceptionMessage"].as_str().and_then(|text| text.strip_prefix("Tracking ID:")).unwrap();
    let log = hub.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains(&device.device_id) && line.contains("WARN")).collect();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains(id) && lines[0].contains("signature") && !lines[0].contains("sig="), "{}", lines[0]);
    Ok(())
}
