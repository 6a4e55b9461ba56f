//! What devices receive over AMQP (amqp §5.3-§5.5): messages with their locks, methods, twins.

use std::time::Duration;

use amqp::{
    Delivery, DeliveryState, LinkId, Message, MessageId, MessageWriter, Properties, SenderSettleMode, Source, Value,
    condition,
};
use ironhub_tests::{Amqp, Device, Hub, HubOptions, TestResult, eventually};
use serde_json::{Value as Json, json};

fn node(device: &Device, node: &str) -> String {
    format!("/{}/{node}", device.resource().split_once('/').map_or("", |(_, path)| path))
}

pub async fn send(hub: &Hub, device: &Device, headers: &[(&str, &str)], body: &str) -> TestResult {
    let path = format!("/devices/{}/messages/devicebound", device.device_id);
    hub.call_as(&hub.policy_token("service")?, "POST", &path, headers, body.as_bytes()).await?.expect(204)?;
    Ok(())
}

pub async fn queue_is(hub: &Hub, device: &Device, count: u64) -> TestResult {
    eventually("the queue's length", async || {
        let path = format!("/devices/{}", device.device_id);
        let device = hub.call("GET", &path, &[], &Json::Null).await?.expect(200)?.json()?;
        Ok(device["cloudToDeviceMessageCount"] == count)
    })
    .await
}

fn body(delivery: &Delivery) -> String {
    let message = Message::decode(&delivery.payload).unwrap();
    String::from_utf8(message.body.data().unwrap_or_default().to_vec()).unwrap()
}

fn annotation<'a>(delivery: &'a Delivery, name: &str) -> Option<Value<'a>> {
    Message::decode(&delivery.payload).unwrap().message_annotations?.get(name)
}

#[tokio::test]
async fn a_message_has_the_shape_that_every_client_reads() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = hub.amqp_as(&device.token()).await?;
    let link = client.attach_receiver(&node(&device, "messages/deviceBound"), 10).await?.unwrap();
    let headers =
        [("iothub-messageid", "m1"), ("iothub-userid", "u"), ("iothub-ack", "full"), ("iothub-app-key", "value")];
    send(&hub, &device, &headers, "hello").await?;
    let delivery = client.receive(link).await?;
    // The tag is the lock token as .NET writes a GUID (amqp R6).
    let Some(Value::String(token)) = annotation(&delivery, "x-opt-lock-token") else { anyhow::bail!("no lock token") };
    let digits: String = token.chars().filter(|character| *character != '-').collect();
    let big: Vec<u8> = (0..16).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap()).collect();
    let little = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15].map(|at: usize| big[at]);
    assert_eq!((&*delivery.tag, delivery.settled), (&little[..], false));
    assert!(matches!(annotation(&delivery, "iothub-enqueuedtime"), Some(Value::Timestamp(_))));
    assert_eq!(annotation(&delivery, "iothub-deliverycount"), Some(Value::UByte(0)));
    assert_eq!(annotation(&delivery, "x-opt-sequence-number"), Some(Value::ULong(1)));
    let message = Message::decode(&delivery.payload)?;
    let properties = message.properties.clone().unwrap();
    assert_eq!(properties.message_id.map(|id| id.value()), Some(Value::String("m1")));
    assert_eq!(properties.to, Some(format!("/devices/{}/messages/deviceBound", device.device_id).as_str()));
    assert_eq!(properties.user_id, Some(&b"u"[..]));
    let application = message.application_properties.unwrap();
    assert_eq!(application.get("key"), Some(Value::String("value")));
    assert_eq!(application.get("iothub-ack"), Some(Value::String("full")));
    assert_eq!(body(&delivery), "hello");
    client.settle(&delivery, DeliveryState::Accepted).await?;
    queue_is(&hub, &device, 0).await
}

#[tokio::test]
async fn every_outcome_does_what_it_says() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    for text in ["accept", "reject", "release"] {
        send(&hub, &device, &[], text).await?;
    }
    let mut client = hub.amqp_as(&device.token()).await?;
    let link = client.attach_receiver(&node(&device, "messages/devicebound"), 3).await?.unwrap();
    for _ in 0..3 {
        let delivery = client.receive(link).await?;
        let state = match body(&delivery).as_str() {
            "accept" => DeliveryState::Accepted,
            "reject" => DeliveryState::Rejected(None),
            _ => DeliveryState::Released,
        };
        client.settle(&delivery, state).await?;
    }
    // What was given back comes again, and counts.
    let again = client.receive(link).await?;
    assert_eq!((body(&again).as_str(), annotation(&again, "iothub-deliverycount")), ("release", Some(Value::UByte(1))));
    client.settle(&again, DeliveryState::Accepted).await?;
    queue_is(&hub, &device, 0).await
}

#[tokio::test]
async fn credit_is_kept_and_order_too() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    for number in 0..10 {
        send(&hub, &device, &[], &number.to_string()).await?;
    }
    let mut client = hub.amqp_as(&device.token()).await?;
    let link = client.attach_receiver(&node(&device, "messages/devicebound"), 2).await?.unwrap();
    let first = client.receive(link).await?;
    let second = client.receive(link).await?;
    assert_eq!((body(&first), body(&second)), ("0".to_owned(), "1".to_owned()));
    assert!(client.receive_within(link, Duration::from_millis(300)).await?.is_none());
    client.settle(&first, DeliveryState::Accepted).await?;
    client.settle(&second, DeliveryState::Accepted).await?;
    for number in 2..10 {
        let delivery = client.receive(link).await?;
        assert_eq!(body(&delivery), number.to_string());
        client.settle(&delivery, DeliveryState::Accepted).await?;
    }
    queue_is(&hub, &device, 0).await
}

#[tokio::test]
async fn settling_in_two_steps_is_answered() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    send(&hub, &device, &[], "x").await?;
    let mut client = hub.amqp_as(&device.token()).await?;
    let link = client.attach_second(&node(&device, "messages/devicebound"), 10).await?;
    let delivery = client.receive(link).await?;
    client.settle(&delivery, DeliveryState::Accepted).await?;
    queue_is(&hub, &device, 0).await
}

#[tokio::test]
async fn what_was_in_hand_waits_for_the_next_link_and_does_not_count() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    send(&hub, &device, &[], "x").await?;
    let mut client = hub.amqp_as(&device.token()).await?;
    let address = node(&device, "messages/devicebound");
    let link = client.attach_receiver(&address, 10).await?.unwrap();
    client.receive(link).await?;
    client.connection.detach(link, None);
    let link = client.attach_receiver(&address, 10).await?.unwrap();
    let again = client.receive(link).await?;
    assert_eq!(annotation(&again, "iothub-deliverycount"), Some(Value::UByte(0)));
    // The whole connection goes.
    drop(client);
    let mut client = hub.amqp_as(&device.token()).await?;
    let link = client.attach_receiver(&address, 10).await?.unwrap();
    let again = client.receive(link).await?;
    assert_eq!(annotation(&again, "iothub-deliverycount"), Some(Value::UByte(0)));
    client.settle(&again, DeliveryState::Accepted).await?;
    queue_is(&hub, &device, 0).await
}

#[tokio::test]
async fn a_lock_that_is_over_is_lost() -> TestResult {
    let config = "[gateway.cloud_to_device]\nlock_seconds = 1\n".to_owned();
    let hub = Hub::start_with(HubOptions { config, ..HubOptions::default() }).await?;
    let device = hub.new_device().await?;
    send(&hub, &device, &[], "x").await?;
    let mut client = hub.amqp_as(&device.token()).await?;
    let link = client.attach_receiver(&node(&device, "messages/devicebound"), 10).await?.unwrap();
    let first = client.receive(link).await?;
    let again = client.receive(link).await?;
    assert_ne!(first.tag, again.tag, "another lock");
    client.settle(&first, DeliveryState::Accepted).await?;
    queue_is(&hub, &device, 1).await?;
    client.settle(&again, DeliveryState::Accepted).await?;
    queue_is(&hub, &device, 0).await
}

#[tokio::test]
async fn a_module_has_messages_of_its_own() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let module = hub.new_module(&device, "m1").await?;
    let mut client = hub.amqp_as(&module.token()).await?;
    let link = client.attach_receiver(&node(&module, "messages/devicebound"), 10).await?.unwrap();
    let mut service = hub.amqp_as(&hub.policy_token("service")?).await?;
    let sender = service.attach_sender("/messages/devicebound").await?.unwrap();
    let to = node(&module, "messages/devicebound");
    let mut payload = Vec::new();
    let properties = Properties { to: Some(&to), ..Properties::default() };
    MessageWriter::new(&mut payload).properties(&properties).data(b"for the module");
    assert_eq!(service.send(sender, &payload).await?, Some(DeliveryState::Accepted));
    assert_eq!(body(&client.receive(link).await?), "for the module");
    // Where IoT Edge routes messages to: a link that stays silent.
    assert!(client.attach_receiver(&node(&module, "messages/events"), 10).await?.is_ok());
    Ok(())
}

async fn pair(client: &mut Amqp, address: &str) -> TestResult<(LinkId, LinkId)> {
    let sender = client.attach_sender(address).await?.unwrap();
    let attach = client.new_attach(amqp::Role::Receiver);
    let target = Some(amqp::AttachTarget::Target(amqp::Target::default()));
    let attach = amqp::Attach { source: Some(Source::at(address)), target, ..attach };
    let (receiver, answer) = client.attach(attach, 10).await?.unwrap();
    assert_eq!(answer.snd_settle_mode, Some(SenderSettleMode::Settled));
    Ok((sender, receiver))
}

#[tokio::test]
async fn methods_run_and_answer() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = hub.amqp_as(&device.token()).await?;
    let (answers, calls) = pair(&mut client, &node(&device, "methods/devicebound")).await?;
    let path = format!("/twins/{}/methods", device.device_id);
    let request = json!({ "methodName": "reboot", "payload": { "in": 5 }, "responseTimeoutInSeconds": 20 });
    let run = async {
        let call = client.receive(calls).await?;
        assert!(call.settled && call.tag.len() == 16);
        let message = Message::decode(&call.payload)?;
        assert_eq!(message.application_properties.unwrap().get("IoThub-methodname"), Some(Value::String("reboot")));
        assert_eq!(body(&call), "{\"in\":5}");
        let id = message.properties.clone().and_then(|properties| properties.correlation_id).unwrap();
        assert!(matches!(id.value(), Value::Uuid(_)));
        let mut payload = Vec::new();
        MessageWriter::new(&mut payload)
            .properties(&Properties { correlation_id: Some(id), ..Properties::default() })
            .application_properties(|map| map.string("IoThub-status", &Value::Int(201)))
            .data(b"{\"out\":1}");
        assert_eq!(client.send(answers, &payload).await?, Some(DeliveryState::Accepted));
        // An answer to nothing is dropped.
        assert_eq!(client.send(answers, &payload).await?, Some(DeliveryState::Accepted));
        anyhow::Ok(())
    };
    let (answer, run) = tokio::join!(hub.call("POST", &path, &[], &request), run);
    run?;
    assert_eq!(answer?.expect(200)?.json()?, json!({ "status": 201, "payload": { "out": 1 } }));
    // With one of the links gone, it is not online.
    client.connection.detach(answers, None);
    client.flush().await?;
    eventually("the end of the interest", async || Ok(hub.call("POST", &path, &[], &request).await?.status == 404))
        .await
}

fn twin_request(id: &str, operation: &str, resource: Option<&str>, body: Option<&[u8]>) -> Vec<u8> {
    let (mut encoded, mut payload) = (Vec::new(), Vec::new());
    amqp::put_value(&Value::String(id), &mut encoded);
    let correlation_id = MessageId::decode(&encoded).ok();
    let writer = MessageWriter::new(&mut payload)
        .message_annotations(|map| {
            map.symbol("operation", &Value::String(operation));
            if let Some(resource) = resource {
                map.symbol("resource", &Value::String(resource));
            }
            map.symbol("version", &Value::Null);
        })
        .properties(&Properties { correlation_id, ..Properties::default() });
    if let Some(body) = body {
        writer.data(body);
    }
    payload
}

/// Correlation id, status and body of an answer.
fn twin_answer(delivery: &Delivery) -> (Option<String>, Option<i32>, String) {
    let message = Message::decode(&delivery.payload).unwrap();
    let id = message.properties.as_ref().and_then(|properties| properties.correlation_id);
    let id = id.map(|id| id.value().as_text().unwrap_or_default().to_owned());
    let status = match annotation(delivery, "status") {
        Some(Value::Int(status)) => Some(status),
        _ => None,
    };
    (id, status, body(delivery))
}

#[tokio::test]
async fn twins_are_read_reported_and_followed() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = hub.amqp_as(&device.token()).await?;
    let (requests, answers) = pair(&mut client, &node(&device, "twin")).await?;
    let subscribe = Some("/notifications/twin/properties/desired");
    assert_eq!(
        client.send(requests, &twin_request("1", "GET", None, Some(b" "))).await?,
        Some(DeliveryState::Accepted)
    );
    let (id, status, twin) = twin_answer(&client.receive(answers).await?);
    assert_eq!((id.as_deref(), status), (Some("1"), Some(200)));
    let twin: Json = serde_json::from_str(&twin)?;
    assert_eq!((&twin["desired"]["$version"], &twin["reported"]["$version"]), (&json!(1), &json!(1)));
    client.send(requests, &twin_request("2", "PUT", subscribe, None)).await?;
    assert_eq!(twin_answer(&client.receive(answers).await?), (Some("2".into()), Some(200), String::new()));
    let patch = twin_request("3", "PATCH", Some("/properties/reported"), Some(b"{\"fan\":1}"));
    client.send(requests, &patch).await?;
    let reported = client.receive(answers).await?;
    // A long, whatever its value (amqp R11).
    assert_eq!(annotation(&reported, "version"), Some(Value::Long(2)));
    assert_eq!((twin_answer(&reported).1, reported.settled, reported.tag.len()), (Some(200), true, 16));
    for (id, operation, resource, text) in [
        ("4", "PATCH", Some("/properties/reported"), &b"nonsense"[..]),
        ("5", "PATCH", Some("/properties/desired"), b"{}"),
        ("6", "NONSENSE", None, b" "),
    ] {
        client.send(requests, &twin_request(id, operation, resource, Some(text))).await?;
        let (answered, status, body) = twin_answer(&client.receive(answers).await?);
        assert_eq!((answered.as_deref(), status), (Some(id), Some(400)));
        assert!(serde_json::from_str::<Json>(&body)?["errorCode"].is_u64());
    }
    // Updates of desired properties, without a correlation id.
    let path = format!("/twins/{}", device.device_id);
    for speed in 1..4 {
        let change = json!({ "properties": { "desired": { "speed": speed } } });
        hub.call("PATCH", &path, &[], &change).await?.expect(200)?;
        let (id, status, patch) = twin_answer(&client.receive(answers).await?);
        assert_eq!((id, status), (None, None));
        assert_eq!(serde_json::from_str::<Json>(&patch)?, json!({ "speed": speed, "$version": speed + 1 }));
    }
    client.send(requests, &twin_request("7", "DELETE", subscribe, None)).await?;
    assert_eq!(twin_answer(&client.receive(answers).await?).1, Some(200));
    let change = json!({ "properties": { "desired": { "speed": 9 } } });
    hub.call("PATCH", &path, &[], &change).await?.expect(200)?;
    assert!(client.receive_within(answers, Duration::from_millis(300)).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn requests_in_one_breath_are_all_answered() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = hub.amqp_as(&device.token()).await?;
    let (requests, answers) = pair(&mut client, &node(&device, "twin")).await?;
    for number in 0..100 {
        client.send_only(requests, &twin_request(&number.to_string(), "GET", None, None), 0, true)?;
    }
    for number in 0..100 {
        assert_eq!(twin_answer(&client.receive(answers).await?).0, Some(number.to_string()));
    }
    assert_eq!(
        client.send(requests, b"nonsense").await.map(crate::amqp_telemetry::rejection)?,
        condition::DECODE_ERROR
    );
    Ok(())
}
