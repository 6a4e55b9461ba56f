//! Deliveries from the peer.

use bytes::{Bytes, BytesMut};

use super::{
    Delivery, Event, Fault, LinkId, Shared,
    link::{LinkState, unattached},
    numbers::distance,
    session::Session,
    shared::session_fault,
};
use crate::{DeliveryState, DeliveryTag, Error, Role, Transfer, condition};

/// A delivery of which frames are missing.
#[derive(Debug)]
pub(super) struct Incomplete {
    id: u32,
    tag: DeliveryTag,
    message_format: u32,
    settled: bool,
    pub payload: BytesMut,
}

impl Session {
    pub fn on_transfer(&mut self, transfer: Transfer, payload: Bytes, shared: &mut Shared) -> Result<(), Fault> {
        self.count_incoming(shared);
        let Some(link) = self.by_remote_handle(transfer.handle) else {
            let may_be_late = self.remote_handles.may_be_gone(transfer.handle);
            return if may_be_late { Ok(()) } else { Err(unattached(transfer.handle)) };
        };
        let (id, is_first) = (link.id, link.incomplete.is_none());
        // A link that is gone: what was on its way is dropped (amqp R29).
        if link.state == LinkState::Detaching {
            return Ok(());
        }
        if link.role == Role::Sender {
            return Err(session_fault(condition::ERRANT_LINK, "a transfer on a link whose sender is the other end"));
        }
        let received = if is_first {
            self.first_frame(id, transfer, payload, shared)?
        } else {
            self.next_frame(id, &transfer, &payload, shared)
        };
        if let Err(error) = received {
            self.detach_faulty(id, error, shared);
        }
        Ok(())
    }

    /// The outer result is about the session, the inner one about the link.
    fn first_frame(
        &mut self,
        link_id: LinkId,
        transfer: Transfer,
        payload: Bytes,
        shared: &mut Shared,
    ) -> Result<Result<(), Error>, Fault> {
        let Some(id) = transfer.delivery_id else {
            return Ok(Err(Error::new(
                condition::INVALID_FIELD,
                "the first transfer of a delivery has no delivery-id",
            )));
        };
        // Numbers of one session go up (AMQP 1.0 §2.6.12).
        if self.last_incoming_delivery.is_some_and(|last| distance(last, id) <= 0) {
            return Err(session_fault(
                condition::INVALID_FIELD,
                format!("delivery-id {id} is not above the one before"),
            ));
        }
        self.last_incoming_delivery = Some(id);
        let Some(link) = self.link_mut(link_id) else { return Ok(Ok(())) };
        // A sender may not have heard of its credit yet, or not care (amqp R20).
        link.delivery_count = link.delivery_count.wrapping_add(1);
        link.credit = link.credit.saturating_sub(1);
        if transfer.aborted == Some(true) {
            return Ok(Ok(()));
        }
        let delivery = Delivery {
            link: link_id,
            id,
            tag: transfer.delivery_tag.unwrap_or(DeliveryTag::EMPTY),
            message_format: transfer.message_format.unwrap_or(crate::MESSAGE_FORMAT),
            settled: transfer.settled == Some(true),
            payload,
        };
        if transfer.more {
            link.incomplete = Some(Box::new(Incomplete {
                id,
                tag: delivery.tag,
                message_format: delivery.message_format,
                settled: delivery.settled,
                payload: BytesMut::new(),
            }));
            return Ok(self.append(link_id, &delivery.payload, shared));
        }
        if link.message_bytes_max > 0 && delivery.payload.len() as u64 > link.message_bytes_max {
            return Ok(Err(too_large(link.message_bytes_max)));
        }
        Ok(self.complete(delivery, shared))
    }

    /// A frame that continues a delivery may repeat its id, or leave it out (amqp R30).
    fn next_frame(
        &mut self,
        link_id: LinkId,
        transfer: &Transfer,
        payload: &Bytes,
        shared: &mut Shared,
    ) -> Result<(), Error> {
        let Some(link) = self.link_mut(link_id) else { return Ok(()) };
        let Some(incomplete) = &mut link.incomplete else { return Ok(()) };
        if transfer.delivery_id.is_some_and(|id| id != incomplete.id) {
            return Err(Error::new(condition::INVALID_FIELD, "a delivery begins before the one before is complete"));
        }
        incomplete.settled |= transfer.settled == Some(true);
        if transfer.aborted == Some(true) {
            shared.incomplete_bytes -= link.incomplete_bytes();
            link.incomplete = None;
            self.renew_credit(link_id, shared);
            return Ok(());
        }
        self.append(link_id, payload, shared)?;
        if transfer.more {
            return Ok(());
        }
        let Some(incomplete) = self.link_mut(link_id).and_then(|link| link.incomplete.take()) else { return Ok(()) };
        shared.incomplete_bytes -= incomplete.payload.len();
        let Incomplete { id, tag, message_format, settled, payload } = *incomplete;
        self.complete(Delivery { link: link_id, id, tag, message_format, settled, payload: payload.freeze() }, shared)
    }

    fn append(&mut self, link_id: LinkId, payload: &[u8], shared: &mut Shared) -> Result<(), Error> {
        let Some(link) = self.link_mut(link_id) else { return Ok(()) };
        let limit = link.message_bytes_max;
        let Some(incomplete) = &mut link.incomplete else { return Ok(()) };
        if limit > 0 && (incomplete.payload.len() + payload.len()) as u64 > limit {
            return Err(too_large(limit));
        }
        if shared.incomplete_bytes + payload.len() > shared.config.incomplete_bytes_max {
            return Err(Error::new(
                condition::RESOURCE_LIMIT_EXCEEDED,
                "too many bytes of deliveries that are not complete",
            ));
        }
        shared.incomplete_bytes += payload.len();
        incomplete.payload.extend_from_slice(payload);
        Ok(())
    }

    fn complete(&mut self, delivery: Delivery, shared: &mut Shared) -> Result<(), Error> {
        let link_id = delivery.link;
        if !delivery.settled {
            if shared.unsettled_incoming >= shared.config.unsettled_incoming_max {
                return Err(Error::new(condition::TRANSFER_LIMIT_EXCEEDED, "too many deliveries wait to be settled"));
            }
            shared.unsettled_incoming += usize::from(self.incoming.insert(delivery.id, link_id));
            if let Some(link) = self.link_mut(link_id) {
                link.unsettled += 1;
            }
        }
        shared.event(Event::Delivery(delivery));
        self.renew_credit(link_id, shared);
        Ok(())
    }

    /// Says what became of a delivery, once: settled, and with a state (amqp R16).
    pub fn settle_incoming(&mut self, link_id: LinkId, id: u32, state: DeliveryState, shared: &mut Shared) -> bool {
        if self.incoming.get(id) != Some(&link_id) {
            return false;
        }
        self.incoming.remove(id);
        shared.unsettled_incoming -= 1;
        shared.output.settle(self.id.channel, Role::Receiver, id, state);
        self.settled_incoming(link_id, shared);
        true
    }

    /// One delivery fewer waits to be settled.
    pub fn settled_incoming(&mut self, link_id: LinkId, shared: &mut Shared) {
        if let Some(link) = self.link_mut(link_id) {
            link.unsettled = link.unsettled.saturating_sub(1);
        }
        self.renew_credit(link_id, shared);
    }
}

fn too_large(limit: u64) -> Error {
    Error::new(condition::MESSAGE_SIZE_EXCEEDED, format!("a message has more than {limit} bytes"))
}
