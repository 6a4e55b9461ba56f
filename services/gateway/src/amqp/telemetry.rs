//! What devices send (amqp §5.2): stamped, appended, accepted once it is durable.

use std::time::{Duration, Instant};

use amqp::{BATCH_FORMAT, Delivery, DeliveryState, Error, LinkId, Message, Value, batched_messages};
use model::{Annotation, Principal, Record};
use tokio::time::timeout;

use super::{
    connection::Connection,
    error,
    message::{application_properties, body, read_properties, text},
};
use crate::telemetry::{MessageBatch, Stamp, is_reserved};

/// Messages of one device that were read together.
#[derive(Default)]
pub(super) struct Unappended {
    batch: MessageBatch,
    deliveries: Vec<(LinkId, u32, bool)>,
}

impl Connection {
    pub(super) fn on_telemetry(&mut self, principal: &Principal, delivery: &Delivery) {
        let Some(device) = self.devices.get_mut(principal) else { return };
        let bytes_max = self.front.limits.message_bytes_max();
        let place = (delivery.link, delivery.id, delivery.settled);
        match read(delivery, bytes_max) {
            Ok(messages) => {
                if device.unappended.deliveries.is_empty() {
                    self.unappended.push(principal.clone());
                }
                messages.push_to(&mut device.unappended.batch, &device.stamp);
                device.unappended.deliveries.push(place);
                self.waiting += 1;
            }
            Err(error) => self.settle(place, DeliveryState::rejected(error)),
        }
    }

    /// Appends what was read since the last time.
    pub(super) fn append_telemetry(&mut self, read_at: Instant) {
        for principal in std::mem::take(&mut self.unappended) {
            let front = self.front.clone();
            let Some(device) = self.devices.get_mut(&principal) else { continue };
            device.mark_active(&front, read_at);
            let Unappended { batch, deliveries } = std::mem::take(&mut device.unappended);
            let (messages, claim) = (batch.len(), front.claim_bytes(batch.bytes()));
            let within = Duration::from_secs(front.config.limits.acknowledge_timeout_seconds);
            let receipt = front.event_log.append(batch.into_appends(&front.events, &device.stamp));
            self.start(timeout(within, receipt), move |connection, outcome| {
                connection.waiting -= deliveries.len();
                let state = match outcome {
                    Ok(Ok(_)) => {
                        connection.front.metrics.acknowledged(messages, claim.bytes(), read_at.elapsed());
                        DeliveryState::Accepted
                    }
                    Ok(Err(error)) => DeliveryState::rejected(error::not_stored(&error)),
                    Err(_) => DeliveryState::rejected(error::detach_forced("The event log does not answer in time.")),
                };
                deliveries.into_iter().for_each(|delivery| connection.settle(delivery, state.clone()));
            });
        }
    }

    /// Messages that are read and not appended are not waited for any more.
    pub(super) fn forget_unappended(&mut self, unappended: &Unappended) {
        self.waiting -= unappended.deliveries.len();
    }
}

/// The messages of one delivery; all of them are good.
struct Messages<'a>(Vec<(Record<'a>, std::borrow::Cow<'a, [u8]>)>);

impl Messages<'_> {
    fn push_to(&self, batch: &mut MessageBatch, stamp: &Stamp) {
        self.0.iter().for_each(|(record, body)| batch.push(stamp, record, body));
    }
}

/// One message, or a batch. How large a batch may be is what the link says; each message of it has the limit of all.
fn read(delivery: &Delivery, bytes_max: usize) -> Result<Messages<'_>, Error> {
    let envelope = Message::decode(&delivery.payload).map_err(|malformed| error::undecodable(&malformed))?;
    if delivery.message_format != BATCH_FORMAT {
        return Ok(Messages(vec![read_message(&envelope, bytes_max)?]));
    }
    let messages = batched_messages(&envelope).map(|encoded| {
        let message = Message::decode(encoded).map_err(|malformed| error::undecodable(&malformed))?;
        read_message(&message, bytes_max)
    });
    messages.collect::<Result<_, _>>().map(Messages)
}

fn read_message<'a>(
    message: &Message<'a>,
    bytes_max: usize,
) -> Result<(Record<'a>, std::borrow::Cow<'a, [u8]>), Error> {
    let body = body(message).ok_or_else(|| error::not_allowed("The body of a message is bytes: sections of data."))?;
    let mut record = Record::default();
    if let Some(properties) = &message.properties {
        read_properties(properties, &mut record);
    }
    for (name, value) in application_properties(message) {
        // What the hub stamps itself, a client cannot set. Batches of one client prefix what belongs to the hub.
        let name = match name.strip_prefix("iothub-app-") {
            Some("iothub-creation-time-utc") => "iothub-creation-time-utc".into(),
            _ => name,
        };
        if !is_reserved(&name) {
            record.application_properties.push((name, value));
        }
    }
    for annotation in [
        Annotation::InterfaceId,
        Annotation::DtSubject,
        Annotation::TraceState,
        Annotation::DiagnosticId,
        Annotation::CorrelationContext,
    ] {
        let value = message.message_annotations.and_then(|annotations| annotations.get(annotation.name()));
        let value = value.filter(|value| *value != Value::Null).map(text);
        record.annotations.extend(value.map(|value| (annotation, value)));
    }
    if record.counted_bytes() + body.len() > bytes_max {
        return Err(error::too_large(bytes_max));
    }
    Ok((record, body))
}
