//! Telemetry over AMQP (amqp §5.2): every section in its place, batches, and what is refused.

use amqp::{BATCH_FORMAT, DeliveryState, MessageWriter, Properties, SymbolText, Value, condition, put_batch};
use ironhub_tests::{Device, Hub, TestResult};

pub fn address(device: &Device) -> String {
    match &device.module_id {
        None => format!("/devices/{}/messages/events", device.device_id),
        Some(module_id) => format!("/devices/{}/modules/{module_id}/messages/events", device.device_id),
    }
}

/// A message that is only a body.
pub fn message(body: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    MessageWriter::new(&mut payload).data(body);
    payload
}

/// The condition of a rejection.
pub fn rejection(state: Option<DeliveryState>) -> String {
    match state {
        Some(DeliveryState::Rejected(Some(error))) => error.condition.to_string(),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn every_section_has_its_place() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = hub.amqp_as(&device.token()).await?;
    let link = client.attach_sender(&address(&device)).await?.unwrap();
    let mut id = Vec::new();
    amqp::put_value(&Value::Uuid([0x22; 16]), &mut id);
    let mut payload = Vec::new();
    MessageWriter::new(&mut payload)
        .message_annotations(|map| {
            map.symbol("dt-subject", &Value::String("thermostat"));
            map.symbol("iothub-connection-device-id", &Value::String("somebody-else"));
        })
        .properties(&Properties {
            message_id: Some(amqp::MessageId::decode(&id)?),
            user_id: Some(b"user"),
            to: Some("/devices/x/messages/events"),
            content_type: Some(SymbolText("application/json")),
            content_encoding: Some(SymbolText("utf-8")),
            ..Properties::default()
        })
        .application_properties(|map| {
            map.string("alert", &Value::Boolean(true));
            map.string("name", &Value::String("ü"));
            map.string("iothub-creation-time-utc", &Value::String("2026-01-01T00:00:00Z"));
            map.string("iothub-connection-device-id", &Value::String("somebody-else"));
        })
        .data(b"{\"t\":1}");
    assert_eq!(client.send(link, &payload).await?, Some(DeliveryState::Accepted));
    let event = hub.wait_for_events(&device.device_id, 1).await?.remove(0);
    let text = event.to_string();
    for expected in [
        "22222222-2222-2222-2222-222222222222",
        "thermostat",
        "\"alert\":\"true\"",
        "2026-01-01T00:00:00Z",
        device.generation_id.as_str(),
        "application/json",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    assert!(!text.contains("somebody-else") && !text.contains("/devices/x"), "{text}");
    Ok(())
}

#[tokio::test]
async fn every_delivery_is_settled_also_when_thousands_are_sent() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = hub.amqp_as(&device.token()).await?;
    let link = client.attach_sender(&address(&device)).await?.unwrap();
    let mut outstanding = std::collections::VecDeque::new();
    for number in 0..3000_u32 {
        while client.connection.sendable(link) == 0 || outstanding.len() >= 500 {
            let id = outstanding.pop_front().unwrap();
            assert_eq!(client.outcome(link, id).await?, Some(DeliveryState::Accepted));
        }
        outstanding.push_back(client.send_only(link, &message(&number.to_be_bytes()), 0, false)?);
    }
    for id in outstanding {
        assert_eq!(client.outcome(link, id).await?, Some(DeliveryState::Accepted));
    }
    let events = hub.wait_for_events(&device.device_id, 3000).await?;
    assert_eq!(events.len(), 3000);
    Ok(())
}

#[tokio::test]
async fn a_batch_is_accepted_as_one() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = hub.amqp_as(&device.token()).await?;
    let link = client.attach_sender(&address(&device)).await?.unwrap();
    let messages: Vec<Vec<u8>> = (0..20).map(|number: u8| message(&[number; 3])).collect();
    let mut payload = Vec::new();
    put_batch(messages.iter().map(Vec::as_slice), &mut payload);
    let id = client.send_only(link, &payload, BATCH_FORMAT, false)?;
    assert_eq!(client.outcome(link, id).await?, Some(DeliveryState::Accepted));
    assert_eq!(hub.wait_for_events(&device.device_id, 20).await?.len(), 20);
    // One bad message, and none of it is taken.
    let bad = [message(b"good"), b"nonsense".to_vec()];
    let mut payload = Vec::new();
    put_batch(bad.iter().map(Vec::as_slice), &mut payload);
    let id = client.send_only(link, &payload, BATCH_FORMAT, false)?;
    assert_eq!(rejection(client.outcome(link, id).await?), condition::DECODE_ERROR);
    assert_eq!(hub.events(&device.device_id).await?.len(), 20);
    Ok(())
}

#[tokio::test]
async fn what_is_no_telemetry_is_rejected() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = hub.amqp_as(&device.token()).await?;
    let link = client.attach_sender(&address(&device)).await?.unwrap();
    let mut number = Vec::new();
    MessageWriter::new(&mut number).value(&Value::Int(5));
    for (payload, expected) in [
        (message(&vec![1; 262_145]), condition::MESSAGE_SIZE_EXCEEDED),
        (number, condition::NOT_ALLOWED),
        (b"nonsense".to_vec(), condition::DECODE_ERROR),
    ] {
        assert_eq!(rejection(client.send(link, &payload).await?), expected);
    }
    // The link lives on, and takes as much as is allowed.
    assert_eq!(client.send(link, &message(&vec![1; 262_144])).await?, Some(DeliveryState::Accepted));
    Ok(())
}
