//! The C SDK over AMQP (amqp §12): golden scripts of what its uAMQP says, because it cannot run here.

use ironhub_tests::{AmqpScript, Device, Hub, TestResult, as_binary, bytes_of, encoded};
use serde_json::{Value as Json, json};

/// MSSBCBS without a word, frames without limit, and message ids that count from zero (amqp R10). The settled request comes
/// back before its answer (amqp R14).
const OPENED: &str = r#"
    > sasl
    < sasl
    < sasl-mechanisms{[:MSSBCBS, :PLAIN, :ANONYMOUS, :EXTERNAL]}
    > sasl-init{:MSSBCBS}
    < sasl-outcome{0ub, b"Welcome!"}
    > amqp
    < amqp
    > 0 open{"3a6f", "<host>", 4294967295, 65535us, 240000}
    < 0 open{"DeviceGateway_<>", "localhost", 65536, 8191us, 240000, NULL, NULL, NULL, NULL, NULL}
    > 0 begin{NULL, 0, 4294967295, 100, 4294967295}
    < 0 begin{0us, 1, 5000, 4294967295, 262143, NULL, NULL, NULL}
    > 0 attach{"$cbs-sender", 0, false, 0ub, 0ub, source{"$cbs"}, target{"$cbs"}, NULL, NULL, 0, 0ul}
    < 0 attach{"$cbs-sender", 0, true, 0ub, 0ub, source{"$cbs", <>}, target{"$cbs", <>}, NULL, NULL, NULL, 1048576ul, NULL, NULL, NULL}
    < 0 flow{0, 5000, 1, 4294967295, 0, 0, 100, 0, NULL, false, NULL}
    > 0 attach{"$cbs-receiver", 1, true, 0ub, 0ub, source{"$cbs"}, target{"$cbs"}, NULL, NULL, NULL, 65536ul}
    < 0 attach{"$cbs-receiver", 1, false, 0ub, 0ub, source{"$cbs", <>}, target{"$cbs", <>}, NULL, NULL, 0, 1048576ul, NULL, NULL, NULL}
    > 0 flow{1, 4294967295, 0, 100, 1, 0, 10000}
    > 0 transfer{0, 0, 0x00000000, 0, false, false} | properties{0ul} application-properties map{"operation": "put-token", "type": "servicebus.windows.net:sastoken", "name": "<host>/devices/<id>"} amqp-value "<token>"
    < 0 disposition{true, 0, NULL, true, accepted{}, NULL}
    < 0 transfer{1, 0, <>, 0, true, false, NULL, NULL, NULL, NULL, NULL} | properties{NULL, NULL, NULL, NULL, NULL, 0ul, <>} application-properties map{"status-code": 200i, "status-description": "OK"} amqp-value NULL
    # It renews what it has.
    > 0 transfer{0, 1, 0x01000000, 0, false, false} | properties{1ul} application-properties map{"operation": "put-token", "type": "servicebus.windows.net:sastoken", "name": "<host>/devices/<id>"} amqp-value "<token>"
    < 0 disposition{true, 1, NULL, true, accepted{}, NULL}
    < 0 transfer{1, 1, <>, 0, true, false, NULL, NULL, NULL, NULL, NULL} | properties{NULL, NULL, NULL, NULL, NULL, 1ul, <>} application-properties map{"status-code": 200i, "status-description": "OK"} amqp-value NULL
"#;

async fn open(hub: &Hub, device: &Device) -> TestResult<AmqpScript> {
    AmqpScript::opened(hub, device, OPENED).await
}

/// All sections but the data come first, the annotations behind what they annotate elsewhere (amqp R27).
fn batched(id: &str, body: &str) -> String {
    as_binary(&encoded(&format!(
        r#"properties{{"{id}"}} application-properties map{{"number": "{id}"}} message-annotations map{{:dt-subject: "thermostat"}} data b"{body}""#
    )))
}

/// The batcher takes the limit of the link less 1024 bytes: the hub has to name one above that (amqp R7).
#[tokio::test]
async fn a_batch_is_settled_as_one() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = open(&hub, &device).await?;
    client.set("first", &batched("1", "one"));
    client.set("second", &batched("2", "two"));
    client
        .play(
            r#"
    > 0 attach{"link-snd-<id>-9d", 2, false, 0ub, 0ub, source{"link-snd-<id>-9d-source"}, target{"amqps://<host>/devices/<id>/messages/events"}, NULL, NULL, 0, 18446744073709551615ul, NULL, NULL, map{:com.microsoft:client-version: "iothubclient/1.14"}}
    < 0 attach{"link-snd-<id>-9d", 2, true, 0ub, 0ub, source{"link-snd-<id>-9d-source", <>}, target{"amqps://<host>/devices/<id>/messages/events", <>}, NULL, NULL, NULL, <max>ul, NULL, NULL, map{:com.microsoft:client-version: "iothubclient/1.14"}}
    < 0 flow{2, 5000, 3, 4294967295, 2, 0, 1000, 0, NULL, false, NULL}
    > 0 transfer{2, 2, 0x02000000, 2147563264, false, false} | data <first> data <second>
    < 0 disposition{true, 2, NULL, true, accepted{}, NULL}
"#,
        )
        .await?;
    assert!(client.get("max")?.parse::<u64>()? > 1024);
    let events = hub.wait_for_events(&device.device_id, 2).await?;
    assert_eq!((&events[0]["body"], &events[1]["body"]), (&json!("one"), &json!("two")));
    assert!(events.iter().all(|event| event.to_string().contains("thermostat")), "{events:?}");
    assert!(events[1].to_string().contains("\"number\":\"2\""), "{events:?}");
    Ok(())
}

/// Everything in the session of the token; it says PUT once more where it means DELETE, and goes on hearing of changes.
#[tokio::test]
async fn a_twin_in_the_only_session() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = open(&hub, &device).await?;
    client.set("patch", &as_binary(b"{\"fan\":1}"));
    client
        .play(
            r#"
    > 0 attach{"link-snd-<id>-t", 2, false, 0ub, 0ub, source{"s"}, target{"amqps://<host>/devices/<id>/twin"}, NULL, NULL, 0, 18446744073709551615ul, NULL, NULL, map{:com.microsoft:channel-correlation-id: "twin:7", :com.microsoft:api-version: "2020-09-30"}}
    < 0 attach{"link-snd-<id>-t", 2, true, 0ub, 0ub, <>
    < 0 flow{2, 5000, 3, 4294967295, 2, 0, 1000, 0, NULL, false, NULL}
    > 0 attach{"link-rcv-<id>-t", 3, true, 0ub, 0ub, source{"amqps://<host>/devices/<id>/twin"}, target{"t"}, NULL, NULL, NULL, 18446744073709551615ul, NULL, NULL, map{:com.microsoft:channel-correlation-id: "twin:7", :com.microsoft:api-version: "2020-09-30"}}
    < 0 attach{"link-rcv-<id>-t", 3, false, 1ub, 0ub, <>
    > 0 flow{3, 4294967295, 2, 100, 3, 0, 10000}
    > 0 transfer{2, 2, 0x02000000, 0, false, false} | message-annotations map{:operation: "GET"} properties{NULL, NULL, NULL, NULL, NULL, "c-1"} data b" "
    < 0 disposition{true, 2, NULL, true, accepted{}, NULL}
    < 0 transfer{3, 2, <>, 0, true, false, NULL, NULL, NULL, NULL, NULL} | message-annotations map{:status: 200i} properties{NULL, NULL, NULL, NULL, NULL, "c-1", <>} data <twin>
    > 0 transfer{2, 3, 0x03000000, 0, false, false} | message-annotations map{:operation: "PUT", :resource: "/notifications/twin/properties/desired"} properties{NULL, NULL, NULL, NULL, NULL, "c-2"} data b" "
    < 0 disposition{true, 3, NULL, true, accepted{}, NULL}
    < 0 transfer{3, 3, <>, 0, true, false, NULL, NULL, NULL, NULL, NULL} | message-annotations map{:status: 200i} properties{NULL, NULL, NULL, NULL, NULL, "c-2", <>}
    # Status and version have the types that it looks for (amqp R11).
    > 0 transfer{2, 4, 0x04000000, 0, false, false} | message-annotations map{:operation: "PATCH", :resource: "/properties/reported"} properties{NULL, NULL, NULL, NULL, NULL, "c-3"} data <patch>
    < 0 disposition{true, 4, NULL, true, accepted{}, NULL}
    < 0 transfer{3, 4, <>, 0, true, false, NULL, NULL, NULL, NULL, NULL} | message-annotations map{:status: 200i, :version: 2l} properties{NULL, NULL, NULL, NULL, NULL, "c-3", <>}
    > 0 transfer{2, 5, 0x05000000, 0, false, false} | message-annotations map{:operation: "PUT", :resource: "/notifications/twin/properties/desired"} properties{NULL, NULL, NULL, NULL, NULL, "c-4"} data b" "
    < 0 disposition{true, 5, NULL, true, accepted{}, NULL}
    < 0 transfer{3, 5, <>, 0, true, false, NULL, NULL, NULL, NULL, NULL} | message-annotations map{:status: 200i} properties{NULL, NULL, NULL, NULL, NULL, "c-4", <>}
"#,
        )
        .await?;
    let twin: Json = serde_json::from_slice(&bytes_of(client.get("twin")?)?)?;
    assert_eq!((&twin["desired"]["$version"], &twin["reported"]["$version"]), (&json!(1), &json!(1)));
    let change = json!({ "properties": { "desired": { "speed": 2 } } });
    hub.call("PATCH", &format!("/twins/{}", device.device_id), &[], &change).await?.expect(200)?;
    client
        .play(r#"< 0 transfer{3, 6, <>, 0, true, false, <> | message-annotations map{<>:version: 2l} data <>"#)
        .await?;
    Ok(())
}

/// PLAIN instead of a token in `$cbs`; every client of it calls itself `some` (amqp R25).
#[tokio::test]
async fn a_back_end_by_sasl_plain() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let short = hub.host_name.split('.').next().unwrap_or_default();
    let response = format!("\0iothubowner@sas.root.{short}\0{}", hub.policy_token("iothubowner")?);
    for _ in 0..2 {
        let mut client = AmqpScript::new(&hub, None).await?;
        client.set("id", &device.device_id);
        client.set("response", &as_binary(response.as_bytes()));
        client
            .play(
                r#"
    > sasl
    < sasl
    < sasl-mechanisms{<>}
    > sasl-init{:PLAIN, <response>}
    < sasl-outcome{0ub, b"Welcome!"}
    > amqp
    < amqp
    > 0 open{"some", "<host>", 4294967295, 65535us}
    < 0 open{<>
    > 0 begin{NULL, 0, 2147483647, 261120}
    < 0 begin{0us, 1, 5000, 4294967295, 262143, NULL, NULL, NULL}
    # Feedback and messages at once.
    > 0 attach{"sender-link", 0, false, 0ub, 0ub, source{"ingress"}, target{"amqps://<host>/messages/deviceBound"}, NULL, NULL, 0, 18446744073709551615ul}
    > 0 attach{"receiver-link", 1, true, 0ub, 0ub, source{"amqps://<host>/messages/servicebound/feedback"}, target{"receiver_001"}, NULL, NULL, NULL, 65536ul}
    < 0 attach{"sender-link", 0, true, 0ub, 0ub, <>
    < 0 flow{0, 5000, 1, 4294967295, 0, 0, 1000, 0, NULL, false, NULL}
    < 0 attach{"receiver-link", 1, false, 0ub, 0ub, <>}, NULL, NULL, 0, 1048576ul, NULL, NULL, NULL}
    > 0 transfer{0, 0, 0x00000000, 0, false, false} | properties{"m1", NULL, "/devices/<id>/messages/deviceBound"} application-properties map{"iothub-ack": "none"} data b"hello"
    < 0 disposition{true, 0, NULL, true, accepted{}, NULL}
    > 0 transfer{0, 1, 0x01000000, 0, false, false} | properties{"m2", NULL, "/devices/nobody-at-all/messages/deviceBound"} data b"hello"
    < 0 disposition{true, 1, NULL, true, rejected{error{:amqp:not-found, <>}}, NULL}
    > 0 close{}
    < 0 close{NULL}
"#,
            )
            .await?;
    }
    crate::amqp_devices::queue_is(&hub, &device, 2).await
}
