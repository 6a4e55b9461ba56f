//! Messages on their way to a device (amqp §5.3): asked for when the shard says that some wait and the device takes them,
//! in hand until the device says what becomes of them.

use std::{collections::HashMap, time::Duration};

use amqp::{DeliveryState, LinkId, MessageWriter, Outcome, Properties, SymbolText, Value};
use model::{ConnectionId, Principal, SystemProperty, Timestamp};
use shard_client::{Holder, MessageError, Received, ReceivedMessage, Settle};
use uuid::Uuid;

use super::{
    connection::Connection,
    error,
    link::{InHand, Link, Queued},
    message::EncodedId,
};
use crate::{device_bound, twin_requests::SessionEnd};

/// Messages that one question asks for at most.
const RECEIVE_MAX: u32 = 50;
/// How soon it is tried again when the shard cannot answer.
const RETRY: Duration = Duration::from_secs(1);

/// The deliveries of a device that takes messages.
pub(super) struct Deliveries {
    link: LinkId,
    /// Something may be had.
    ask: bool,
    is_receiving: bool,
    /// The device wants to hear that there is nothing more.
    drain: bool,
}

impl Deliveries {
    /// Asks at once for what waits already.
    pub fn new(link: LinkId) -> Self {
        Self { link, ask: true, is_receiving: false, drain: false }
    }

    /// Whether the device has messages in hand, or will.
    pub fn is_in_use(&self, links: &HashMap<LinkId, Link>) -> bool {
        self.is_receiving || links.get(&self.link).is_none_or(|link| !link.in_hand.is_empty())
    }
}

impl Connection {
    /// Messages may be had.
    pub(super) fn hear_of_device_bound(&mut self, principal: &Principal) {
        if let Some(deliveries) = self.deliveries(principal) {
            deliveries.ask = true;
            self.ask_for_device_bound(principal);
        }
    }

    /// The device wants what there is, and then to hear that it was all.
    pub(super) fn drain_device_bound(&mut self, principal: &Principal) {
        if let Some(deliveries) = self.deliveries(principal) {
            deliveries.drain = true;
        }
        self.hear_of_device_bound(principal);
    }

    fn deliveries(&mut self, principal: &Principal) -> Option<&mut Deliveries> {
        self.devices.get_mut(principal)?.deliveries.as_mut()
    }

    /// Asks for as many as the device takes now, if there may be any.
    pub(super) fn ask_for_device_bound(&mut self, principal: &Principal) {
        let Some(device) = self.devices.get_mut(principal) else { return };
        let connection_id = device.connection_id;
        let Some(deliveries) =
            device.deliveries.as_mut().filter(|deliveries| deliveries.ask && !deliveries.is_receiving)
        else {
            return;
        };
        let room = self.protocol.sendable(deliveries.link).min(RECEIVE_MAX);
        if room == 0 {
            return; // credit asks again
        }
        deliveries.ask = false;
        deliveries.is_receiving = true;
        let (front, owner) = (self.front.clone(), principal.clone());
        let received = async move {
            let lock = device_bound::lock(&front);
            let holder = Holder::Connection(connection_id);
            let received = front.shard_client.receive_messages(&owner, holder, room, lock).await;
            (owner, received)
        };
        self.start(received, move |connection, (principal, received)| {
            if connection.device(&principal, connection_id).is_some() {
                connection.on_received(&principal, connection_id, received);
            }
        });
    }

    fn on_received(
        &mut self,
        principal: &Principal,
        connection_id: ConnectionId,
        received: Result<Received, MessageError>,
    ) {
        let Some(deliveries) = self.deliveries(principal) else { return };
        deliveries.is_receiving = false;
        let received = match received {
            Ok(received) => received,
            Err(MessageError::ConnectionReplaced) => return self.end_session(principal, SessionEnd::Replaced),
            Err(MessageError::NotFound) => return self.end_session(principal, SessionEnd::Deleted),
            Err(_) => return self.ask_later(principal, connection_id, RETRY),
        };
        deliveries.ask |= received.has_more;
        let (link, is_drained) = (deliveries.link, deliveries.drain && !deliveries.ask);
        let ask_in = device_bound::look_again_in(&self.front, &received);
        for message in &received.messages {
            self.deliver(principal, link, message);
        }
        if is_drained {
            self.protocol.drained(link);
            self.deliveries(principal).into_iter().for_each(|deliveries| deliveries.drain = false);
        }
        if let Some(ask_in) = ask_in {
            self.ask_later(principal, connection_id, ask_in);
        }
        self.ask_for_device_bound(principal);
    }

    fn ask_later(&mut self, principal: &Principal, connection_id: ConnectionId, time: Duration) {
        let principal = principal.clone();
        self.after(time, move |connection| {
            if connection.device(&principal, connection_id).is_some() {
                connection.hear_of_device_bound(&principal);
            }
        });
    }

    fn deliver(&mut self, principal: &Principal, id: LinkId, message: &ReceivedMessage) {
        // What was in hand before is so no more: only its newest delivery counts.
        let in_hand = InHand::Message { sequence: message.sequence };
        if let Some(link) = self.links.get_mut(&id) {
            link.in_hand.retain(|_, older| *older != in_hand);
        }
        let lock_token = Uuid::from_u64_pair(message.sequence, Uuid::new_v4().as_u64_pair().1);
        let payload = encode(principal, message, lock_token);
        self.front.metrics.device_bound.delivered("amqp", message, self.front.now());
        // A message that finds no place comes again when its lock is over.
        self.send(id, Queued { tag: lock_token.to_bytes_le().into(), payload, in_hand: Some(in_hand) });
    }

    /// The device says what becomes of a message. It hears whether that is so now: accepted, also when it rejected the
    /// message or gave it back; C# takes anything else for a failure (amqp R18).
    pub(super) fn on_device_bound_outcome(&mut self, principal: &Principal, outcome: Outcome) {
        let Outcome { link, id, state, settled, .. } = outcome;
        let delivery = (link, id, settled);
        let in_hand = self.links.get_mut(&link).and_then(|link| link.in_hand.remove(&id));
        let Some(InHand::Message { sequence }) = in_hand else {
            return self.settle(delivery, DeliveryState::rejected(error::lock_lost()));
        };
        let settle = match &state {
            Some(DeliveryState::Accepted) => Settle::Complete,
            Some(DeliveryState::Rejected(_)) => Settle::Reject,
            Some(DeliveryState::Released | DeliveryState::Modified(_)) => Settle::Abandon,
            // Nothing was said: it comes again when its lock is over.
            Some(DeliveryState::Received(_)) | None => return,
        };
        let Some(device) = self.devices.get(principal) else { return };
        let (front, owner, connection_id) = (self.front.clone(), principal.clone(), device.connection_id);
        let settling = async move {
            let holder = Holder::Connection(connection_id);
            let settled = front.shard_client.settle_messages(&owner, holder, &[sequence], settle).await;
            (owner, settled)
        };
        self.start(settling, move |connection, (principal, settled)| {
            match settled {
                Ok(()) => connection.settle(delivery, DeliveryState::Accepted),
                Err(error) => {
                    tracing::debug!(%principal, %error, "a message is not settled");
                    connection.settle(delivery, DeliveryState::rejected(error::message(&error)));
                }
            }
            if connection.device(&principal, connection_id).is_some() {
                connection.hear_of_device_bound(&principal);
            }
        });
    }

    /// The device takes no messages any more: those in hand go back, which does not count as a failed delivery.
    pub(super) fn release_device_bound(&mut self, principal: &Principal) {
        let Some(device) = self.devices.get_mut(principal) else { return };
        let is_in_use = device.deliveries.take().is_some_and(|deliveries| deliveries.is_in_use(&self.links));
        // A device without links gives back what it has when it is forgotten.
        if is_in_use {
            let (front, principal, connection_id) = (self.front.clone(), principal.clone(), device.connection_id);
            self.start(async move { device_bound::release(&front, &principal, connection_id).await }, |_, ()| {});
        }
    }
}

/// A message as the real service sends it.
fn encode(principal: &Principal, message: &ReceivedMessage, lock_token: Uuid) -> Vec<u8> {
    let record = &message.record;
    let system = |property| record.system_property(property).filter(|value| !value.is_empty());
    let [message_id, correlation_id] = [SystemProperty::MessageId, SystemProperty::CorrelationId]
        .map(|property| system(property).map(EncodedId::string));
    let to = match &principal.module_id {
        None => format!("/devices/{}/messages/deviceBound", principal.device_id),
        Some(module_id) => format!("/devices/{}/modules/{module_id}/messages/deviceBound", principal.device_id),
    };
    let expiry = system(SystemProperty::AbsoluteExpiryTime).and_then(Timestamp::parse);
    let properties = Properties {
        message_id: message_id.as_ref().and_then(EncodedId::id),
        user_id: system(SystemProperty::UserId).map(str::as_bytes),
        to: Some(&to),
        correlation_id: correlation_id.as_ref().and_then(EncodedId::id),
        content_type: system(SystemProperty::ContentType).map(SymbolText),
        content_encoding: system(SystemProperty::ContentEncoding).map(SymbolText),
        absolute_expiry_time: expiry.map(Timestamp::unix_milliseconds),
        ..Properties::default()
    };
    let lock_token = lock_token.to_string();
    let mut payload = Vec::with_capacity(record.body.len() + 512);
    MessageWriter::new(&mut payload)
        .message_annotations(|annotations| {
            let count = u8::try_from(message.delivery_count).unwrap_or(u8::MAX);
            annotations.symbol("iothub-enqueuedtime", &Value::Timestamp(message.enqueued.unix_milliseconds()));
            annotations.symbol("iothub-deliverycount", &Value::UByte(count));
            annotations.symbol("x-opt-sequence-number", &Value::ULong(message.sequence));
            annotations.symbol("x-opt-lock-token", &Value::String(&lock_token));
        })
        .properties(&properties)
        .application_properties(|properties| {
            for (name, value) in &record.application_properties {
                properties.string(name, &Value::String(value));
            }
            properties.string("iothub-ack", &Value::String(message.acknowledgement.as_str()));
        })
        .data(&record.body);
    payload
}
