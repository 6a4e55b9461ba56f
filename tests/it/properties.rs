//! Every property makes the round trip: sent over MQTT or HTTPS, read back as readers of events see it (mqtt §4.3,
//! rest §17.1).

use base64::{Engine, prelude::BASE64_STANDARD};
use ironhub_tests::{Hub, TestResult};
use serde_json::{Value, json};

fn assert_members(found: &Value, expected: &Value, what: &str) {
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(found.get(name), Some(value), "{what}: {name} in {found}");
    }
}

fn system_properties() -> Value {
    json!({
        "message-id": "message-1",
        "correlation-id": "correlation 1",
        "user-id": "user/1",
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "absolute-expiry-time": "2030-01-01T00:00:00.0000000Z",
    })
}

/// One bag, and what becomes of it: system properties, application properties.
fn bags() -> Vec<(&'static str, Value, Value)> {
    let all = "%24.mid=message-1&%24.cid=correlation%201&%24.uid=user%2F1&%24.ct=application%2Fjson&%24.ce=utf-8\
               &%24.exp=2030-01-01T00%3A00%3A00.0000000Z&alert=a%20b";
    let raw = "alert=a%20b&$.mid=message-1&$.cid=correlation%201&$.uid=user%2F1&$.ct=application/json&$.ce=utf-8\
               &$.exp=2030-01-01T00%3A00%3A00.0000000Z";
    vec![
        (all, system_properties(), json!({ "alert": "a b" })),
        (raw, system_properties(), json!({ "alert": "a b" })),
        ("%24.sub=thermostat1", json!({ "dt-subject": "thermostat1" }), json!({})),
        (
            "%24.ifid=urn%3aazureiot%3aSecurity%3aSecurityAgent%3a1",
            json!({ "iothub-interface-id": "urn:azureiot:Security:SecurityAgent:1" }),
            json!({}),
        ),
        ("a+b=c+d", json!({}), json!({ "a+b": "c+d" })),
        ("k=a%3db%26c=d", json!({}), json!({ "k": "a=b&c=d" })),
        ("%C3%BC=%E2%98%83", json!({}), json!({ "ü": "☃" })),
        ("raw=ü ☃", json!({}), json!({ "raw": "ü ☃" })),
        ("empty=&missing", json!({}), json!({ "empty": "", "missing": "" })),
        ("&&a=1&&b=2&", json!({}), json!({ "a": "1", "b": "2" })),
        ("twice=1&twice=2", json!({}), json!({ "twice": "2" })),
        ("broken=%zz&percent=100%", json!({}), json!({ "broken": "%zz", "percent": "100%" })),
        ("?x=1", json!({}), json!({ "?x": "1" })),
    ]
}

#[tokio::test]
async fn every_property_bag_arrives_over_mqtt() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = hub.connect(&device).await?;
    for (bag, _, _) in bags() {
        client.publish_acknowledged(&format!("{}{bag}", device.events_topic()), b"x").await?;
    }
    let events = hub.wait_for_events(&device.device_id, bags().len()).await?;
    for ((bag, system, application), event) in bags().into_iter().zip(events) {
        assert_eq!(event["properties"], application, "{bag}");
        assert_members(&event["systemProperties"], &system, bag);
    }
    Ok(())
}

#[tokio::test]
async fn a_sender_cannot_pretend_to_be_someone_else() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = hub.connect(&device).await?;
    let bag = "%24.cdid=other&%24.cmid=other&iothub-connection-device-id=other&iothub-message-source=twinChangeEvents";
    client.publish_acknowledged(&format!("{}{bag}", device.events_topic()), b"x").await?;
    let events = hub.wait_for_events(&device.device_id, 1).await?;
    let system = &events[0]["systemProperties"];
    assert_eq!(system["iothub-connection-device-id"], device.device_id.as_str());
    assert_eq!(system.get("iothub-connection-module-id"), None);
    assert_eq!(system["iothub-message-source"], "Telemetry");
    Ok(())
}

#[tokio::test]
async fn the_model_id_of_the_session_is_stamped() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let username = format!("{}&model-id=dtmi%3Acom%3Aexample%3AThermostat%3B1", device.username());
    let mut client = hub.connect_as(&mqtt::Connect { username: Some(username), ..device.connect() }).await?;
    client.publish_acknowledged(&device.events_topic(), b"x").await?;
    let events = hub.wait_for_events(&device.device_id, 1).await?;
    assert_eq!(events[0]["systemProperties"]["dt-dataschema"], "dtmi:com:example:Thermostat;1");
    Ok(())
}

#[tokio::test]
async fn the_authentication_method_is_stamped() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let module = hub.new_module(&device, "m").await?;
    let by_policy = mqtt::Connect { password: Some(hub.policy_token("device")?), ..device.connect() };
    for (connect, topic) in [
        (device.connect(), device.events_topic()),
        (module.connect(), module.events_topic()),
        (by_policy, device.events_topic()),
    ] {
        hub.connect_as(&connect).await?.publish_acknowledged(&topic, b"x").await?;
    }
    let events = hub.wait_for_events(&device.device_id, 3).await?;
    let scopes: Vec<String> = events
        .iter()
        .map(|event| {
            let text = event["systemProperties"]["iothub-connection-auth-method"].as_str().unwrap();
            let method: Value = serde_json::from_str(text).unwrap();
            assert_eq!((&method["type"], &method["issuer"]), (&"sas".into(), &"iothub".into()), "{method}");
            method["scope"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(scopes, ["device", "module", "hub"]);
    Ok(())
}

#[tokio::test]
async fn every_property_arrives_over_https() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let path = format!("/devices/{}/messages/events", device.device_id);
    let to = format!("/devices/{}/messages/events", device.device_id);
    let headers = [
        ("IoTHub-MessageId", "message-1"),
        ("iothub-correlationid", "correlation 1"),
        ("IoTHub-UserId", "user/1"),
        ("iothub-contenttype", "application/json"),
        ("iothub-contentencoding", "utf-8"),
        ("iothub-expiry", "2030-01-01T00:00:00.0000000Z"),
        ("iothub-to", &to),
        ("dt-subject", "thermostat1"),
        ("iothub-app-Alert", "a b&c=d%20e"),
        ("iothub-app-snow", "☃"),
        ("Content-Type", "application/octet-stream"),
    ];
    hub.call_as(&device.token(), "POST", &path, &headers, br#"{"t":1}"#).await?.expect(204)?;
    let events = hub.wait_for_events(&device.device_id, 1).await?;
    assert_eq!(events[0]["body"], json!({ "t": 1 }));
    assert_members(&events[0]["systemProperties"], &system_properties(), "HTTPS");
    assert_eq!(events[0]["systemProperties"]["dt-subject"], "thermostat1");
    assert_eq!(events[0]["properties"], json!({ "Alert": "a b&c=d%20e", "snow": "☃" }));
    Ok(())
}

#[tokio::test]
async fn every_property_of_a_batch_arrives_over_https() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let path = format!("/devices/{}/messages/events", device.device_id);
    let properties = json!({
        "iothub-messageid": "message-1", "iothub-correlationid": "correlation 1", "iothub-userid": "user/1",
        "iothub-contenttype": "application/json", "iothub-contentencoding": "utf-8",
        "iothub-expiry": "2030-01-01T00:00:00.0000000Z", "iothub-app-a": "1", "iothub-app-b": 2, "dt-subject": "c",
    });
    let batch = json!([
        { "body": BASE64_STANDARD.encode("first"), "properties": properties },
        { "body": BASE64_STANDARD.encode([0xff]), "base64Encoded": true },
        { "body": "{\"t\":1}", "base64Encoded": false, "properties": {} },
    ]);
    let headers = [("Content-Type", "application/vnd.microsoft.iothub.json")];
    hub.call_as(&device.token(), "POST", &path, &headers, batch.to_string().as_bytes()).await?.expect(204)?;
    let events = hub.wait_for_events(&device.device_id, 3).await?;
    assert_eq!(events[0]["body"], "first");
    assert_members(&events[0]["systemProperties"], &system_properties(), "batch");
    assert_eq!(events[0]["systemProperties"]["dt-subject"], "c");
    assert_eq!(events[0]["properties"], json!({ "a": "1", "b": "2" }));
    assert_eq!(events[1]["bodyBase64"], "/w==");
    assert_eq!(events[2]["body"], json!({ "t": 1 }));
    Ok(())
}
