//! Back ends hear what became of messages for devices, and of files that devices uploaded (amqp §6.2, §6.3). Each notice
//! goes to one of those that listen.

use std::time::Duration;

use amqp::{DeliveryState, LinkId, MessageWriter, Outcome, Properties, SymbolText, Value};
use model::Timestamp;
use serde_json::Value as Json;
use shard_client::{MessageError, NoticeId};
use uuid::Uuid;

use super::{
    connection::Connection,
    error,
    link::{InHand, Queued},
    message::EncodedId,
};
use crate::{feedback, file_notification, front::Front};

/// How often it is asked for while somebody listens: nobody tells when there is some.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// What a link tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notices {
    Feedback,
    Files,
}

/// One that is to be sent.
struct Notice {
    id: NoticeId,
    content_type: &'static str,
    enqueued: Timestamp,
    delivery_count: u8,
    body: Json,
}

impl Notices {
    async fn receive(self, front: &Front) -> Result<Option<Notice>, MessageError> {
        let (token, client) = (Uuid::new_v4().as_u64_pair().1, &front.shard_client);
        match self {
            Self::Feedback => {
                let settings = front.cloud_to_device();
                let [lock, flush] =
                    [settings.feedback_lock_seconds, settings.feedback_flush_seconds].map(Duration::from_secs);
                let Some(batch) = client.receive_feedback(token, lock, flush).await? else { return Ok(None) };
                front.metrics.device_bound.feedback.inc_by(batch.feedback.len() as u64);
                Ok(Some(Notice {
                    id: batch.id,
                    content_type: feedback::CONTENT_TYPE,
                    enqueued: batch.enqueued,
                    delivery_count: 0,
                    body: feedback::to_json(&batch),
                }))
            }
            Self::Files => {
                let lock = Duration::from_secs(front.config.file_notifications.lock_seconds);
                let notification = client.receive_file_notification(token, lock).await?;
                Ok(notification.map(|notification| Notice {
                    id: notification.id,
                    content_type: file_notification::CONTENT_TYPE,
                    enqueued: notification.enqueued,
                    delivery_count: u8::try_from(notification.delivery_count).unwrap_or(u8::MAX),
                    body: file_notification::to_json(&notification),
                }))
            }
        }
    }

    /// Is done with one, or gives it back.
    async fn settle(self, front: &Front, id: NoticeId, complete: bool) -> Result<(), MessageError> {
        let client = &front.shard_client;
        match (self, complete) {
            (Self::Feedback, true) => client.complete_feedback(id).await,
            (Self::Feedback, false) => {
                client.abandon_feedback(id, front.cloud_to_device().feedback_max_delivery_count).await
            }
            (Self::Files, true) => client.complete_file_notification(id).await,
            (Self::Files, false) => {
                client.abandon_file_notification(id, front.config.file_notifications.max_delivery_count).await
            }
        }
    }
}

impl Connection {
    /// Asks for a notice, if the link takes one and was not asked for already.
    pub(super) fn ask_for_notice(&mut self, id: LinkId, notices: Notices) {
        let has_room = self.protocol.sendable(id) > 0;
        if !has_room || !self.asking_for_notices.insert(id) {
            return;
        }
        let front = self.front.clone();
        let received = async move { notices.receive(&front).await };
        self.start(received, move |connection, received| connection.on_notice(id, notices, received));
    }

    fn on_notice(&mut self, id: LinkId, notices: Notices, received: Result<Option<Notice>, MessageError>) {
        if let Ok(Some(notice)) = received {
            self.asking_for_notices.remove(&id);
            let lock_token = feedback::lock_token(notice.id);
            let payload = notice.encode(self.front.host_names.first(), lock_token);
            let in_hand = Some(InHand::Notice(notice.id));
            self.send(id, Queued { tag: lock_token.to_bytes_le().into(), payload, in_hand });
            return self.ask_for_notice(id, notices);
        }
        if let Err(error) = received {
            tracing::debug!(%error, ?notices, "none can be had");
        }
        self.after(ASK_EVERY, move |connection| {
            connection.asking_for_notices.remove(&id);
            connection.ask_for_notice(id, notices);
        });
    }

    /// Accepted and rejected ones are done with; others go to the next who listens. The answer says whether that is so now
    /// (amqp R18).
    pub(super) fn on_notice_outcome(&mut self, outcome: Outcome, notices: Notices) {
        let Outcome { link, id, state, settled, .. } = outcome;
        let in_hand = self.links.get_mut(&link).and_then(|link| link.in_hand.remove(&id));
        let Some(InHand::Notice(notice)) = in_hand else { return };
        let complete = match &state {
            Some(DeliveryState::Accepted | DeliveryState::Rejected(_)) => true,
            Some(DeliveryState::Released | DeliveryState::Modified(_)) => false,
            // Nothing was said: it is to be had again when its lock is over.
            Some(DeliveryState::Received(_)) | None => return,
        };
        let front = self.front.clone();
        let settling = async move { notices.settle(&front, notice, complete).await };
        self.start(settling, move |connection, done| {
            let state = match done {
                Ok(()) => DeliveryState::Accepted,
                Err(error) => DeliveryState::rejected(error::message(&error)),
            };
            connection.settle((link, id, settled), state);
        });
    }
}

impl Notice {
    /// The envelope that every client looks for: the user is the hub (amqp §6.2).
    fn encode(&self, hub: &str, lock_token: Uuid) -> Vec<u8> {
        let message_id = EncodedId::string(&lock_token.to_string());
        let body = self.body.to_string();
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
