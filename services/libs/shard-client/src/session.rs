//! The stored MQTT session of a principal (mqtt §2.6).

use model::{ConnectionId, Interests, Principal, Subscription};
use proto::shard::v1::{self, command::Operation, command_result::Outcome};

use crate::{SessionError, ShardClient, Unavailable};

impl ShardClient {
    /// Adds filters to the stored session, making it when there is none; a connection with CleanSession 1 names none. The
    /// shard tells the connection of its interests from now on. Durable once it returns, so that SUBACK may follow.
    pub async fn subscribe(
        &self,
        principal: &Principal,
        connection_id: ConnectionId,
        subscriptions: &[Subscription],
        interests: Interests,
    ) -> Result<(), SessionError> {
        self.interested(principal, connection_id, interests);
        let command = v1::Subscribe {
            principal: Some(principal.into()),
            connection_id: Some(connection_id.into()),
            subscriptions: subscriptions.iter().map(Into::into).collect(),
            interests: interests.to_bits(),
        };
        self.change_session(principal, Operation::Subscribe(command)).await
    }

    /// Removes filters from the stored session, which stays; a connection with CleanSession 1 names none. `interests` are
    /// those that are left.
    pub async fn unsubscribe(
        &self,
        principal: &Principal,
        connection_id: ConnectionId,
        filters: &[String],
        interests: Interests,
    ) -> Result<(), SessionError> {
        self.interested(principal, connection_id, interests);
        let command = v1::Unsubscribe {
            principal: Some(principal.into()),
            connection_id: Some(connection_id.into()),
            filters: filters.to_vec(),
            interests: interests.to_bits(),
        };
        self.change_session(principal, Operation::Unsubscribe(command)).await
    }

    /// Forgets the stored session. A CONNECT with CleanSession 1 does this before it attaches.
    pub async fn clear_session(&self, principal: &Principal) -> Result<(), SessionError> {
        let command = v1::ClearSession { principal: Some(principal.into()) };
        self.change_session(principal, Operation::ClearSession(command)).await
    }

    /// A leader to come hears of it when the connection is attached again.
    fn interested(&self, principal: &Principal, connection_id: ConnectionId, interests: Interests) {
        if let Some(attachments) = self.inner.attachments_of(principal) {
            attachments.interested(principal, connection_id, interests);
        }
    }

    async fn change_session(&self, principal: &Principal, operation: Operation) -> Result<(), SessionError> {
        match self.inner.command(self.inner.group_of(&principal.device_id), operation).await? {
            Outcome::Done(_) => Ok(()),
            Outcome::Error(error) => Err(error.into()),
            _ => Err(Unavailable::Protocol("a command's outcome is of another kind").into()),
        }
    }
}
