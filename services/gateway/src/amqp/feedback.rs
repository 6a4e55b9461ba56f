//! Back ends hear what became of messages for devices (amqp §6.2). Each batch goes to one of those that listen.

use std::time::Duration;

use amqp::{DeliveryState, LinkId, MessageWriter, Outcome, Properties, SymbolText, Value};
use model::Timestamp;
use serde_json::Value as Json;
use shard_client::{FeedbackBatch, MessageError};
use uuid::Uuid;

use super::{
    connection::Connection,
    error,
    link::{InHand, Queued},
    message::EncodedId,
};
use crate::feedback;

/// How often it is asked for while somebody listens: nobody tells when there is some.
pub(super) const ASK_EVERY: Duration = Duration::from_secs(1);

impl Connection {
    /// Asks for a batch, if the link takes one and was not asked for already.
    pub(super) fn ask_for_feedback(&mut self, id: LinkId) {
        let has_room = self.protocol.sendable(id) > 0;
        if !has_room || !self.asking_for_notices.insert(id) {
            return;
        }
        let front = self.front.clone();
        let received = async move {
            let settings = front.cloud_to_device();
            let lock = Duration::from_secs(settings.feedback_lock_seconds);
            let flush = Duration::from_secs(settings.feedback_flush_seconds);
            front.shard_client.receive_feedback(Uuid::new_v4().as_u64_pair().1, lock, flush).await
        };
        self.start(received, move |connection, received| connection.on_feedback(id, received));
    }

    fn on_feedback(&mut self, id: LinkId, received: Result<Option<FeedbackBatch>, MessageError>) {
        if let Ok(Some(batch)) = received {
            self.asking_for_notices.remove(&id);
            self.front.metrics.device_bound.feedback.inc_by(batch.feedback.len() as u64);
            let lock_token = feedback::lock_token(batch.id);
            let payload = encode(self.front.host_names.first(), &batch, lock_token);
            let in_hand = Some(InHand::Feedback(batch.id));
            self.send(id, Queued { tag: lock_token.to_bytes_le().into(), payload, in_hand });
            return self.ask_for_feedback(id);
        }
        if let Err(error) = received {
            tracing::debug!(%error, "no feedback can be had");
        }
        self.after(ASK_EVERY, move |connection| {
            connection.asking_for_notices.remove(&id);
            connection.ask_for_feedback(id);
        });
    }

    /// Accepted and rejected batches are done with; others go to the next who listens. The answer says whether that is so
    /// now (amqp R18).
    pub(super) fn on_feedback_outcome(&mut self, outcome: Outcome) {
        let Outcome { link, id, state, settled, .. } = outcome;
        let delivery = (link, id, settled);
        let in_hand = self.links.get_mut(&link).and_then(|link| link.in_hand.remove(&id));
        let Some(InHand::Feedback(batch)) = in_hand else { return };
        let front = self.front.clone();
        let Some(complete) = is_done_with(state.as_ref()) else { return };
        let settling = async move {
            if complete {
                front.shard_client.complete_feedback(batch).await
            } else {
                let count_max = front.cloud_to_device().feedback_max_delivery_count;
                front.shard_client.abandon_feedback(batch, count_max).await
            }
        };
        self.start(settling, move |connection, done| {
            connection.settle(
                delivery,
                match done {
                    Ok(()) => DeliveryState::Accepted,
                    Err(error) => DeliveryState::rejected(error::message(&error)),
                },
            );
        });
    }
}

/// Whether a back end is done with what it had in hand, or gives it back; `None`: nothing was said, and it is to be had
/// again when its lock is over.
pub(super) fn is_done_with(state: Option<&DeliveryState>) -> Option<bool> {
    match state {
        Some(DeliveryState::Accepted | DeliveryState::Rejected(_)) => Some(true),
        Some(DeliveryState::Released | DeliveryState::Modified(_)) => Some(false),
        Some(DeliveryState::Received(_)) | None => None,
    }
}

fn encode(hub: &str, batch: &FeedbackBatch, lock_token: Uuid) -> Vec<u8> {
    let notice =
        Notice { content_type: feedback::CONTENT_TYPE, enqueued: batch.enqueued, delivery_count: 0, lock_token };
    notice.encode(hub, &feedback::to_json(batch))
}

/// What a back end hears of.
pub(super) struct Notice {
    pub content_type: &'static str,
    pub enqueued: Timestamp,
    pub delivery_count: u8,
    pub lock_token: Uuid,
}

impl Notice {
    /// In the envelope that every client looks for: the user is the hub (amqp §6.2).
    pub fn encode(&self, hub: &str, body: &Json) -> Vec<u8> {
        let message_id = EncodedId::string(&self.lock_token.to_string());
        let body = body.to_string();
        let properties = Properties {
            message_id: message_id.id(),
            user_id: Some(hub.as_bytes()),
            content_type: Some(SymbolText(self.content_type)),
            ..Properties::default()
        };
        let mut payload = Vec::with_capacity(body.len() + 256);
        MessageWriter::new(&mut payload)
            .message_annotations(|annotations| {
                annotations.symbol("iothub-enqueuedtime", &Value::Timestamp(self.enqueued.unix_milliseconds()));
                annotations.symbol("iothub-deliverycount", &Value::UByte(self.delivery_count));
            })
            .properties(&properties)
            .data(body.as_bytes());
        payload
    }
}
