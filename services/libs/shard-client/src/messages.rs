//! Messages for devices, and feedback about them (messaging §4).

use std::time::Duration;

use bytes::Bytes;
use model::{ConnectionId, GroupId, Principal, Record, Timestamp};
use proto::shard::v1::{
    self, Acknowledgement, Settlement, command::Operation, command_result::Outcome, feedback::Outcome as End,
};

use crate::{MessageError, ShardClient, Unavailable};

/// A message as a back end sends it.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// What the sender set, and the body.
    pub record: Record<'static>,
    pub acknowledgement: Acknowledge,
    /// When it is too late to deliver it.
    pub expires: Timestamp,
    /// How often it may be given back.
    pub delivery_count_max: u32,
    /// How long its feedback is kept.
    pub feedback_kept: Duration,
}

/// Which outcomes the sender wants to hear of: `iothub-ack`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acknowledge {
    #[default]
    None,
    Positive,
    Negative,
    Full,
}

impl Acknowledge {
    const NAMES: [(Self, Acknowledgement, &str); 4] = [
        (Self::None, Acknowledgement::None, "none"),
        (Self::Positive, Acknowledgement::Positive, "positive"),
        (Self::Negative, Acknowledgement::Negative, "negative"),
        (Self::Full, Acknowledgement::Full, "full"),
    ];

    /// One of the four words, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(.., name)| name.eq_ignore_ascii_case(text)).map(|(value, ..)| *value)
    }

    /// As it stands on the wire.
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(value, ..)| *value == self).map_or("none", |(.., name)| name)
    }
}

/// A message in hand.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceivedMessage {
    /// Position in its queue, from 1.
    pub sequence: u64,
    pub enqueued: Timestamp,
    pub expires: Timestamp,
    pub acknowledgement: Acknowledge,
    pub record: Record<'static>,
    /// How often it was given back.
    pub delivery_count: u32,
    /// Whether it was in somebody's hands before.
    pub was_delivered: bool,
}

/// What a receive gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Received {
    pub messages: Vec<ReceivedMessage>,
    /// More could be had at once.
    pub has_more: bool,
    /// When the next message that somebody has in hand may be had again.
    pub available: Option<Timestamp>,
}

/// Whose hand messages are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The newest connection of the principal; a newer one takes them over.
    Connection(ConnectionId),
    /// Whoever knows the token.
    Token(u64),
}

/// What becomes of a message in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    Complete,
    Reject,
    /// Counts as a failed delivery.
    Abandon,
}

/// Outcomes for a back end, handed out together.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedbackBatch {
    pub id: NoticeId,
    pub enqueued: Timestamp,
    pub feedback: Vec<Feedback>,
}

/// Names what a back end has in hand, feedback or a file notification, with the group that keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoticeId {
    pub group: u32,
    pub number: u64,
    pub token: u64,
}

/// What became of one message.
#[derive(Clone, Debug, PartialEq)]
pub struct Feedback {
    pub time: Timestamp,
    pub outcome: FeedbackOutcome,
    pub original_message_id: String,
    pub principal: Principal,
    pub generation_id: String,
}

/// How a message left its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedbackOutcome {
    Success,
    Expired,
    DeliveryCountExceeded,
    Rejected,
    Purged,
}

pub(crate) const UNEXPECTED: Unavailable = Unavailable::Protocol("a command's outcome is of another kind");

impl ShardClient {
    /// Puts the message into the principal's queue; durable once it returns.
    pub async fn enqueue_message(&self, principal: &Principal, message: &NewMessage) -> Result<(), MessageError> {
        let mut record = Vec::new();
        proto::encode_record(&message.record, &mut record);
        let names = Acknowledge::NAMES.iter();
        let acknowledgement = names.clone().find(|(value, ..)| *value == message.acknowledgement);
        let command = v1::EnqueueMessage {
            principal: Some(principal.into()),
            expiry_time: message.expires.unix_microseconds(),
            acknowledgement: acknowledgement.map_or(Acknowledgement::None, |(_, value, _)| *value) as i32,
            record: record.into(),
            delivery_count_max: message.delivery_count_max,
            feedback_seconds: u32::try_from(message.feedback_kept.as_secs()).unwrap_or(u32::MAX),
        };
        self.done(principal, Operation::EnqueueMessage(command)).await
    }

    /// Takes the oldest messages that can be had in hand, for so long.
    pub async fn receive_messages(
        &self,
        principal: &Principal,
        holder: Holder,
        limit: u32,
        lock: Duration,
    ) -> Result<Received, MessageError> {
        let (token, connection_id) = parts(holder);
        let command = v1::ReceiveMessages {
            principal: Some(principal.into()),
            limit,
            lock_milliseconds: u32::try_from(lock.as_millis()).unwrap_or(u32::MAX),
            token,
            connection_id,
        };
        match self.message_command(principal, Operation::ReceiveMessages(command)).await? {
            Outcome::Messages(received) => Ok(received.try_into()?),
            Outcome::Error(error) => Err(error.into()),
            _ => Err(UNEXPECTED.into()),
        }
    }

    /// Settles messages in hand. [`MessageError::LockLost`] when one of them is not in that hand any more; the others are
    /// settled.
    pub async fn settle_messages(
        &self,
        principal: &Principal,
        holder: Holder,
        sequences: &[u64],
        settle: Settle,
    ) -> Result<(), MessageError> {
        let settlement = match settle {
            Settle::Complete => Settlement::Complete,
            Settle::Reject => Settlement::Reject,
            Settle::Abandon => Settlement::Abandon,
        };
        self.settle(principal, holder, sequences, settlement).await
    }

    /// Gives back all that the connection has in hand; it does not count as a failed delivery.
    pub async fn release_messages(&self, principal: &Principal, connection: ConnectionId) -> Result<(), MessageError> {
        self.settle(principal, Holder::Connection(connection), &[], Settlement::Release).await
    }

    async fn settle(
        &self,
        principal: &Principal,
        holder: Holder,
        sequences: &[u64],
        settlement: Settlement,
    ) -> Result<(), MessageError> {
        let (token, connection_id) = parts(holder);
        let command = v1::SettleMessages {
            principal: Some(principal.into()),
            sequences: sequences.to_vec(),
            settlement: settlement as i32,
            token,
            connection_id,
        };
        self.done(principal, Operation::SettleMessages(command)).await
    }

    /// Removes all messages of the principal; answers how many.
    pub async fn purge_messages(&self, principal: &Principal) -> Result<u64, MessageError> {
        let command = v1::PurgeMessages { principal: Some(principal.into()) };
        match self.message_command(principal, Operation::PurgeMessages(command)).await? {
            Outcome::PurgedCount(count) => Ok(count),
            Outcome::Error(error) => Err(error.into()),
            _ => Err(UNEXPECTED.into()),
        }
    }

    /// The next batch of feedback of any group, taken in hand for so long; a batch is made of what waits when it is
    /// enough, or older than `flush`.
    pub async fn receive_feedback(
        &self,
        token: u64,
        lock: Duration,
        flush: Duration,
    ) -> Result<Option<FeedbackBatch>, MessageError> {
        let milliseconds = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
        let command = v1::ReceiveFeedback {
            lock_milliseconds: milliseconds(lock),
            token,
            flush_milliseconds: milliseconds(flush),
        };
        match self.receive_notice(token, &Operation::ReceiveFeedback(command)).await? {
            Some((group, Outcome::Feedback(batch))) => Ok(Some(feedback_batch(batch, group, token)?)),
            Some(_) => Err(UNEXPECTED.into()),
            None => Ok(None),
        }
    }

    /// Is done with a batch.
    pub async fn complete_feedback(&self, id: NoticeId) -> Result<(), MessageError> {
        self.settle_feedback(id, true, 1).await
    }

    /// Gives a batch back; one that was given back so often is dropped.
    pub async fn abandon_feedback(&self, id: NoticeId, delivery_count_max: u32) -> Result<(), MessageError> {
        self.settle_feedback(id, false, delivery_count_max).await
    }

    async fn settle_feedback(&self, id: NoticeId, complete: bool, delivery_count_max: u32) -> Result<(), MessageError> {
        let command = v1::SettleFeedback { number: id.number, token: id.token, complete, delivery_count_max };
        self.settle_notice(id, Operation::SettleFeedback(command)).await
    }

    /// What the first group that has something answers. The groups take turns in being the first; one that cannot answer
    /// is told of only when the others have nothing.
    pub(crate) async fn receive_notice(
        &self,
        token: u64,
        operation: &Operation,
    ) -> Result<Option<(GroupId, Outcome)>, MessageError> {
        let mut groups: Vec<GroupId> = GroupId::devices(self.inner.config.groups).collect();
        let first = token % groups.len().max(1) as u64;
        groups.rotate_left(first as usize);
        let mut refused = None;
        for group in groups {
            match self.inner.command(group, operation.clone()).await {
                Ok(Outcome::Done(_)) => {}
                Ok(Outcome::Error(error)) => refused = Some(error.into()),
                Ok(outcome) => return Ok(Some((group, outcome))),
                Err(error) => refused = Some(error.into()),
            }
        }
        refused.map_or(Ok(None), Err)
    }

    /// Settles what a back end has in hand, in the group that its id names.
    pub(crate) async fn settle_notice(&self, id: NoticeId, operation: Operation) -> Result<(), MessageError> {
        if id.group == GroupId::HUB.0 || id.group > self.inner.config.groups {
            return Err(MessageError::LockLost);
        }
        done(self.inner.command(GroupId(id.group), operation).await?)
    }

    async fn done(&self, principal: &Principal, operation: Operation) -> Result<(), MessageError> {
        done(self.message_command(principal, operation).await?)
    }

    async fn message_command(&self, principal: &Principal, operation: Operation) -> Result<Outcome, Unavailable> {
        self.inner.command(self.inner.group_of(&principal.device_id), operation).await
    }
}

fn parts(holder: Holder) -> (u64, Option<v1::ConnectionId>) {
    match holder {
        // The messages of a receive are found by its token, so it must be new each time.
        Holder::Connection(connection_id) => (uuid::Uuid::new_v4().as_u64_pair().1, Some(connection_id.into())),
        Holder::Token(token) => (token, None),
    }
}

impl TryFrom<v1::ReceivedMessages> for Received {
    type Error = Unavailable;

    fn try_from(received: v1::ReceivedMessages) -> Result<Self, Unavailable> {
        Ok(Self {
            messages: received.messages.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            has_more: received.has_more,
            available: received.available_time.map(Timestamp::from_unix_microseconds),
        })
    }
}

impl TryFrom<v1::DeviceBoundMessage> for ReceivedMessage {
    type Error = Unavailable;

    fn try_from(message: v1::DeviceBoundMessage) -> Result<Self, Unavailable> {
        let acknowledgement = Acknowledge::NAMES.iter().find(|(_, value, _)| *value == message.acknowledgement());
        let record: Bytes = message.record;
        Ok(Self {
            sequence: message.sequence,
            enqueued: Timestamp::from_unix_microseconds(message.enqueued_time),
            expires: Timestamp::from_unix_microseconds(message.expiry_time),
            acknowledgement: acknowledgement.map_or(Acknowledge::None, |(value, ..)| *value),
            record: proto::decode_record(record).map_err(|_| Unavailable::Protocol("a message that cannot be read"))?,
            delivery_count: message.delivery_count,
            was_delivered: message.was_delivered,
        })
    }
}

pub(crate) fn done(outcome: Outcome) -> Result<(), MessageError> {
    match outcome {
        Outcome::Done(_) => Ok(()),
        Outcome::Error(error) => Err(error.into()),
        _ => Err(UNEXPECTED.into()),
    }
}

fn feedback_batch(batch: v1::FeedbackBatch, group: GroupId, token: u64) -> Result<FeedbackBatch, Unavailable> {
    Ok(FeedbackBatch {
        id: NoticeId { group: group.0, number: batch.number, token },
        enqueued: Timestamp::from_unix_microseconds(batch.enqueued_time),
        feedback: batch.feedback.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
    })
}

impl TryFrom<v1::Feedback> for Feedback {
    type Error = Unavailable;

    fn try_from(feedback: v1::Feedback) -> Result<Self, Unavailable> {
        let outcome = match feedback.outcome() {
            End::Success => FeedbackOutcome::Success,
            End::Expired => FeedbackOutcome::Expired,
            End::DeliveryCountExceeded => FeedbackOutcome::DeliveryCountExceeded,
            End::Rejected => FeedbackOutcome::Rejected,
            End::Purged => FeedbackOutcome::Purged,
            End::Unspecified => return Err(Unavailable::Protocol("feedback without an outcome")),
        };
        let principal = feedback.principal.as_ref().ok_or(Unavailable::Protocol("feedback about nobody"))?;
        Ok(Self {
            time: Timestamp::from_unix_microseconds(feedback.time),
            outcome,
            original_message_id: feedback.original_message_id,
            principal: principal.try_into()?,
            generation_id: feedback.generation_id,
        })
    }
}
