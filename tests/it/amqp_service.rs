//! What back ends do over AMQP (amqp §6): messages for devices, and feedback about them.

use amqp::{DeliveryState, Message, MessageWriter, Properties, Value, condition};
use ironhub_tests::{Amqp, Device, Hub, HubOptions, TestResult};
use serde_json::{Value as Json, json};

use crate::amqp_telemetry::rejection;

struct New<'a> {
    to: Option<&'a str>,
    id: &'a str,
    acknowledgement: Option<&'a str>,
    expiry: Option<i64>,
    body: &'a [u8],
}

fn payload(new: &New<'_>) -> Vec<u8> {
    let (mut id, mut payload) = (Vec::new(), Vec::new());
    amqp::put_value(&Value::String(new.id), &mut id);
    let message_id = amqp::MessageId::decode(&id).ok();
    let properties = Properties { message_id, to: new.to, absolute_expiry_time: new.expiry, ..Properties::default() };
    MessageWriter::new(&mut payload)
        .properties(&properties)
        .application_properties(|map| {
            if let Some(acknowledgement) = new.acknowledgement {
                map.string("iothub-ack", &Value::String(acknowledgement));
            }
            map.string("key", &Value::String("value"));
        })
        .data(new.body);
    payload
}

fn to(device: &Device) -> String {
    format!("/devices/{}/messages/devicebound", device.device_id)
}

async fn service(hub: &Hub) -> TestResult<Amqp> {
    hub.amqp_as(&hub.policy_token("service")?).await
}

#[tokio::test]
async fn messages_are_sent_and_every_refusal_has_its_condition() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = service(&hub).await?;
    let link = client.attach_sender("/messages/devicebound").await?.unwrap();
    let address = to(&device);
    let good = New { to: Some(&address), id: "m", acknowledgement: Some("Full"), expiry: None, body: b"x" };
    let days = |days: i64| jiff::Timestamp::now().as_millisecond() + days * 24 * 3_600_000;
    let large = vec![0; 65_536];
    let unknown = "/devices/nobody-at-all/messages/devicebound";
    let unknown_module = format!("/devices/{}/modules/nobody/messages/devicebound", device.device_id);
    for (new, expected) in [
        (New { to: None, ..good }, condition::NOT_ALLOWED),
        (New { to: Some("/devices/x/twin"), ..good }, condition::NOT_ALLOWED),
        (New { to: Some(unknown), ..good }, condition::NOT_FOUND),
        (New { to: Some(&unknown_module), ..good }, condition::NOT_FOUND),
        (New { acknowledgement: Some("sometimes"), ..good }, condition::NOT_ALLOWED),
        (New { expiry: Some(days(3)), ..good }, "com.microsoft:argument-error"),
        (New { body: &large, ..good }, condition::MESSAGE_SIZE_EXCEEDED),
    ] {
        assert_eq!(rejection(client.send(link, &payload(&new)).await?), expected);
    }
    assert_eq!(rejection(client.send(link, b"nonsense").await?), condition::DECODE_ERROR);
    for acknowledgement in [None, Some("none"), Some("positiveonly"), Some("NEGATIVE")] {
        let state = client.send(link, &payload(&New { acknowledgement, expiry: Some(days(1)), ..good })).await?;
        assert_eq!(state, Some(DeliveryState::Accepted));
    }
    for _ in 4..50 {
        assert_eq!(client.send(link, &payload(&good)).await?, Some(DeliveryState::Accepted));
    }
    assert_eq!(rejection(client.send(link, &payload(&good)).await?), condition::RESOURCE_LIMIT_EXCEEDED);
    Ok(())
}

#[tokio::test]
async fn feedback_goes_to_one_who_listens_until_it_is_settled() -> TestResult {
    let config = "[gateway.cloud_to_device]\nfeedback_flush_seconds = 0\n".to_owned();
    let hub = Hub::start_with(HubOptions { config, ..HubOptions::default() }).await?;
    let device = hub.new_device().await?;
    let mut client = service(&hub).await?;
    let sender = client.attach_sender("/messages/devicebound").await?.unwrap();
    let address = to(&device);
    let new = New { to: Some(&address), id: "m-1", acknowledgement: Some("full"), expiry: None, body: b"x" };
    assert_eq!(client.send(sender, &payload(&new)).await?, Some(DeliveryState::Accepted));
    let mut peer = hub.amqp_as(&device.token()).await?;
    let link = peer.attach_receiver(&address, 10).await?.unwrap();
    let delivery = peer.receive(link).await?;
    let received = Message::decode(&delivery.payload)?;
    assert_eq!(received.application_properties.unwrap().get("key"), Some(Value::String("value")));
    peer.settle(&delivery, DeliveryState::Accepted).await?;
    let feedback = client.attach_second("/messages/serviceBound/feedback", 5).await?;
    for state in [DeliveryState::Released, DeliveryState::Accepted] {
        let batch = client.receive(feedback).await?;
        assert_eq!((batch.tag.len(), batch.settled), (16, false));
        let message = Message::decode(&batch.payload)?;
        let properties = message.properties.clone().unwrap();
        assert_eq!(properties.content_type.map(|name| name.0), Some("application/vnd.microsoft.iothub.feedback.json"));
        assert_eq!(properties.user_id, Some(hub.host_name.as_bytes()));
        let enqueued = message.message_annotations.unwrap().get("iothub-enqueuedtime");
        assert!(matches!(enqueued, Some(Value::Timestamp(_))));
        let records: Json = serde_json::from_slice(message.body.data().unwrap())?;
        assert_eq!(records[0]["originalMessageId"], json!("m-1"));
        assert_eq!((&records[0]["statusCode"], &records[0]["deviceId"]), (&json!("Success"), &json!(device.device_id)));
        client.settle(&batch, state).await?;
    }
    let more = client.receive_within(feedback, std::time::Duration::from_millis(2500)).await?;
    assert!(more.is_none(), "{more:?}");
    Ok(())
}
