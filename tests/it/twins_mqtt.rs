//! Twins as devices read, write and follow them (mqtt §7, §16.3).

use std::time::Duration;

use ironhub_tests::{Device, Hub, Mqtt, Received, TestResult};
use serde_json::{Value, json};

const RESPONSES: &str = "$iothub/twin/res/#";
const DESIRED: &str = "$iothub/twin/PATCH/properties/desired/#";

/// A device subscribed to all of its twin, with or without a session that stays.
async fn connect(hub: &Hub, device: &Device, clean_session: bool) -> TestResult<Mqtt> {
    let mut client = hub.connect_as(&mqtt::Connect { clean_session, ..device.connect() }).await?;
    let mut granted = client.subscribe(1, &[(RESPONSES, 1), (DESIRED, 0)]).await?;
    // A stored session is told of updates before it subscribes again.
    while !clean_session && matches!(granted, Received::Publish { .. }) {
        granted = client.receive().await?;
    }
    assert_eq!(granted, Received::SubAck { packet_id: 1, codes: vec![1, 0] });
    Ok(client)
}

async fn write_desired(hub: &Hub, path: &str, method: &str, desired: Value) -> TestResult<()> {
    let body = json!({ "properties": { "desired": desired } });
    hub.call(method, &format!("/twins/{path}"), &[], &body).await?.expect(200)?;
    Ok(())
}

async fn get(client: &mut Mqtt, request_id: &str, payload: &[u8]) -> TestResult<Value> {
    client.publish(&format!("$iothub/twin/GET/?$rid={request_id}"), payload, None).await?;
    let (topic, twin) = client.json_message().await?;
    assert_eq!(topic, format!("$iothub/twin/res/200/?$rid={request_id}"));
    Ok(twin)
}

#[tokio::test]
async fn a_twin_is_read_and_reported() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let module = hub.new_module(&device, "m").await?;
    for identity in [&device, &module] {
        let mut client = connect(&hub, identity, true).await?;
        let empty = json!({ "desired": { "$version": 1 }, "reported": { "$version": 1 } });
        for (request_id, payload) in [("1", &b""[..]), ("54321", b" "), ("0e8f5a6e-1b7f-4b62-9dfa-6a3a4d3c2b1a", b"{}")]
        {
            assert_eq!(get(&mut client, request_id, payload).await?, empty);
        }
        let patch = "$iothub/twin/PATCH/properties/reported/?$rid=8";
        client.publish(patch, br#"{"fps":30,"old":null,"n":{"a":1}}"#, None).await?;
        assert_eq!(client.message().await?, ("$iothub/twin/res/204/?$rid=8&$version=2".into(), vec![]));
        client.publish(&format!("{patch}&$version=2"), br#"{"n":{"a":null}}"#, None).await?;
        assert_eq!(client.message().await?.0, "$iothub/twin/res/204/?$rid=8&$version=3");
        client.publish(&format!("{patch}&$version=2"), br#"{"n":7}"#, None).await?;
        let (topic, error) = client.json_message().await?;
        assert_eq!((topic.as_str(), &error["errorCode"]), ("$iothub/twin/res/412/?$rid=8", &json!(412_001)));
        let expected = json!({ "desired": { "$version": 1 }, "reported": { "fps": 30, "n": {}, "$version": 3 } });
        assert_eq!(get(&mut client, "9", b"").await?, expected);
        let path = format!("/twins/{}", identity.client_id().replace('/', "/modules/"));
        let twin = hub.call("GET", &path, &[], &Value::Null).await?.expect(200)?.json()?;
        assert_eq!((&twin["version"], &twin["etag"]), (&json!(4), &json!("AAAAAAAAAAE=")));
        assert_eq!(twin["connectionState"], "Connected");
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_reported_is_answered_with_a_reason() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = connect(&hub, &device, true).await?;
    let large =
        format!(r#"{{{}}}"#, (0..9).map(|n| format!(r#""k{n}":"{}""#, "x".repeat(4096))).collect::<Vec<_>>().join(","));
    for payload in ["", "{", "5", "null", r#"{"a b":1}"#, r#"{"a":[null]}"#, large.as_str()] {
        client.publish("$iothub/twin/PATCH/properties/reported/?$rid=1", payload.as_bytes(), Some(3)).await?;
        let mut received = vec![client.receive().await?, client.receive().await?];
        assert!(received.contains(&Received::PubAck(3)));
        received.retain(|received| *received != Received::PubAck(3));
        let [Received::Publish { topic, payload: answer, .. }] = received.as_slice() else { panic!("{received:?}") };
        assert_eq!(topic, "$iothub/twin/res/400/?$rid=1", "{payload}");
        let answer: Value = serde_json::from_slice(answer)?;
        assert_eq!((&answer["errorCode"], &answer["info"]), (&json!(400_004), &Value::Null), "{payload}");
        assert!(answer["trackingId"].is_string() && answer["timestampUtc"].is_string(), "{answer}");
    }
    // Without a request id a patch is applied and not answered; a twin cannot be read.
    client.publish("$iothub/twin/PATCH/properties/reported/", br#"{"silent":1}"#, None).await?;
    assert_eq!(get(&mut client, "2", b"").await?["reported"], json!({ "silent": 1, "$version": 2 }));
    client.publish("$iothub/twin/GET/", b"", None).await?;
    client.expect_closed().await
}

#[tokio::test]
async fn answers_need_a_subscription() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = hub.connect(&device).await?;
    client.publish("$iothub/twin/PATCH/properties/reported/?$rid=1", br#"{"a":1}"#, Some(1)).await?;
    client.expect(Received::PubAck(1)).await?;
    client.subscribe(2, &[(RESPONSES, 0)]).await?;
    assert_eq!(get(&mut client, "2", b"").await?["reported"], json!({ "a": 1, "$version": 2 }));
    Ok(())
}

#[tokio::test]
async fn requests_and_telemetry_are_acknowledged_in_their_order() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = connect(&hub, &device, true).await?;
    let mut bytes = Vec::new();
    for number in 0..60_u16 {
        let topic = match number % 3 {
            0 => device.events_topic(),
            1 => format!("$iothub/twin/PATCH/properties/reported/?$rid={number}"),
            _ => format!("$iothub/twin/GET/?$rid={number}"),
        };
        mqtt::client::publish(&topic, format!(r#"{{"n":{number}}}"#).as_bytes(), Some(number + 1), &mut bytes);
    }
    client.send(&bytes).await?;
    let (mut acknowledged, mut answered) = (Vec::new(), Vec::new());
    while acknowledged.len() < 60 || answered.len() < 40 {
        match client.receive().await? {
            Received::PubAck(packet_id) => acknowledged.push(packet_id),
            Received::Publish { topic, payload, .. } => answered.push((topic, payload)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(acknowledged, (1..=60).collect::<Vec<_>>());
    for (position, (topic, payload)) in answered.iter().enumerate() {
        let (round, reads) = (position / 2, position % 2 == 1);
        if reads {
            let twin: Value = serde_json::from_slice(payload)?;
            assert_eq!(twin["reported"], json!({ "n": round * 3 + 1, "$version": round + 2 }), "{topic}");
        } else {
            assert_eq!(*topic, format!("$iothub/twin/res/204/?$rid={}&$version={}", round * 3 + 1, round + 2));
        }
    }
    Ok(())
}

#[tokio::test]
async fn desired_updates_arrive_in_order_as_they_were_sent() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let module = hub.new_module(&device, "m").await?;
    for identity in [&device, &module] {
        let path = identity.client_id().replace('/', "/modules/");
        let mut client = connect(&hub, identity, true).await?;
        write_desired(&hub, &path, "PATCH", json!({ "fps": 60, "gone": null })).await?;
        let (topic, patch) = client.json_message().await?;
        assert_eq!(topic, "$iothub/twin/PATCH/properties/desired/?$version=2");
        assert_eq!(patch, json!({ "fps": 60, "gone": null, "$version": 2 }));
        write_desired(&hub, &path, "PUT", json!({ "c": 1 })).await?;
        assert_eq!(client.json_message().await?.1, json!({ "c": 1, "fps": null, "$version": 3 }));
        for version in 4..30 {
            write_desired(&hub, &path, "PATCH", json!({ "n": version })).await?;
        }
        for version in 4..30 {
            assert_eq!(client.json_message().await?.1, json!({ "n": version, "$version": version }));
        }
        // Tags are not the device's business.
        hub.call("PATCH", &format!("/twins/{path}"), &[], &json!({ "tags": { "t": 1 } })).await?.expect(200)?;
        client.unsubscribe(5, &[DESIRED]).await?;
        write_desired(&hub, &path, "PATCH", json!({ "n": "unheard" })).await?;
        client.ping().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_stored_session_needs_no_new_subscription() -> TestResult {
    let hub = Hub::start().await?;
    let device = hub.new_device().await?;
    drop(connect(&hub, &device, false).await?);
    let hub = hub.kill_and_restart().await?;
    let device = Device { host_name: hub.host_name.clone(), ..device };
    let mut client = hub.mqtt().await?;
    let connack = client.connect(&mqtt::Connect { clean_session: false, ..device.connect() }).await?;
    assert_eq!(connack, Received::ConnAck { session_present: true, code: 0 });
    assert_eq!(get(&mut client, "1", b"").await?["desired"], json!({ "$version": 1 }));
    write_desired(&hub, &device.device_id, "PATCH", json!({ "a": 1 })).await?;
    assert_eq!(client.json_message().await?.1, json!({ "a": 1, "$version": 2 }));
    // A clean one has nothing.
    let mut client = hub.connect(&device).await?;
    client.publish("$iothub/twin/GET/?$rid=1", b"", None).await?;
    write_desired(&hub, &device.device_id, "PATCH", json!({ "a": 2 })).await?;
    assert_eq!(client.receive_within(Duration::from_millis(300)).await?, None);
    Ok(())
}

#[tokio::test]
async fn who_follows_the_documented_algorithm_has_the_latest_twin() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let path = device.device_id.clone();
    let writer_hub = hub.clone();
    let writer = tokio::spawn(async move {
        for number in 0..100 {
            write_desired(&writer_hub, &path, "PATCH", json!({ format!("k{}", number % 7): number })).await?;
        }
        TestResult::Ok(())
    });
    let mut known = Value::Null;
    for clean_session in [true, false, false, true, false] {
        let mut client = connect(&hub, &device, clean_session).await?;
        client.publish("$iothub/twin/GET/?$rid=1", b"", None).await?;
        let mut desired: Option<Value> = None;
        // Updates before the answer are in the answer.
        for _ in 0..20 {
            let Some(Received::Publish { topic, payload, .. }) =
                client.receive_within(Duration::from_millis(500)).await?
            else {
                break;
            };
            let message: Value = serde_json::from_slice(&payload)?;
            match &mut desired {
                None if topic.starts_with("$iothub/twin/res/200") => desired = Some(message["desired"].clone()),
                None => {}
                Some(desired) => {
                    let (told, has) = (message["$version"].as_u64(), desired["$version"].as_u64());
                    if told > has {
                        assert_eq!(told, has.map(|version| version + 1), "no version is left out");
                        desired.as_object_mut().unwrap().extend(message.as_object().unwrap().clone());
                    }
                }
            }
        }
        known = desired.unwrap_or_default();
    }
    writer.await??;
    let mut client = connect(&hub, &device, true).await?;
    let last = get(&mut client, "2", b"").await?["desired"].clone();
    assert_eq!(last["$version"], 101);
    assert!(known["$version"].as_u64() <= last["$version"].as_u64());
    Ok(())
}
