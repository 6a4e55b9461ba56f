//! Messages for devices over MQTT (mqtt §5, §16.2, §16.6).

use std::time::Duration;

use ironhub_tests::{Device, Hub, HubOptions, Mqtt, Received, TestResult, eventually, token_that_expires};
use jiff::SignedDuration;
use serde_json::Value;

async fn send(hub: &Hub, device: &Device, headers: &[(&str, &str)], body: &str) -> TestResult {
    let path = format!("/devices/{}/messages/devicebound", device.device_id);
    let token = hub.policy_token("service")?;
    hub.call_as(&token, "POST", &path, headers, body.as_bytes()).await?.expect(204)?;
    Ok(())
}

fn filter(device: &Device) -> String {
    format!("devices/{}/messages/devicebound/#", device.device_id)
}

async fn connect(hub: &Hub, device: &Device, quality: u8) -> TestResult<Mqtt> {
    let mut client = hub.connect_as(&mqtt::Connect { clean_session: false, ..device.connect() }).await?;
    let granted = client.subscribe(1, &[(&filter(device), quality)]).await?;
    assert_eq!(granted, Received::SubAck { packet_id: 1, codes: vec![quality] });
    Ok(client)
}

/// The next message: topic, body, packet id and whether it is a repetition.
async fn delivered(client: &mut Mqtt) -> TestResult<(String, String, u16, bool)> {
    match client.receive().await? {
        Received::Publish { topic, payload, packet_id: Some(packet_id), duplicate } => {
            Ok((topic, String::from_utf8(payload)?, packet_id, duplicate))
        }
        other => anyhow::bail!("{other:?}"),
    }
}

async fn acknowledge(client: &mut Mqtt, packet_id: u16) -> TestResult {
    let mut bytes = Vec::new();
    mqtt::client::puback(packet_id, &mut bytes);
    client.send(&bytes).await
}

async fn queue_is(hub: &Hub, device: &Device, count: u64) -> TestResult {
    eventually("the queue's length", async || {
        let path = format!("/devices/{}", device.device_id);
        let device = hub.call("GET", &path, &[], &Value::Null).await?.expect(200)?.json()?;
        Ok(device["cloudToDeviceMessageCount"] == count)
    })
    .await
}

#[tokio::test]
async fn waiting_and_new_messages_are_delivered_in_order_and_settled() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    for number in 0..30 {
        send(&hub, &device, &[], &number.to_string()).await?;
    }
    let mut client = connect(&hub, &device, 1).await?;
    for number in 0..30 {
        let (_, body, packet_id, duplicate) = delivered(&mut client).await?;
        assert_eq!((body, duplicate, packet_id), (number.to_string(), false, number + 2));
        acknowledge(&mut client, packet_id).await?;
    }
    queue_is(&hub, &device, 0).await?;
    send(&hub, &device, &[], "live").await?;
    let (_, body, packet_id, _) = delivered(&mut client).await?;
    assert_eq!(body, "live");
    acknowledge(&mut client, packet_id).await?;
    queue_is(&hub, &device, 0).await
}

#[tokio::test]
async fn the_topic_has_every_property() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = connect(&hub, &device, 1).await?;
    let headers = [
        ("iothub-messageid", "m1"),
        ("iothub-ack", "full"),
        ("iothub-contenttype", "application/json"),
        ("iothub-app-mixedCase", "a/b+c=d&e#f%g h$"),
    ];
    send(&hub, &device, &headers, "x").await?;
    let (topic, ..) = delivered(&mut client).await?;
    let id = &device.device_id;
    assert_eq!(
        topic,
        format!(
            "devices/{id}/messages/devicebound/%24.mid=m1&%24.to=%2Fdevices%2F{id}%2Fmessages%2Fdevicebound\
             &%24.ct=application%2Fjson&iothub-ack=full&mixedCase=a%2Fb%2Bc%3Dd%26e%23f%25g%20h%24"
        )
    );
    Ok(())
}

#[tokio::test]
async fn at_most_so_many_are_in_flight() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    for number in 0..20 {
        send(&hub, &device, &[], &number.to_string()).await?;
    }
    let mut client = connect(&hub, &device, 1).await?;
    let mut packet_ids = Vec::new();
    for _ in 0..16 {
        packet_ids.push(delivered(&mut client).await?.2);
    }
    assert_eq!(client.receive_within(Duration::from_millis(300)).await?, None);
    acknowledge(&mut client, packet_ids[3]).await?;
    assert_eq!(delivered(&mut client).await?.1, "16");
    // A packet id that is not in flight means nothing.
    acknowledge(&mut client, 60_000).await?;
    client.ping().await?;
    queue_is(&hub, &device, 19).await
}

#[tokio::test]
async fn what_was_not_acknowledged_comes_again_on_the_next_connection() -> TestResult {
    let hub = Hub::start().await?;
    let device = hub.new_device().await?;
    let mut client = connect(&hub, &device, 1).await?;
    send(&hub, &device, &[], "first").await?;
    send(&hub, &device, &[], "second").await?;
    let (_, _, first, _) = delivered(&mut client).await?;
    let (_, _, second, _) = delivered(&mut client).await?;
    acknowledge(&mut client, first).await?;
    queue_is(&hub, &device, 1).await?;
    // A take-over, without subscribing again.
    let session = mqtt::Connect { clean_session: false, ..device.connect() };
    let mut newer = hub.connect_as(&session).await?;
    let (_, body, packet_id, duplicate) = delivered(&mut newer).await?;
    assert_eq!((body.as_str(), packet_id, duplicate), ("second", second, true));
    // The same after the hub was killed.
    drop(newer);
    let hub = hub.kill_and_restart().await?;
    let device = Device { host_name: hub.host_name.clone(), ..device };
    let mut client = hub.connect_as(&mqtt::Connect { clean_session: false, ..device.connect() }).await?;
    let (_, body, packet_id, duplicate) = delivered(&mut client).await?;
    assert_eq!((body.as_str(), packet_id, duplicate), ("second", second, true));
    acknowledge(&mut client, packet_id).await?;
    queue_is(&hub, &device, 0).await
}

#[tokio::test]
async fn a_broken_connection_gives_back_what_it_had() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = connect(&hub, &device, 1).await?;
    send(&hub, &device, &[], "x").await?;
    delivered(&mut client).await?;
    drop(client);
    // Over HTTPS, where a lock of a connection would have to be waited for.
    let path = format!("/devices/{}/messages/devicebound", device.device_id);
    eventually("the message waits again", async || {
        Ok(hub.call_as(&device.token(), "GET", &path, &[], b"").await?.status == 200)
    })
    .await
}

#[tokio::test]
async fn without_an_acknowledgement_a_message_comes_again_when_its_lock_ends() -> TestResult {
    let config = "[gateway.cloud_to_device]\nlock_seconds = 1\n".to_owned();
    let hub = Hub::start_with(HubOptions { config, ..HubOptions::default() }).await?;
    let device = hub.new_device().await?;
    let mut client = connect(&hub, &device, 1).await?;
    send(&hub, &device, &[], "x").await?;
    let (_, _, packet_id, duplicate) = delivered(&mut client).await?;
    assert!(!duplicate);
    let (_, _, again, duplicate) = delivered(&mut client).await?;
    assert_eq!((again, duplicate), (packet_id, true));
    acknowledge(&mut client, packet_id).await?;
    queue_is(&hub, &device, 0).await
}

#[tokio::test]
async fn at_most_once_is_settled_before_it_is_sent() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = connect(&hub, &device, 0).await?;
    send(&hub, &device, &[], "x").await?;
    let (topic, payload) = client.message().await?;
    assert!(topic.starts_with(&format!("devices/{}/messages/devicebound/%24.mid=", device.device_id)), "{topic}");
    assert_eq!(payload, b"x");
    queue_is(&hub, &device, 0).await
}

#[tokio::test]
async fn nothing_is_delivered_without_a_subscription() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    send(&hub, &device, &[], "x").await?;
    let mut client = hub.connect(&device).await?;
    client.subscribe(1, &[("devices/other/messages/devicebound/#", 1)]).await?;
    assert_eq!(client.receive_within(Duration::from_millis(200)).await?, None);
    client.subscribe(2, &[("devices/+/messages/devicebound/#", 1)]).await?;
    let (_, _, packet_id, _) = delivered(&mut client).await?;
    acknowledge(&mut client, packet_id).await?;
    queue_is(&hub, &device, 0).await?;
    client.unsubscribe(3, &["devices/+/messages/devicebound/#"]).await?;
    send(&hub, &device, &[], "y").await?;
    assert_eq!(client.receive_within(Duration::from_millis(200)).await?, None);
    queue_is(&hub, &device, 1).await
}

#[tokio::test]
async fn a_token_that_expires_loses_no_message() -> TestResult {
    let config = "[gateway.limits]\ntoken_grace_seconds = 1\n".to_owned();
    let hub = Hub::start_with(HubOptions { config, ..HubOptions::default() }).await?;
    let device = hub.new_device().await?;
    let soon = token_that_expires(&device.resource(), &device.primary_key, None, SignedDuration::from_secs(3));
    let session = mqtt::Connect { clean_session: false, ..device.connect() };
    let mut client = hub.connect_as(&mqtt::Connect { password: Some(soon), ..session.clone() }).await?;
    client.subscribe(1, &[(&filter(&device), 1)]).await?;
    for number in 0..4 {
        send(&hub, &device, &[], &number.to_string()).await?;
    }
    for number in 0..4 {
        let (_, body, packet_id, _) = delivered(&mut client).await?;
        assert_eq!(body, number.to_string());
        if number == 0 {
            acknowledge(&mut client, packet_id).await?;
        }
    }
    client.expect_closed().await?;
    send(&hub, &device, &[], "4").await?;
    let mut client = hub.connect_as(&session).await?;
    for number in 1..5 {
        let (_, body, packet_id, duplicate) = delivered(&mut client).await?;
        assert_eq!((body, duplicate), (number.to_string(), number < 4));
        acknowledge(&mut client, packet_id).await?;
    }
    queue_is(&hub, &device, 0).await
}
