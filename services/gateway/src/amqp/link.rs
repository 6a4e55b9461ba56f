//! The links of a connection, and what waits on them.

use std::collections::{HashMap, VecDeque};

use amqp::{Attach, Delivery, DeliveryState, DeliveryTag, LinkId, MESSAGE_FORMAT, Outgoing, SendError};
use model::Principal;
use shard_client::NoticeId;

use super::{authority::TokenKey, connection::Connection};
use crate::front::ByteClaim;

/// Messages that wait for credit on one link.
pub(super) const OUTBOX_MAX: usize = 128;

/// What a link of a device is for, seen from the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum DeviceLink {
    Telemetry,
    /// Messages for the device.
    DeviceBound,
    /// Where IoT Edge hands routed messages to a module; a hub has none.
    Inputs,
    MethodCalls,
    MethodAnswers,
    TwinRequests,
    TwinAnswers,
}

/// What a link is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is not answered yet.
    Asked,
    CbsRequests,
    CbsAnswers,
    Device(Principal, DeviceLink),
    /// A back end sends messages for devices; by which token.
    Send(TokenKey),
    /// A back end hears what became of them.
    Feedback(TokenKey),
    /// A back end hears of files that devices uploaded.
    FileNotifications(TokenKey),
    /// Requests to `$management` of the Event Hubs-compatible endpoint.
    ManagementRequests,
    /// Answers to them, on the link that the peer calls so.
    ManagementAnswers {
        name: Option<Box<str>>,
    },
    /// Events of a partition; its reader is in `Connection::readers`.
    Events,
}

/// A link that the peer asked for.
pub(super) struct Link {
    pub kind: Kind,
    /// Deliveries that came before the link was answered (amqp R22).
    pub early: Vec<Delivery>,
    /// Their bytes.
    early_claim: Option<ByteClaim>,
    /// The newest flow that came early asks for what there is, and to hear that it was all.
    pub drains_early: bool,
    outbox: VecDeque<Queued>,
    /// Deliveries that were sent and wait for an outcome.
    pub in_hand: HashMap<u32, InHand>,
}

/// A message that is to be sent.
pub(super) struct Queued {
    pub tag: DeliveryTag,
    pub payload: Vec<u8>,
    /// `None`: it is settled.
    pub in_hand: Option<InHand>,
}

/// What a delivery was, for its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InHand {
    /// A message of the device's queue.
    Message { sequence: u64 },
    /// Feedback or a file notification.
    Notice(NoticeId),
}

impl Link {
    pub fn asked() -> Self {
        Self {
            kind: Kind::Asked,
            early: Vec::new(),
            early_claim: None,
            drains_early: false,
            outbox: VecDeque::new(),
            in_hand: HashMap::new(),
        }
    }
}

impl Queued {
    /// A message that wants no outcome, under a tag of its own (amqp R6).
    pub fn settled(payload: Vec<u8>) -> Self {
        Self { tag: uuid::Uuid::new_v4().to_bytes_le().into(), payload, in_hand: None }
    }
}

impl Connection {
    /// Takes a link that was asked for, and looks at what came early (amqp R22). One that is gone meanwhile is over.
    pub(super) fn accept(&mut self, id: LinkId, answer: Attach, credit: u32, kind: Kind) {
        let Some(link) = self.links.get_mut(&id) else { return self.link_ended(id, kind) };
        link.kind = kind;
        let (early, drains) = (std::mem::take(&mut link.early), link.drains_early);
        let _claim = link.early_claim.take();
        self.waiting -= early.len();
        self.protocol.accept(id, answer, credit);
        early.into_iter().for_each(|delivery| self.on_delivery(delivery));
        self.on_credit(id, drains);
    }

    /// Keeps a delivery until its link is answered.
    pub(super) fn keep_early(&mut self, delivery: Delivery) {
        let Some(link) = self.links.get_mut(&delivery.link) else { return };
        link.early_claim.get_or_insert_with(|| self.front.claim_bytes(0)).grow(delivery.payload.len());
        link.early.push(delivery);
        self.waiting += 1;
    }

    /// Refuses a link that was asked for.
    pub(super) fn refuse(&mut self, id: LinkId, error: amqp::Error) {
        if let Some(link) = self.links.remove(&id) {
            self.waiting -= link.early.len();
            self.protocol.refuse(id, error);
        }
    }

    /// Ends a link.
    pub(super) fn detach(&mut self, id: LinkId, error: amqp::Error) {
        if let Some(link) = self.links.remove(&id) {
            self.waiting -= link.early.len();
            self.protocol.detach(id, Some(error));
            self.link_ended(id, link.kind);
        }
    }

    /// Says what became of a delivery of the peer, if it wants to know.
    pub(super) fn settle(&mut self, delivery: (LinkId, u32, bool), state: DeliveryState) {
        let (link, id, settled) = delivery;
        if !settled {
            self.protocol.settle(link, id, state);
        }
    }

    /// Sends the message now or when there is credit. False: as many wait as may.
    pub(super) fn send(&mut self, id: LinkId, message: Queued) -> bool {
        let Some(link) = self.links.get_mut(&id) else { return true };
        if link.outbox.len() >= OUTBOX_MAX {
            return false;
        }
        link.outbox.push_back(message);
        self.send_waiting(id);
        true
    }

    /// Sends what waits on the link, as far as it goes.
    pub(super) fn send_waiting(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        while let Some(message) = link.outbox.front() {
            let settled = message.in_hand.is_none();
            let outgoing =
                Outgoing { tag: message.tag, message_format: MESSAGE_FORMAT, settled, payload: &message.payload };
            match self.protocol.send(id, &outgoing) {
                Ok(delivery_id) => {
                    if let Some(in_hand) = message.in_hand {
                        link.in_hand.insert(delivery_id, in_hand);
                    }
                }
                // What the peer does not take is not sent; a message in hand goes back when its lock is over.
                Err(SendError::TooLarge { max }) => tracing::warn!(max, "a message is too large for the client"),
                Err(SendError::Gone) => {}
                Err(_) => return self.blocked.extend(Some(id)),
            }
            link.outbox.pop_front();
        }
        link.outbox = VecDeque::new(); // an idle link keeps no queue
    }
}
