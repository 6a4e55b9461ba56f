//! Back ends hear of files that devices uploaded (amqp §6.3). Each notification goes to one of those that listen.

use std::time::Duration;

use amqp::{DeliveryState, LinkId, Outcome};
use serde_json::{Value as Json, json};
use shard_client::{FileNotification, MessageError};
use uuid::Uuid;

use super::{
    connection::Connection,
    error,
    feedback::{ASK_EVERY, Notice, is_done_with},
    link::{InHand, Queued},
};
use crate::feedback;

const CONTENT_TYPE: &str = "application/vnd.microsoft.iothub.filenotification.json";

impl Connection {
    /// Asks for a notification, if the link takes one and was not asked for already.
    pub(super) fn ask_for_file_notification(&mut self, id: LinkId) {
        let has_room = self.protocol.sendable(id) > 0;
        if !has_room || !self.asking_for_notices.insert(id) {
            return;
        }
        let front = self.front.clone();
        let received = async move {
            let lock = Duration::from_secs(front.config.file_notifications.lock_seconds);
            front.shard_client.receive_file_notification(Uuid::new_v4().as_u64_pair().1, lock).await
        };
        self.start(received, move |connection, received| connection.on_file_notification(id, received));
    }

    fn on_file_notification(&mut self, id: LinkId, received: Result<Option<FileNotification>, MessageError>) {
        match received {
            Ok(Some(notification)) => {
                self.asking_for_notices.remove(&id);
                let lock_token = feedback::lock_token(notification.id);
                let notice = Notice {
                    content_type: CONTENT_TYPE,
                    enqueued: notification.enqueued,
                    delivery_count: u8::try_from(notification.delivery_count).unwrap_or(u8::MAX),
                    lock_token,
                };
                let payload = notice.encode(self.front.host_names.first(), &to_json(&notification));
                let in_hand = Some(InHand::FileNotification(notification.id));
                self.send(id, Queued { tag: lock_token.to_bytes_le().into(), payload, in_hand });
                return self.ask_for_file_notification(id);
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "no file notification can be had"),
        }
        self.after(ASK_EVERY, move |connection| {
            connection.asking_for_notices.remove(&id);
            connection.ask_for_file_notification(id);
        });
    }

    /// Accepted and rejected ones are done with; others go to the next who listens. The answer says whether that is so now
    /// (amqp R18).
    pub(super) fn on_file_notification_outcome(&mut self, outcome: Outcome) {
        let Outcome { link, id, state, settled, .. } = outcome;
        let in_hand = self.links.get_mut(&link).and_then(|link| link.in_hand.remove(&id));
        let Some(InHand::FileNotification(notification)) = in_hand else { return };
        let Some(complete) = is_done_with(state.as_ref()) else { return };
        let front = self.front.clone();
        let settling = async move {
            if complete {
                return front.shard_client.complete_file_notification(notification).await;
            }
            let count_max = front.config.file_notifications.max_delivery_count;
            front.shard_client.abandon_file_notification(notification, count_max).await
        };
        self.start(settling, move |connection, done| {
            let state = match done {
                Ok(()) => DeliveryState::Accepted,
                Err(error) => DeliveryState::rejected(error::message(&error)),
            };
            connection.settle((link, id, settled), state);
        });
    }
}

/// The keys and their case are what clients look for. The time of the file is in whole seconds with an offset, because the
/// SDK for Java reads nothing else.
fn to_json(notification: &FileNotification) -> Json {
    let file = &notification.file;
    let updated = jiff::Timestamp::from_second(file.last_updated.unix_seconds()).unwrap_or_default();
    json!({
        "deviceId": file.device_id.as_str(),
        "blobUri": file.blob_uri,
        "blobName": file.blob_name,
        "lastUpdatedTime": updated.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string(),
        "blobSizeInBytes": file.blob_size_bytes,
        "enqueuedTimeUtc": notification.enqueued.to_string(),
    })
}
