//! Back ends send messages for devices (amqp §6.1).

use amqp::{Delivery, DeliveryState, Error, Message};
use model::{Principal, Record};
use shard_client::{Acknowledge, MessageError, NewMessage};

use super::{
    address::Address,
    connection::Connection,
    error,
    message::{application_properties, body, read_properties},
};
use crate::{Front, device_bound::new_message};

impl Connection {
    /// Accepted once the message is in the device's queue.
    pub(super) fn on_device_bound(&mut self, delivery: &Delivery) {
        let place = (delivery.link, delivery.id, delivery.settled);
        let (recipients, message) = match read(&self.front, delivery) {
            Ok(read) => read,
            Err(error) => {
                self.front.metrics.device_bound.sent("ArgumentInvalid");
                return self.settle(place, DeliveryState::rejected(error));
            }
        };
        self.waiting += 1;
        let (front, claim) = (self.front.clone(), self.front.claim_bytes(delivery.payload.len()));
        let sent = async move {
            let sent = enqueue(&front, &recipients, &message).await;
            drop(claim);
            sent
        };
        self.start(sent, move |connection, sent| {
            connection.waiting -= 1;
            connection.front.metrics.device_bound.sent(result_of(&sent));
            connection.settle(
                place,
                match sent {
                    Ok(()) => DeliveryState::Accepted,
                    Err(error) => DeliveryState::rejected(error::message(&error)),
                },
            );
        });
    }
}

/// Whichever of the readings of the address there is gets it.
async fn enqueue(front: &Front, recipients: &[Principal], message: &NewMessage) -> Result<(), MessageError> {
    for principal in recipients {
        match front.shard_client.enqueue_message(principal, message).await {
            Err(MessageError::NotFound) => {}
            outcome => return outcome,
        }
    }
    Err(MessageError::NotFound)
}

/// The names that HTTPS answers with: one counter for both.
fn result_of(sent: &Result<(), MessageError>) -> &'static str {
    match sent {
        Ok(()) => "ok",
        Err(MessageError::NotFound) => "DeviceNotFound",
        Err(MessageError::QueueFull) => "DeviceMaximumQueueDepthExceeded",
        Err(_) => "ServerBusy",
    }
}

fn read(front: &std::sync::Arc<Front>, delivery: &Delivery) -> Result<(Vec<Principal>, NewMessage), Error> {
    let message = Message::decode(&delivery.payload).map_err(|malformed| error::undecodable(&malformed))?;
    let to = message.properties.as_ref().and_then(|properties| properties.to).unwrap_or_default();
    let recipients = Address::recipients(to);
    if recipients.is_empty() {
        let words = format!(
            "The property to is '{}', not /devices/{{id}}/messages/devicebound",
            to.chars().take(300).collect::<String>()
        );
        return Err(error::not_allowed(words));
    }
    let body = body(&message).ok_or_else(|| error::not_allowed("The body of a message is bytes: sections of data."))?;
    let mut record = Record::default();
    if let Some(properties) = &message.properties {
        read_properties(properties, &mut record);
    }
    let mut acknowledgement = Acknowledge::None;
    for (name, value) in application_properties(&message) {
        if name.eq_ignore_ascii_case("iothub-ack") {
            acknowledgement = acknowledge(&value)
                .ok_or_else(|| error::not_allowed("iothub-ack must be none, positive, negative or full"))?;
        } else {
            record.application_properties.push((name, value));
        }
    }
    let record = Record {
        system_properties: owned(record.system_properties),
        application_properties: record
            .application_properties
            .into_iter()
            .map(|(name, value)| (name.into_owned().into(), value.into_owned().into()))
            .collect(),
        annotations: Vec::new(),
        body: body.into_owned().into(),
    };
    let message = new_message(front, record, acknowledgement).map_err(|bad| error::bad_message(&bad))?;
    Ok((recipients, message))
}

fn owned<K>(properties: Vec<(K, std::borrow::Cow<'_, str>)>) -> Vec<(K, std::borrow::Cow<'static, str>)> {
    properties.into_iter().map(|(key, value)| (key, value.into_owned().into())).collect()
}

/// One client calls two of them otherwise (amqp §6.1).
fn acknowledge(text: &str) -> Option<Acknowledge> {
    match text.to_ascii_lowercase().as_str() {
        "positiveonly" => Some(Acknowledge::Positive),
        "negativeonly" => Some(Acknowledge::Negative),
        text => Acknowledge::parse(text),
    }
}
