//! MQTT over WebSocket on the HTTPS port (mqtt §1): the same hub as on 8883, byte for byte.

use ironhub_tests::{
    Device, Frame, Hub, HubOptions, Mqtt, Received, TestResult, WEBSOCKET_PATH, WebSocket, eventually, frame,
    handshake_headers, self_signed,
};
use serde_json::json;

const BINARY_BEGINS: u8 = 0x02;
const CONTINUES: u8 = 0x00;
const ENDS: u8 = 0x80;
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;

const CONNACK: &[u8] = &[0x20, 2, 0, 0];

fn connect_bytes(device: &Device) -> Vec<u8> {
    let mut out = Vec::new();
    mqtt::client::connect(&device.connect(), &mut out);
    out
}

fn publish_bytes(device: &Device, payload: &[u8], packet_id: u16) -> Vec<u8> {
    let mut out = Vec::new();
    mqtt::client::publish(&device.events_topic(), payload, Some(packet_id), &mut out);
    out
}

/// An MQTT connection over WebSocket, accepted; whether its session was present.
async fn connect(hub: &Hub, connect: &mqtt::Connect) -> TestResult<(Mqtt, bool)> {
    let mut client = hub.mqtt_websocket().await?;
    match client.connect(connect).await? {
        Received::ConnAck { session_present, code: 0 } => Ok((client, session_present)),
        other => anyhow::bail!("{other:?}"),
    }
}

/// Payload of binary frames until so many bytes came.
async fn payload(socket: &mut WebSocket, bytes: usize) -> TestResult<Vec<u8>> {
    let mut payload = Vec::new();
    while payload.len() < bytes {
        match socket.receive().await? {
            Frame::Binary(more) => payload.extend(more),
            other => anyhow::bail!("{other:?}"),
        }
    }
    Ok(payload)
}

#[tokio::test]
async fn every_handshake_that_clients_send_is_accepted() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    for (target, sub_protocol, echoed) in [
        ("/$iothub/websocket", "mqtt", "mqtt"),
        ("/$iothub/websocket", "MQTT", "MQTT"),
        ("/$iothub/websocket?iothub-no-client-cert=true", "mqtt", "mqtt"),
        ("/%24iothub/websocket", "mqtt", "mqtt"),
        ("/$IoTHub/WebSocket/?what=ever&api-version=x", "mqtt", "mqtt"),
        ("/$iothub/websocket", "soap, Mqtt, AMQPWSB10", "Mqtt"),
    ] {
        let (mut socket, answer) = WebSocket::open(hub.https().await?, target, sub_protocol).await?;
        assert_eq!(answer.header("Sec-WebSocket-Protocol"), Some(echoed), "{target}");
        for name in ["Upgrade", "Connection", "Sec-WebSocket-Accept", "Sec-WebSocket-Protocol"] {
            assert!(answer.has_header_spelled(name), "{answer}");
        }
        assert_eq!(answer.header("Sec-WebSocket-Extensions"), None);
        socket.send(&connect_bytes(&device)).await?;
        assert_eq!(socket.receive().await?, Frame::Binary(CONNACK.to_vec()), "{target}");
    }
    Ok(())
}

#[tokio::test]
async fn bad_handshakes_are_told_what_is_wrong_and_leave_http_alive() -> TestResult {
    let hub = Hub::shared().await?;
    let without = |name: &str| handshake_headers("mqtt").into_iter().filter(|(key, _)| *key != name).collect();
    let with = |name: &'static str, value: &'static str| {
        let mut headers: Vec<_> = without(name);
        headers.push((name, value));
        headers
    };
    let mut https = hub.https().await?;
    for (what, headers, status) in [
        ("no upgrade", without("Upgrade"), 426),
        ("no connection", without("Connection"), 426),
        ("another protocol", with("Upgrade", "h2c"), 426),
        ("no version", without("Sec-WebSocket-Version"), 426),
        ("an old version", with("Sec-WebSocket-Version", "8"), 426),
        ("no key", without("Sec-WebSocket-Key"), 400),
        ("a short key", with("Sec-WebSocket-Key", "c2hvcnQ="), 400),
        ("no sub-protocol", without("Sec-WebSocket-Protocol"), 400),
        ("another sub-protocol", with("Sec-WebSocket-Protocol", "soap"), 400),
        ("a body", [handshake_headers("mqtt"), vec![("Transfer-Encoding", "chunked")]].concat(), 400),
    ] {
        if what == "a body" {
            https = hub.https().await?; // it is not read, so this is the connection's last request
        }
        let answer = https.upgrade(WEBSOCKET_PATH, &headers).await?.expect(status)?;
        answer.error_name()?;
        if status == 426 {
            assert_eq!(answer.header("Sec-WebSocket-Version"), Some("13"), "{what}");
            assert_eq!(answer.header("Upgrade"), Some("websocket"), "{what}");
        }
        if what == "another sub-protocol" {
            assert!(answer.json()?["Message"].as_str().is_some_and(|message| message.contains("mqtt")), "{answer}");
        }
    }
    // Where Event Hubs readers look, MQTT is not spoken.
    let answer = hub.https().await?.upgrade("/$servicebus/websocket", &handshake_headers("mqtt")).await?;
    assert_eq!(answer.status, 400);
    let answer = hub.https().await?.request("POST", WEBSOCKET_PATH, &handshake_headers("mqtt"), b"").await?;
    assert_eq!(answer.status, 405);
    Ok(())
}

#[tokio::test]
async fn packets_and_frames_may_begin_anywhere() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut socket = hub.websocket().await?;
    // One byte a frame, with a ping in the middle of a message.
    let connect = connect_bytes(&device);
    let (last, begin) = connect.split_last().unwrap();
    let mut bytes = frame(BINARY_BEGINS, &[]);
    bytes.extend(begin.iter().flat_map(|byte| frame(CONTINUES, &[*byte])));
    bytes.extend(frame(PING, b"between"));
    bytes.extend(frame(ENDS | CONTINUES, &[*last]));
    socket.send_raw(&bytes).await?;
    assert_eq!(socket.receive().await?, Frame::Pong(b"between".to_vec()));
    assert_eq!(socket.receive().await?, Frame::Binary(CONNACK.to_vec()));
    // Three packets in two messages, cut in the middle of the second packet.
    let three: Vec<u8> = (1..=3).flat_map(|id| publish_bytes(&device, id.to_string().as_bytes(), id)).collect();
    let (first, second) = three.split_at(three.len() / 2);
    socket.send_raw(&[frame(0x82, first), frame(0x82, second)].concat()).await?;
    let acknowledgements = payload(&mut socket, 12).await?;
    assert_eq!(acknowledgements, [0x40, 2, 0, 1, 0x40, 2, 0, 2, 0x40, 2, 0, 3]);
    let events = hub.wait_for_events(&device.device_id, 3).await?;
    assert_eq!(events.iter().map(|event| event["body"].as_u64()).collect::<Vec<_>>(), [Some(1), Some(2), Some(3)]);
    // The hub answers a goodbye in kind.
    socket.send_raw(&frame(CLOSE, &[0x03, 0xe9])).await?;
    socket.expect_close(1001).await
}

#[tokio::test]
async fn frames_sent_with_the_handshake_are_not_lost() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let lines: String = handshake_headers("mqtt").iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("GET {WEBSOCKET_PATH} HTTP/1.1\r\nHost: hub\r\n{lines}\r\n");
    let mut https = hub.https().await?;
    let early = [frame(0x82, &connect_bytes(&device)), frame(0x82, &publish_bytes(&device, b"early", 1))].concat();
    https.send_raw(&[head.as_bytes(), &early].concat()).await?;
    https.response().await?.expect(101)?;
    assert_eq!(hub.wait_for_events(&device.device_id, 1).await?[0]["body"], "early");
    Ok(())
}

#[tokio::test]
async fn bad_frames_close_with_their_reason() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    for (bytes, code) in [
        (frame(TEXT, b"hello"), 1003),
        (vec![0x82, 1], 1002),
        (frame(0xc2, b""), 1002),
        (vec![0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 1, 0, 0, 0, 0], 1009),
    ] {
        // Before and after CONNECT.
        let mut socket = hub.websocket().await?;
        socket.send_raw(&bytes).await?;
        socket.expect_close(code).await?;
        let mut socket = hub.websocket().await?;
        socket.send(&connect_bytes(&device)).await?;
        assert_eq!(socket.receive().await?, Frame::Binary(CONNACK.to_vec()));
        socket.send_raw(&bytes).await?;
        socket.expect_close(code).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_violation_of_mqtt_closes() -> TestResult {
    let hub = Hub::shared().await?;
    let mut socket = hub.websocket().await?;
    socket.send(&[0xc0, 0]).await?;
    socket.expect_close(1000).await?;
    let device = hub.new_device().await?;
    let (mut client, _) = connect(&hub, &device.connect()).await?;
    client.publish("devices/other/messages/events/", b"x", None).await?;
    client.expect_closed().await
}

#[tokio::test]
async fn silent_handshakes_and_silent_websockets_are_closed() -> TestResult {
    let config = "[gateway.limits]\nconnect_timeout_seconds = 1\n[gateway.https]\nheader_timeout_seconds = 1\n\
        request_timeout_seconds = 2\n";
    let hub = Hub::start_with(HubOptions { config: config.to_owned(), ..HubOptions::default() }).await?;
    let mut half = hub.https().await?;
    half.send_raw(b"GET /$iothub/websocket HTTP/1.1\r\nConnection: Upgrade\r\n").await?;
    half.closed().await?;
    hub.websocket().await?.expect_close(1000).await?;
    // Who speaks in time lives on, longer than any request.
    let device = hub.new_device().await?;
    let (mut client, _) = connect(&hub, &device.connect()).await?;
    assert_eq!(client.receive_within(std::time::Duration::from_secs(4)).await?, None);
    client.ping().await
}

#[tokio::test]
async fn pings_of_the_websocket_are_no_packets() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut socket = hub.websocket().await?;
    let mut out = Vec::new();
    mqtt::client::connect(&mqtt::Connect { keep_alive_seconds: 2, ..device.connect() }, &mut out);
    socket.send(&out).await?;
    assert_eq!(socket.receive().await?, Frame::Binary(CONNACK.to_vec()));
    eventually("the keep-alive closes", async || {
        // The hub may be gone when it is sent.
        let _ = socket.send_raw(&frame(PING, b"?")).await;
        Ok(socket.receive().await? == Frame::Close(Some(1000)))
    })
    .await
}

#[tokio::test]
async fn the_largest_message_is_accepted_and_a_larger_one_closes() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let (mut client, _) = connect(&hub, &device.connect()).await?;
    client.publish_acknowledged(&device.events_topic(), &vec![b'x'; 262_144]).await?;
    client.publish(&device.events_topic(), &vec![b'x'; 262_145], Some(1)).await?;
    client.expect_closed().await
}

#[tokio::test]
async fn who_floods_is_acknowledged_in_order() -> TestResult {
    let config = "[gateway.limits]\nunacknowledged_messages_max = 4\n".to_owned();
    let hub = Hub::start_with(HubOptions { config, ..HubOptions::default() }).await?;
    let device = hub.new_device().await?;
    let (mut client, _) = connect(&hub, &device.connect()).await?;
    let all: Vec<u8> = (1..=200).flat_map(|id| publish_bytes(&device, &[b'x'; 100], id)).collect();
    client.send(&all).await?;
    for id in 1..=200 {
        client.expect(Received::PubAck(id)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_session_goes_on_over_the_other_transport() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let persistent = mqtt::Connect { clean_session: false, ..device.connect() };
    let (mut client, present) = connect(&hub, &persistent).await?;
    assert!(!present);
    let granted = client.subscribe(1, &[("$iothub/methods/POST/#", 1)]).await?;
    assert_eq!(granted, Received::SubAck { packet_id: 1, codes: vec![1] });
    client.disconnect().await?;
    let mut client = hub.mqtt().await?;
    assert_eq!(client.connect(&persistent).await?, Received::ConnAck { session_present: true, code: 0 });
    client.disconnect().await?;
    let (client, present) = connect(&hub, &persistent).await?;
    assert!(present);
    client.disconnect().await
}

#[tokio::test]
async fn the_newer_connection_wins_whatever_it_runs_over() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let on_8883 = hub.connect(&device).await?;
    let (on_443, _) = connect(&hub, &device.connect()).await?;
    on_8883.expect_closed().await?;
    let mut on_8883 = hub.connect(&device).await?;
    on_443.expect_closed().await?;
    on_8883.ping().await
}

#[tokio::test]
async fn a_lost_connection_fires_the_will() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let will = mqtt::Will {
        topic: device.events_topic(),
        payload: b"lost".to_vec(),
        quality_of_service: mqtt::QualityOfService::AtLeastOnce,
        retain: false,
    };
    let (client, _) = connect(&hub, &mqtt::Connect { will: Some(will), ..device.connect() }).await?;
    drop(client);
    assert_eq!(hub.wait_for_events(&device.device_id, 1).await?[0]["body"], "lost");
    Ok(())
}

#[tokio::test]
async fn a_certificate_of_the_tls_handshake_proves_an_identity() -> TestResult {
    let hub = Hub::shared().await?;
    let (presented, other) = (self_signed("device")?, self_signed("other")?);
    let device = hub.new_device().await?;
    let thumbprints = json!({ "primaryThumbprint": presented.thumbprint() });
    let x509 = json!({ "authentication": { "type": "selfSigned", "x509Thumbprint": thumbprints } });
    hub.update_device(&device, x509).await?.expect(200)?;
    let connect = mqtt::Connect { password: None, ..device.connect() };
    for (presented, code) in [(&presented, 0), (&other, 5)] {
        let https = hub.https_with(presented).await?;
        let mut client = Mqtt::new(WebSocket::open(https, WEBSOCKET_PATH, "mqtt").await?.0.into_stream());
        assert_eq!(client.connect(&connect).await?, Received::ConnAck { session_present: false, code });
    }
    let mut client = hub.mqtt_websocket().await?;
    assert_eq!(client.connect(&connect).await?, Received::ConnAck { session_present: false, code: 5 });
    Ok(())
}

#[tokio::test]
async fn a_drain_answers_what_was_read_and_says_goodbye() -> TestResult {
    let mut hub = Hub::start().await?;
    let (device, idle) = (hub.new_device().await?, hub.new_device().await?);
    let mut socket = hub.websocket().await?;
    socket.send(&connect_bytes(&idle)).await?;
    assert_eq!(socket.receive().await?, Frame::Binary(CONNACK.to_vec()));
    let (mut client, _) = connect(&hub, &device.connect()).await?;
    let all: Vec<u8> = (1..=40).flat_map(|id| publish_bytes(&device, id.to_string().as_bytes(), id)).collect();
    client.send(&all).await?;
    client.expect(Received::PubAck(1)).await?;
    hub.terminate()?;
    let mut acknowledged = 1;
    while let Received::PubAck(_) = client.receive().await? {
        acknowledged += 1;
    }
    socket.expect_close(1000).await?;
    let status = hub.ended().await?;
    assert!(status.success(), "{status}\n{}", hub.log());
    let hub = hub.restart().await?;
    assert_eq!(hub.events(&device.device_id).await?.len(), acknowledged, "exactly what was acknowledged is there");
    Ok(())
}

#[tokio::test]
async fn places_and_counts_are_given_back() -> TestResult {
    let config = "[gateway.limits]\nconnections_max = 3\n".to_owned();
    let hub = Hub::start_with(HubOptions { config, ..HubOptions::default() }).await?;
    let device = hub.new_device().await?;
    let count = async |expected: u32| {
        let metrics = hub.admin("/metrics").await?.1;
        let has = |name: &str| metrics.lines().any(|line| line == format!("{name} {expected}"));
        Ok(has("ironhub_mqtt_websocket_connections") && has("ironhub_mqtt_connections"))
    };
    let (client, _) = connect(&hub, &device.connect()).await?;
    eventually("it is counted", async || count(1).await).await?;
    // It holds its place: two more fit, not three.
    let silent = [hub.websocket().await?, hub.websocket().await?];
    assert!(hub.https().await.is_err());
    drop(silent);
    eventually("room", async || Ok(hub.https().await.is_ok())).await?;
    client.disconnect().await?;
    eventually("it is not counted any more", async || count(0).await).await
}
