//! The C# SDK over AMQP (amqp §12): golden scripts of what Microsoft.Azure.Amqp says, because it cannot run here.

use ironhub_tests::{AmqpScript, Device, Hub, HubOptions, TestResult, bytes_of};

use crate::amqp_devices::{queue_is, send};

/// What the SDK sends before it has heard anything: header, open, and all of the first request (amqp R22). The request is
/// settled, so nothing settles it.
const PIPELINED: &str = r#"
    > amqp
    > 0 open{"5f0cb4f4-71a4-4c04-9f5a-2d9a4cf0b9c1", "<host>", 65536, 8191us, 120000}
    > 0 begin{NULL, 1, 5000, 5000, 262143}
    > 0 attach{"duplex1:1:0:sender", 0, false, 1ub, 0ub, source{"9e1f"}, target{"$cbs"}, NULL, false, 0, NULL, NULL, NULL, map{:com.microsoft:timeout: 60000}}
    > 0 attach{"duplex1:1:0:receiver", 1, true, 1ub, 0ub, source{"$cbs"}, target{"9e1f"}, NULL, NULL, NULL, NULL, NULL, NULL, map{:com.microsoft:timeout: 60000}}
    > 0 flow{NULL, 5000, 1, 5000, 1, 0, 50}
    > 0 transfer{0, 0, 0x00000000, 0, true, false} | properties{"request-1", NULL, NULL, NULL, "9e1f"} application-properties map{"operation": "put-token", "type": "azure-devices.net:sastoken", "name": "<host>/devices/<id>", "expiration": time:4102444800000} amqp-value "<token>"
    < amqp
    < 0 open{"DeviceGateway_<>", "localhost", 65536, 8191us, 240000, NULL, NULL, NULL, NULL, NULL}
    < 0 begin{0us, 1, 5000, 4294967295, 262143, NULL, NULL, NULL}
    < 0 attach{"duplex1:1:0:sender", 0, true, 1ub, 0ub, source{"9e1f", <>}, target{"$cbs", <>}, NULL, NULL, NULL, 1048576ul, NULL, NULL, map{:com.microsoft:timeout: 60000}}
    < 0 flow{1, 5000, 1, 4294967295, 0, 0, 100, 0, NULL, false, NULL}
    < 0 attach{"duplex1:1:0:receiver", 1, false, 1ub, 0ub, source{"$cbs", <>}, target{"9e1f", <>}, NULL, NULL, 0, 1048576ul, NULL, NULL, map{:com.microsoft:timeout: 60000}}
    < 0 transfer{1, 0, <tag>, 0, true, false, NULL, NULL, NULL, NULL, NULL} | properties{NULL, NULL, NULL, NULL, NULL, "request-1", <>} application-properties map{"status-code": 200i, "status-description": "OK"} amqp-value NULL
"#;

async fn open(hub: &Hub, device: &Device) -> TestResult<AmqpScript> {
    AmqpScript::opened(hub, device, PIPELINED).await
}

#[tokio::test]
async fn pooled_devices_share_a_connection_and_the_names_of_their_links() -> TestResult {
    let hub = Hub::shared().await?;
    let (device, other) = (hub.new_device().await?, hub.new_device().await?);
    let mut client = open(&hub, &device).await?;
    // Every tag is a GUID (amqp R6).
    assert_eq!(bytes_of(client.get("tag")?)?.len(), 16);
    client.set("other", &other.device_id);
    client.set("token2", &other.token());
    client
        .play(
            r#"
    > 0 transfer{0, 1, 0x01000000, 0, true, false} | properties{"request-2", NULL, NULL, NULL, "9e1f"} application-properties map{"operation": "put-token", "type": "azure-devices.net:sastoken", "name": "<host>/devices/<other>"} amqp-value "<token2>"
    < 0 transfer{1, 1, <>, 0, true, false, NULL, NULL, NULL, NULL, NULL} | properties{NULL, NULL, NULL, NULL, NULL, "request-2", <>} application-properties map{"status-code": 200i, <>
    # A session for each, the same names and handles in both.
    > 1 begin{NULL, 1, 5000, 5000, 262143}
    > 1 attach{"TelemetrySenderLink", 0, false, 0ub, 0ub, source{"s"}, target{"amqps://<host>:5671/devices/<id>/messages/events"}, NULL, false, 0, NULL, NULL, NULL, map{:com.microsoft:client-version: "c#"}}
    < 1 begin{1us, 1, 5000, 4294967295, 262143, NULL, NULL, NULL}
    < 1 attach{"TelemetrySenderLink", 0, true, 0ub, 0ub, source{"s", <>}, target{"amqps://<host>:5671/devices/<id>/messages/events", <>}, NULL, NULL, NULL, 1048576ul, NULL, NULL, map{:com.microsoft:client-version: "c#"}}
    < 1 flow{1, 5000, 1, 4294967295, 0, 0, 1000, 0, NULL, false, NULL}
    > 2 begin{NULL, 1, 5000, 5000, 262143}
    > 2 attach{"TelemetrySenderLink", 0, false, 0ub, 0ub, source{"s"}, target{"amqps://<host>:5671/devices/<other>/messages/events"}, NULL, false, 0}
    < 2 begin{2us, 1, 5000, 4294967295, 262143, NULL, NULL, NULL}
    < 2 attach{"TelemetrySenderLink", 0, true, 0ub, 0ub, source{"s", <>}, target{"amqps://<host>:5671/devices/<other>/messages/events", <>}, NULL, NULL, NULL, 1048576ul, NULL, NULL, NULL}
    < 2 flow{1, 5000, 1, 4294967295, 0, 0, 1000, 0, NULL, false, NULL}
    > 1 transfer{0, 0, 0x00000000, 0, false, false} | data b"of the first"
    < 1 disposition{true, 0, NULL, true, accepted{}, NULL}
    > 2 transfer{0, 0, 0x00000000, 0, false, false} | data b"of the other"
    < 2 disposition{true, 0, NULL, true, accepted{}, NULL}
    # One of them goes, then its session; the other does not notice.
    > 1 detach{0, true}
    < 1 detach{0, true, NULL}
    > 1 end{}
    < 1 end{NULL}
    > 2 transfer{0, 1, 0x01000000, 0, false, false} | data b"on"
    < 2 disposition{true, 1, NULL, true, accepted{}, NULL}
"#,
        )
        .await?;
    assert_eq!(hub.wait_for_events(&device.device_id, 1).await?[0]["body"], "of the first");
    assert_eq!(hub.wait_for_events(&other.device_id, 2).await?[0]["body"], "of the other");
    Ok(())
}

/// The receiver's link, its credit with it in one segment.
const RECEIVER: &str = r#"
    > 1 begin{NULL, 1, 5000, 5000, 262143}
    > 1 attach{"TelemetryReceiverLink", 0, true, 0ub, 1ub, source{"amqps://<host>:5671/devices/<id>/messages/deviceBound"}, target{"t"}}
    > 1 flow{NULL, 5000, 1, 5000, 0, 0, 50}
    < 1 begin{1us, 1, 5000, 4294967295, 262143, NULL, NULL, NULL}
    < 1 attach{"TelemetryReceiverLink", 0, false, 0ub, 1ub, source{"amqps://<host>:5671/devices/<id>/messages/deviceBound", <>}, target{"t", <>}, NULL, NULL, 0, 1048576ul, NULL, NULL, NULL}
"#;

/// A GUID in text as .NET writes its bytes: the first three parts with the lowest byte first.
fn net_bytes(guid: &str) -> TestResult<Vec<u8>> {
    let digits: String = guid.chars().filter(|character| *character != '-').collect();
    let bytes = bytes_of(&format!("0x{digits}"))?;
    Ok([3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15].map(|at: usize| bytes[at]).into())
}

/// Its Complete, Abandon and Reject wait for the hub to settle what they did not (amqp R18).
#[tokio::test]
async fn messages_are_settled_by_both_sides() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    for body in ["one", "two", "three"] {
        send(&hub, &device, &[("iothub-messageid", body)], body).await?;
    }
    let mut client = open(&hub, &device).await?;
    client.play(RECEIVER).await?;
    client
        .play(
            r#"
    < 1 transfer{0, 0, <tag1>, 0, NULL, false, NULL, NULL, NULL, NULL, NULL} | message-annotations map{:iothub-enqueuedtime: time:<>, :iothub-deliverycount: 0ub, :x-opt-sequence-number: 1ul, :x-opt-lock-token: "<lock>"} properties{"one", NULL, "/devices/<id>/messages/deviceBound", <>} application-properties map{"iothub-ack": "none"} data b"one"
    < 1 transfer{0, 1, <>, 0, NULL, false, NULL, NULL, NULL, NULL, NULL} | <> data b"two"
    < 1 transfer{0, 2, <>, 0, NULL, false, NULL, NULL, NULL, NULL, NULL} | <> data b"three"
    # Complete, Reject, Abandon: each is answered for the same range, and done is accepted, whatever was done.
    > 1 disposition{true, 0, 0, false, accepted{}}
    < 1 disposition{false, 0, NULL, true, accepted{}, NULL}
    > 1 disposition{true, 1, 1, false, rejected{}}
    < 1 disposition{false, 1, NULL, true, accepted{}, NULL}
    > 1 disposition{true, 2, 2, false, released{}}
    < 1 disposition{false, 2, NULL, true, accepted{}, NULL}
    < 1 transfer{0, 3, <>, 0, NULL, false, NULL, NULL, NULL, NULL, NULL} | message-annotations map{:iothub-enqueuedtime: time:<>, :iothub-deliverycount: 1ub, :x-opt-sequence-number: 3ul, <> data b"three"
    > 1 disposition{true, 3, 3, false, accepted{}}
    < 1 disposition{false, 3, NULL, true, accepted{}, NULL}
"#,
        )
        .await?;
    assert_eq!(bytes_of(client.get("tag1")?)?, net_bytes(client.get("lock")?)?, "the tag is the lock token (amqp R6)");
    queue_is(&hub, &device, 0).await
}

#[tokio::test]
async fn a_lock_that_is_lost_is_said_to_be() -> TestResult {
    let config = "[gateway.cloud_to_device]\nlock_seconds = 3\n".to_owned();
    let hub = Hub::start_with(HubOptions { config, ..HubOptions::default() }).await?;
    let device = hub.new_device().await?;
    send(&hub, &device, &[], "x").await?;
    let mut client = open(&hub, &device).await?;
    client.play(RECEIVER).await?;
    client
        .play(
            r#"
    < 1 transfer{0, 0, <tag1>, 0, NULL, false, NULL, NULL, NULL, NULL, NULL} | <> data b"x"
    # The lock is over: the same message under another one.
    < 1 transfer{0, 1, <tag2>, 0, NULL, false, NULL, NULL, NULL, NULL, NULL} | <> data b"x"
    > 1 disposition{true, 0, 0, false, accepted{}}
    < 1 disposition{false, 0, NULL, true, rejected{error{:amqp:not-found, "<>", <>}}, NULL}
    > 1 disposition{true, 1, 1, false, accepted{}}
    < 1 disposition{false, 1, NULL, true, accepted{}, NULL}
"#,
        )
        .await?;
    assert_ne!(client.get("tag1")?, client.get("tag2")?);
    queue_is(&hub, &device, 0).await
}

/// Its GET has no body at all (amqp R27), and comes with the attach of its links (amqp R22).
#[tokio::test]
async fn a_twin_is_read_before_its_links_are_answered() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = open(&hub, &device).await?;
    client
        .play(
            r#"
    > 1 begin{NULL, 1, 5000, 5000, 262143}
    > 1 attach{"TwinSenderLink", 0, false, 1ub, 0ub, source{"s"}, target{"amqps://<host>:5671/devices/<id>/twin"}, NULL, false, 0, NULL, NULL, NULL, map{:com.microsoft:api-version: "2020-09-30", :com.microsoft:channel-correlation-id: "twin:1"}}
    > 1 attach{"TwinReceiverLink", 1, true, 1ub, 0ub, source{"amqps://<host>:5671/devices/<id>/twin"}, target{"t"}, NULL, NULL, NULL, NULL, NULL, NULL, map{:com.microsoft:channel-correlation-id: "twin:1"}}
    > 1 flow{NULL, 5000, 1, 5000, 1, 0, 50}
    > 1 transfer{0, 0, 0x00000000, 0, true, false} | message-annotations map{:operation: "GET"} properties{NULL, NULL, NULL, NULL, NULL, "Get3f8b"}
    < 1 begin{1us, 1, 5000, 4294967295, 262143, NULL, NULL, NULL}
    < 1 attach{"TwinSenderLink", 0, true, 1ub, 0ub, <> map{:com.microsoft:api-version: "2020-09-30", :com.microsoft:channel-correlation-id: "twin:1"}}
    < 1 flow{2, 5000, 1, 4294967295, 0, 1, 1000, 0, NULL, false, NULL}
    < 1 attach{"TwinReceiverLink", 1, false, 1ub, 0ub, <>
    < 1 transfer{1, 0, <>, 0, true, false, NULL, NULL, NULL, NULL, NULL} | message-annotations map{:status: 200i} properties{NULL, NULL, NULL, NULL, NULL, "Get3f8b", <>} data <twin>
"#,
        )
        .await?;
    let twin: serde_json::Value = serde_json::from_slice(&bytes_of(client.get("twin")?)?)?;
    assert_eq!((&twin["desired"]["$version"], &twin["reported"]["$version"]), (&1.into(), &1.into()));
    Ok(())
}
