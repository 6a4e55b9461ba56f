//! Telemetry over MQTT: accepted, acknowledged in order, kept in order (mqtt §3, §4).

use ironhub_tests::{Hub, Received, TestResult};

#[tokio::test]
async fn quality_of_service_0_and_1_arrive() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = hub.connect(&device).await?;
    client.publish(&device.events_topic(), b"zero", None).await?;
    client.publish_acknowledged(&device.events_topic(), b"one").await?;
    let events = hub.wait_for_events(&device.device_id, 2).await?;
    assert_eq!(events.iter().map(|event| event["body"].as_str()).collect::<Vec<_>>(), [Some("zero"), Some("one")]);
    let system = &events[0]["systemProperties"];
    assert_eq!(system["iothub-connection-device-id"], device.device_id.as_str());
    assert_eq!(system["iothub-connection-auth-generation-id"], device.generation_id.as_str());
    assert_eq!(system["iothub-message-source"], "Telemetry");
    assert!(events[0]["enqueuedTime"].as_str().is_some_and(|time| time.ends_with('Z')));
    Ok(())
}

#[tokio::test]
async fn many_in_flight_are_acknowledged_in_order_and_kept_in_order() -> TestResult {
    const COUNT: u16 = 500;
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = hub.connect(&device).await?;
    let mut out = Vec::new();
    for id in 1..=COUNT {
        mqtt::client::publish(&device.events_topic(), id.to_string().as_bytes(), Some(id), &mut out);
    }
    client.send(&out).await?;
    for id in 1..=COUNT {
        client.expect(Received::PubAck(id)).await?;
    }
    let events = hub.events(&device.device_id).await?;
    let bodies: Vec<_> = events.iter().map(|event| event["body"].as_u64()).collect();
    assert_eq!(bodies, (1..=u64::from(COUNT)).map(Some).collect::<Vec<_>>());
    let numbers: Vec<_> = events.iter().filter_map(|event| event["sequenceNumber"].as_u64()).collect();
    assert!(numbers.len() == events.len() && numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    Ok(())
}

#[tokio::test]
async fn every_spelling_of_the_own_topic_is_accepted() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let module = hub.new_module(&device, "m").await?;
    let mut client = hub.connect(&device).await?;
    let id = &device.device_id;
    for topic in [
        format!("devices/{id}/messages/events"),
        format!("devices/{id}/messages/events/"),
        format!("devices/{id}/messages/events//"),
        format!("devices/{id}/messages/events/a=1/"),
        format!("devices/{id}/messages/events/%24.ct=application/json&a=1"),
    ] {
        client.publish_acknowledged(&topic, topic.as_bytes()).await?;
    }
    let mut client = hub.connect(&module).await?;
    client.publish_acknowledged(&module.events_topic(), b"of the module").await?;
    let events = hub.wait_for_events(id, 6).await?;
    assert_eq!(events.len(), 6);
    assert_eq!(events[4]["systemProperties"]["content-type"], "application/json");
    assert_eq!(events[5]["systemProperties"]["iothub-connection-module-id"], "m");
    Ok(())
}

#[tokio::test]
async fn the_retain_flag_becomes_a_property_and_nothing_is_retained() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = hub.connect(&device).await?;
    let mut out = Vec::new();
    mqtt::client::publish(&device.events_topic(), b"x", Some(1), &mut out);
    out[0] |= 1;
    client.send(&out).await?;
    client.expect(Received::PubAck(1)).await?;
    let events = hub.wait_for_events(&device.device_id, 1).await?;
    assert_eq!(events[0]["properties"]["mqtt-retain"], "true");
    Ok(())
}

#[tokio::test]
async fn bodies_are_json_text_or_base64() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = hub.connect(&device).await?;
    for body in [&br#"{"t": 21.5}"#[..], b"plain", &[0xff, 0x00], b""] {
        client.publish_acknowledged(&device.events_topic(), body).await?;
    }
    let events = hub.wait_for_events(&device.device_id, 4).await?;
    assert_eq!(events[0]["body"]["t"], 21.5);
    assert_eq!(events[1]["body"], "plain");
    assert_eq!((&events[2]["bodyBase64"], events[2].get("body")), (&"/wA=".into(), None));
    assert_eq!(events[3]["body"], "");
    Ok(())
}

#[tokio::test]
async fn what_the_protocol_forbids_closes_the_connection() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let other = hub.new_device().await?;
    let own = device.events_topic();
    let publish = |topic: &str| {
        let mut out = Vec::new();
        mqtt::client::publish(topic, b"x", Some(1), &mut out);
        out
    };
    let mut quality_of_service_2 = publish(&own);
    quality_of_service_2[0] = 0x34;
    let mut connect_again = Vec::new();
    mqtt::client::connect(&device.connect(), &mut connect_again);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("QoS 2", quality_of_service_2),
        ("an unknown topic", publish("anything")),
        ("another device's topic", publish(&other.events_topic())),
        ("a module's topic", publish(&format!("devices/{}/modules/m/messages/events/", device.device_id))),
        ("a longer id with the same beginning", publish(&format!("devices/{}x/messages/events/", device.device_id))),
        ("a topic with a wildcard", publish("devices/+/messages/events/")),
        ("a second CONNECT", connect_again),
        ("reserved flags", vec![0xc1, 0]),
        ("PUBREL", vec![0x62, 2, 0, 1]),
        ("packet type 15", vec![0xf0, 0]),
        ("an impossible length", vec![0x30, 0xff, 0xff, 0xff, 0xff, 0x7f]),
    ];
    for (what, bytes) in cases {
        let mut client = hub.connect(&device).await?;
        client.send(&bytes).await?;
        client.expect_closed().await.map_err(|error| error.context(what))?;
    }
    assert_eq!(hub.events(&device.device_id).await?.len(), 0, "nothing of that was accepted");
    assert_eq!(hub.events(&other.device_id).await?.len(), 0);
    Ok(())
}

#[tokio::test]
async fn packets_sent_before_connack_are_handled_after_it() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = hub.mqtt().await?;
    let mut out = Vec::new();
    mqtt::client::connect(&device.connect(), &mut out);
    mqtt::client::publish(&device.events_topic(), b"early", Some(5), &mut out);
    client.send(&out).await?;
    client.expect(Received::ConnAck { session_present: false, code: 0 }).await?;
    client.expect(Received::PubAck(5)).await
}

#[tokio::test]
async fn packets_may_arrive_byte_by_byte() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = hub.mqtt().await?;
    let mut out = Vec::new();
    mqtt::client::connect(&device.connect(), &mut out);
    mqtt::client::publish(&device.events_topic(), b"slow", Some(6), &mut out);
    for byte in out {
        client.send(&[byte]).await?;
    }
    client.expect(Received::ConnAck { session_present: false, code: 0 }).await?;
    client.expect(Received::PubAck(6)).await
}
