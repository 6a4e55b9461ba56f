//! Direct methods (amqp §5.4): requests go out, answers come in, paired by a UUID.

use amqp::{Delivery, DeliveryState, Message, MessageWriter, Properties, Value};
use bytes::Bytes;
use model::Principal;
use shard_client::{MethodAnswer, MethodCall, MethodCallId};

use super::{
    connection::Connection,
    error,
    link::{DeviceLink, Queued},
    message::{EncodedId, body, text},
};

impl Connection {
    /// Sends what the device is to run. Without the link, or when too many wait, nobody answers and the caller times out.
    pub(super) fn take_method_calls(&mut self, principal: &Principal) {
        while let Some(device) = self.devices.get(principal)
            && let Some(call) = device.mailbox.take_method_call()
        {
            if let Some(link) = device.links.get(&DeviceLink::MethodCalls).copied() {
                self.send(link, Queued::settled(encode(&call)));
            }
        }
    }

    /// An answer to something that nobody asked is accepted and dropped.
    pub(super) fn on_method_answer(&mut self, principal: &Principal, delivery: &Delivery) {
        let place = (delivery.link, delivery.id, delivery.settled);
        let message = match Message::decode(&delivery.payload) {
            Ok(message) => message,
            Err(malformed) => return self.settle(place, DeliveryState::rejected(error::undecodable(&malformed))),
        };
        let id = message.properties.as_ref().and_then(|properties| properties.correlation_id);
        let status = message.application_properties.and_then(|properties| properties.get("IoThub-status"));
        let status = status.and_then(|status| text(status).parse().ok());
        if let (Some(call_id), Some(status)) = (id.and_then(|id| call_id(id.value())), status) {
            let payload = Bytes::from(body(&message).unwrap_or_default().into_owned());
            self.front.shard_client.answer_method(principal, call_id, MethodAnswer { status, payload });
        }
        self.settle(place, DeliveryState::Accepted);
    }
}

/// One client sends a UUID that is of none of the registered versions back as text.
fn call_id(correlation_id: Value<'_>) -> Option<MethodCallId> {
    let bytes = match correlation_id {
        Value::Uuid(bytes) => bytes,
        Value::String(text) => uuid::Uuid::parse_str(text).ok()?.into_bytes(),
        _ => return None,
    };
    Some(MethodCallId::from_bytes(bytes))
}

/// One client wants a body, always.
fn encode(call: &MethodCall) -> Vec<u8> {
    let id = EncodedId::uuid(call.call_id.to_bytes());
    let payload: &[u8] = if call.payload.is_empty() { b"null" } else { &call.payload };
    let mut message = Vec::with_capacity(payload.len() + 128);
    MessageWriter::new(&mut message)
        .properties(&Properties { correlation_id: id.id(), ..Properties::default() })
        .application_properties(|properties| properties.string("IoThub-methodname", &Value::String(&call.name)))
        .data(payload);
    message
}
