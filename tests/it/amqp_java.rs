//! The Java SDK over AMQP (amqp §12): golden scripts of what proton-j says for it, because it cannot run here.

use amqp::Message;
use ironhub_tests::{AmqpScript, Device, Hub, TestResult, as_binary, bytes_of, encoded, self_signed};
use serde_json::{Value as Json, json};

use crate::amqp_devices::{queue_is, send};

/// Frames that it takes.
const FRAME_BYTES_MAX: usize = 4096;

/// SASL ANONYMOUS, small frames, a session for CBS, and message ids that are UUIDs and must come back as such (amqp R10).
const OPENED: &str = r#"
    > sasl
    < sasl
    < sasl-mechanisms{[:MSSBCBS, :PLAIN, :ANONYMOUS, :EXTERNAL]}
    > sasl-init{:ANONYMOUS}
    < sasl-outcome{0ub, b"Welcome!"}
    > amqp
    > 0 open{"proton:5c1f", "<host>", 4096, 65535us, 115000}
    < amqp
    < 0 open{"DeviceGateway_<>", "localhost", 65536, 8191us, 240000, NULL, NULL, NULL, NULL, NULL}
    > 0 begin{NULL, 0, 2147483647, 2147483647}
    > 0 attach{"cbs-sender", 0, false, 0ub, 0ub, source{"$cbs"}, target{"$cbs"}, NULL, false, 0}
    > 0 attach{"cbs-receiver", 1, true, 0ub, 0ub, source{"$cbs"}, target{"$cbs"}}
    < 0 begin{0us, 1, 5000, 4294967295, 262143, NULL, NULL, NULL}
    < 0 attach{"cbs-sender", 0, true, 0ub, 0ub, source{"$cbs", <>}, target{"$cbs", <>}, NULL, NULL, NULL, 1048576ul, NULL, NULL, NULL}
    < 0 flow{0, 5000, 1, 4294967295, 0, 0, 100, 0, NULL, false, NULL}
    < 0 attach{"cbs-receiver", 1, false, 0ub, 0ub, source{"$cbs", <>}, target{"$cbs", <>}, NULL, NULL, 0, 1048576ul, NULL, NULL, NULL}
    > 0 flow{1, 2147483647, 0, 2147483647, 1, 0, 1}
    > 0 transfer{0, 0, 0x30, 0, false, false} | properties{uuid:0102030405060708090a0b0c0d0e0f10, NULL, "$cbs", NULL, "cbs"} application-properties map{"name": "<host>/devices/<id>", "operation": "put-token", "type": "servicebus.windows.net:sastoken"} amqp-value "<token>"
    < 0 disposition{true, 0, NULL, true, accepted{}, NULL}
    < 0 transfer{1, 0, <>, 0, true, false, NULL, NULL, NULL, NULL, NULL} | properties{NULL, NULL, NULL, NULL, NULL, uuid:0102030405060708090a0b0c0d0e0f10, <>} application-properties map{"status-code": 200i, "status-description": "OK"} amqp-value NULL
"#;

async fn open(hub: &Hub, device: &Device) -> TestResult<AmqpScript> {
    AmqpScript::opened(hub, device, OPENED).await
}

/// Large deliveries come in pieces that it takes, and only the first one says which delivery it is.
fn check(frames: &ironhub_tests::Frames, pieces_min: usize, delivery_id: u32) {
    assert!(frames.sizes.len() >= pieces_min, "{:?}", frames.sizes);
    assert!(frames.sizes.iter().all(|size| *size <= FRAME_BYTES_MAX), "{:?}", frames.sizes);
    assert!(!frames.repeats);
    assert_eq!((frames.first.delivery_id, frames.first.message_format), (Some(delivery_id), Some(0)));
    assert_eq!(frames.first.delivery_tag.as_deref().map(<[u8]>::len), Some(16));
}

#[tokio::test]
async fn a_large_message_comes_in_frames_of_its_size() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let body = "0123456789".repeat(1024);
    send(&hub, &device, &[], &body).await?;
    let mut client = open(&hub, &device).await?;
    client
        .play(
            r#"
    # A session for the device.
    > 1 begin{NULL, 0, 2147483647, 2147483647}
    > 1 attach{"sender_link_telemetry-<id>-1", 0, false, 0ub, 0ub, source{"/devices/<id>/messages/events"}, target{"/devices/<id>/messages/events"}, NULL, false, 0, NULL, NULL, NULL, map{:com.microsoft:api-version: "2020-09-30"}}
    < 1 begin{1us, 1, 5000, 4294967295, 262143, NULL, NULL, NULL}
    < 1 attach{"sender_link_telemetry-<id>-1", 0, true, 0ub, 0ub, <>
    < 1 flow{0, 5000, 1, 4294967295, 0, 0, 1000, 0, NULL, false, NULL}
    > 1 attach{"receiver_link_telemetry-<id>-1", 1, true, 0ub, 0ub, source{"/devices/<id>/messages/devicebound"}, target{"/devices/<id>/messages/devicebound"}}
    < 1 attach{"receiver_link_telemetry-<id>-1", 1, false, 0ub, 0ub, <>
    > 1 flow{1, 2147483647, 0, 2147483647, 1, 0, 1024}
"#,
        )
        .await?;
    let frames = client.delivery().await?;
    check(&frames, 3, 0);
    assert_eq!(Message::decode(&frames.payload)?.body.data(), Some(body.as_bytes()));
    // It settles at once, and nothing is said about it (amqp R17): the next words are about something else.
    client
        .play(
            r#"
    > 1 disposition{true, 0, 0, true, accepted{}}
    > 1 transfer{0, 0, 0x31, 0, false, false} | data b"t"
    < 1 disposition{true, 0, NULL, true, accepted{}, NULL}
    # It sends in pieces, too: those that follow may say again what they belong to, or not (amqp R30).
    > 1 transfer{0, 1, 0x32, 0, false, true} | hex 005375a0066f6e
    > 1 transfer{0, 1, 0x32, 0, false, true} | hex 65206f66
    > 1 transfer{0, NULL, NULL, NULL, NULL, false}
    < 1 disposition{true, 1, NULL, true, accepted{}, NULL}
"#,
        )
        .await?;
    assert_eq!(hub.wait_for_events(&device.device_id, 2).await?[1]["body"], "one of");
    queue_is(&hub, &device, 0).await
}

/// The links of a twin or of methods, both with their credit.
const PAIR: &str = r#"
    > 1 begin{NULL, 0, 2147483647, 2147483647}
    > 1 attach{"sender_link_<kind>-<id>-2", 0, false, 0ub, 0ub, source{"<address>"}, target{"<address>"}, NULL, false, 0, NULL, NULL, NULL, map{:com.microsoft:channel-correlation-id: "<kind>:2"}}
    < 1 begin{1us, 1, 5000, 4294967295, 262143, NULL, NULL, NULL}
    < 1 attach{"sender_link_<kind>-<id>-2", 0, true, 0ub, 0ub, <>
    < 1 flow{0, 5000, 1, 4294967295, 0, 0, 1000, 0, NULL, false, NULL}
    > 1 attach{"receiver_link_<kind>-<id>-2", 1, true, 0ub, 0ub, source{"<address>"}, target{"<address>"}, NULL, NULL, NULL, NULL, NULL, NULL, map{:com.microsoft:channel-correlation-id: "<kind>:2"}}
    < 1 attach{"receiver_link_<kind>-<id>-2", 1, false, 1ub, 0ub, <>
    > 1 flow{1, 2147483647, 0, 2147483647, 1, 0, 1024}
"#;

#[tokio::test]
async fn a_large_twin_and_a_request_without_a_body() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let path = format!("/twins/{}", device.device_id);
    let desired = json!({ "a": "x".repeat(3000), "b": "y".repeat(3000) });
    let change = json!({ "properties": { "desired": desired } });
    hub.call("PATCH", &path, &[], &change).await?.expect(200)?;
    let mut client = open(&hub, &device).await?;
    client.set("kind", "devicetwin");
    client.set("address", &format!("/devices/{}/twin", device.device_id));
    client.play(PAIR).await?;
    client
        .play(
            r#"
    > 1 transfer{0, 0, 0x30, 0, false, false} | message-annotations map{:operation: "GET", :version: NULL} properties{uuid:a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1, NULL, NULL, NULL, NULL, uuid:a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1} data b" "
    < 1 disposition{true, 0, NULL, true, accepted{}, NULL}
"#,
        )
        .await?;
    let frames = client.delivery().await?;
    check(&frames, 2, 0);
    assert_eq!(frames.first.settled, Some(true));
    let answer = Message::decode(&frames.payload)?;
    let id = answer.properties.clone().and_then(|properties| properties.correlation_id);
    assert_eq!(id.map(|id| id.bytes().to_vec()), Some(encoded("uuid:a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1")));
    let twin: Json = serde_json::from_slice(answer.body.data().unwrap())?;
    assert_eq!(twin["desired"]["b"], desired["b"]);
    client
        .play(
            r#"
    # It follows the desired properties without a word of a body (amqp R27).
    > 1 transfer{0, 1, 0x31, 0, false, false} | message-annotations map{:operation: "PUT", :resource: "/notifications/twin/properties/desired", :version: NULL} properties{uuid:b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2, NULL, NULL, NULL, NULL, uuid:b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2}
    < 1 disposition{true, 1, NULL, true, accepted{}, NULL}
    < 1 transfer{1, 1, <>, 0, true, false, NULL, NULL, NULL, NULL, NULL} | message-annotations map{:status: 200i} properties{NULL, NULL, NULL, NULL, NULL, uuid:b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2, <>}
"#,
        )
        .await?;
    let change = json!({ "properties": { "desired": { "c": 1 } } });
    hub.call("PATCH", &path, &[], &change).await?.expect(200)?;
    // Without a correlation id: that is how it is told from an answer.
    client
        .play(
            r#"
    < 1 transfer{1, 2, <>, 0, true, false, NULL, NULL, NULL, NULL, NULL} | message-annotations map{:resource: "/notifications/twin/properties/desired", :version: 3l} data <patch>
"#,
        )
        .await?;
    let patch: Json = serde_json::from_slice(&bytes_of(client.get("patch")?)?)?;
    assert_eq!(patch, json!({ "c": 1, "$version": 3 }));
    Ok(())
}

#[tokio::test]
async fn methods_are_paired_by_a_uuid() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = open(&hub, &device).await?;
    client.set("kind", "devicemethods");
    client.set("address", &format!("/devices/{}/methods/devicebound", device.device_id));
    client.play(PAIR).await?;
    client.set("answer", &as_binary(b"{\"out\":1}"));
    let request = json!({ "methodName": "reboot", "payload": { "in": 5 }, "responseTimeoutInSeconds": 20 });
    let path = format!("/twins/{}/methods", device.device_id);
    let run = client.play(
        r#"
    < 1 transfer{1, 0, <>, 0, true, false, NULL, NULL, NULL, NULL, NULL} | properties{NULL, NULL, NULL, NULL, NULL, uuid:<call>, <>} application-properties map{"IoThub-methodname": "reboot"} data <payload>
    > 1 transfer{0, 0, 0x30, 0, false, false} | properties{NULL, NULL, NULL, NULL, NULL, uuid:<call>} application-properties map{"IoThub-status": 201i} data <answer>
    < 1 disposition{true, 0, NULL, true, accepted{}, NULL}
"#,
    );
    let (answer, run) = tokio::join!(hub.call("POST", &path, &[], &request), run);
    run?;
    assert_eq!(answer?.expect(200)?.json()?, json!({ "status": 201, "payload": { "out": 1 } }));
    assert_eq!(bytes_of(client.get("payload")?)?, b"{\"in\":5}");
    Ok(())
}

/// Neither SASL nor a token.
#[tokio::test]
async fn a_certificate_is_enough() -> TestResult {
    let hub = Hub::shared().await?;
    let presented = self_signed("java-device")?;
    let id = hub.new_id();
    let thumbprint = json!({ "primaryThumbprint": presented.thumbprint() });
    let body = json!({ "deviceId": id, "authentication": { "type": "selfSigned", "x509Thumbprint": thumbprint } });
    hub.call("PUT", &format!("/devices/{id}"), &[], &body).await?.expect(200)?;
    let mut client = AmqpScript::new(&hub, Some(&presented)).await?;
    client.set("id", &id);
    client
        .play(
            r#"
    > amqp
    > 0 open{"proton:5c1f", "<host>", 4096, 65535us, 115000}
    > 0 begin{NULL, 0, 2147483647, 2147483647}
    > 0 attach{"sender_link_telemetry-<id>-1", 0, false, 0ub, 0ub, source{"/devices/<id>/messages/events"}, target{"/devices/<id>/messages/events"}, NULL, false, 0}
    < amqp
    < 0 open{<>
    < 0 begin{0us, 1, 5000, 4294967295, 262143, NULL, NULL, NULL}
    < 0 attach{"sender_link_telemetry-<id>-1", 0, true, 0ub, 0ub, <>
    < 0 flow{0, 5000, 1, 4294967295, 0, 0, 1000, 0, NULL, false, NULL}
    > 0 transfer{0, 0, 0x30, 0, false, false} | properties{"m1"} application-properties map{"key": "value"} data b"of a certificate"
    < 0 disposition{true, 0, NULL, true, accepted{}, NULL}
"#,
        )
        .await?;
    assert_eq!(hub.wait_for_events(&id, 1).await?[0]["body"], "of a certificate");
    Ok(())
}
