//! Live connections of this gateway, announced to the leaders of their groups.

mod live;
mod news;
mod stream;

use std::sync::Arc;

use model::{ConnectionId, Credentials, Principal, Subscription};
use tokio::time::{Instant, sleep, timeout_at};

use crate::{AttachError, Mailbox, ShardClient, Unavailable, trying::Backoff};
pub(crate) use live::Attachments;
pub(crate) use stream::run;

/// A connection whose credential is verified.
#[derive(Clone, Debug)]
pub struct NewAttachment {
    pub principal: Principal,
    /// What the credential was verified against.
    pub credentials: Credentials,
    /// CONNECT with CleanSession 1: the stored session, cleared before, is not looked at.
    pub clean_session: bool,
    /// The device's announcement of its model (twins §7.1).
    pub model_id: Option<String>,
}

/// The connection is the principal's newest, as of now. Ends with [`ShardClient::detach`].
#[derive(Clone, Debug)]
pub struct Attachment {
    pub connection_id: ConnectionId,
    /// Whether there was a stored session (CONNACK's SessionPresent).
    pub session_present: bool,
    /// The filters of the stored session.
    pub subscriptions: Vec<Subscription>,
    /// Where the session's events arrive.
    pub mailbox: Arc<Mailbox>,
}

impl ShardClient {
    /// Announces a connection; it becomes the principal's newest, and what happens to its session appears in its
    /// mailbox. Changes of leader are handled without the caller. Dropping the future leaves nothing attached.
    pub async fn attach(&self, attach: NewAttachment) -> Result<Attachment, AttachError> {
        let deadline = Instant::now() + self.inner.config.request_timeout;
        let attachments = self.inner.attachments_of(&attach.principal).ok_or(Unavailable::Protocol("no such group"))?;
        let mut backoff = Backoff::new();
        loop {
            let answer = attachments.begin(&attach)?;
            match timeout_at(deadline, answer).await {
                Ok(Ok(Ok(unclaimed))) => return unclaimed.claim().ok_or(Unavailable::Timeout.into()),
                Ok(Ok(Err(AttachError::Unavailable(Unavailable::Busy)))) if Instant::now() < deadline => {
                    sleep(backoff.pause()).await;
                }
                Ok(Ok(Err(error))) => return Err(error),
                Ok(Err(_)) | Err(_) => return Err(Unavailable::NoLeader.into()),
            }
        }
    }

    /// The connection ended. Does nothing when it is not the principal's newest on this gateway, for instance because
    /// its mailbox said so.
    pub fn detach(&self, principal: &Principal, connection_id: ConnectionId) {
        if let Some(attachments) = self.inner.attachments_of(principal) {
            attachments.detach(principal, connection_id);
        }
    }

    /// The connected principal did something. Told to the shard at most once a minute.
    pub fn active(&self, principal: &Principal) {
        if let Some(attachments) = self.inner.attachments_of(principal) {
            attachments.active(principal);
        }
    }
}
