//! Every message is delivered at least once, never after its completion was acknowledged, in the order of its sequence, and
//! to nobody else while a token has it in hand; who asked for feedback gets it, once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use shard_client::{FeedbackOutcome, Holder};

use super::Event;

/// Names a message to any device.
pub type MessageId = u64;

/// Clocks of leaders differ, so a message may expire so much earlier or later than whoever sent it thinks.
const CLOCK_DIFFERENCE_MAX: Duration = Duration::from_secs(12);
/// How long a token has a message in hand; clocks of leaders differ by less.
pub const TOKEN_LOCK: Duration = Duration::from_secs(30);

#[derive(Default)]
pub struct Messages {
    messages: BTreeMap<MessageId, Message>,
    /// The batch that told of a message.
    told_by: BTreeMap<MessageId, (u32, u64)>,
    settled_batches: BTreeSet<(u32, u64)>,
}

struct Message {
    device: String,
    began: Event,
    outcome: Outcome,
    expires: Option<Duration>,
    wanted: Wanted,
    sequence: Option<u64>,
    delivered: bool,
    /// By a token, since then.
    held: Option<(u64, Event, Duration)>,
    settlements: Vec<(Settlement, Option<Event>)>,
    feedback: Option<FeedbackOutcome>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Unknown,
    Enqueued(Event),
    Refused,
}

/// Whether the sender wants to hear of the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Nothing,
    Everything,
}

/// What a device does with a message for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    Complete,
    Reject,
}

impl Messages {
    pub fn begin_enqueue(
        &mut self,
        began: Event,
        device: &str,
        expires: Option<Duration>,
        wanted: Wanted,
    ) -> MessageId {
        let id = self.messages.len() as MessageId + 1;
        let message = Message {
            device: device.to_owned(),
            began,
            outcome: Outcome::Unknown,
            expires,
            wanted,
            sequence: None,
            delivered: false,
            held: None,
            settlements: Vec::new(),
            feedback: None,
        };
        self.messages.insert(id, message);
        id
    }

    pub fn enqueued(&mut self, id: MessageId, ended: Event) {
        self.messages.entry(id).and_modify(|message| message.outcome = Outcome::Enqueued(ended));
    }

    pub fn refused(&mut self, id: MessageId) {
        self.messages.entry(id).and_modify(|message| message.outcome = Outcome::Refused);
    }

    /// A device has the message in hand; it asked at that event and time, and got it now.
    pub fn received(
        &mut self,
        (asked, asked_at): (Event, Duration),
        now: Event,
        (device, holder): (&str, Holder),
        id: MessageId,
        sequence: u64,
    ) -> Result<(), String> {
        let Some(message) = self.messages.get_mut(&id) else { return Err(format!("message {id} was never sent")) };
        message.delivered = true;
        let known = *message.sequence.get_or_insert(sequence);
        if message.device != device {
            return Err(format!("message {id} is for {}, and came to {device}", message.device));
        }
        if known != sequence {
            return Err(format!("message {id} came as {known} and as {sequence}: it was taken twice"));
        }
        if message.outcome == Outcome::Refused {
            return Err(format!("message {id} was refused, and came"));
        }
        let settled = message.settlements.iter().find(|(_, settled)| settled.is_some_and(|settled| settled < asked));
        if let Some((settlement, _)) = settled {
            return Err(format!("message {id} came again after {settlement:?} was acknowledged"));
        }
        let in_hand = message
            .held
            .filter(|(_, since, at)| *since < asked && asked_at < *at + (TOKEN_LOCK - CLOCK_DIFFERENCE_MAX));
        if let Some((token, ..)) = in_hand
            && holder != Holder::Token(token)
        {
            return Err(format!("message {id} is in the hand of {token}, and came to {holder:?}"));
        }
        message.held = match holder {
            Holder::Token(token) => Some((token, now, asked_at)),
            Holder::Connection(_) => None,
        };
        match message.expires {
            Some(expires) if asked_at > expires + CLOCK_DIFFERENCE_MAX => {
                Err(format!("message {id} came too late: asked for at {asked_at:?}, it expired at {expires:?}"))
            }
            _ => self.check_order(id),
        }
    }

    /// A device got the message by MQTT, which does not tell its sequence, nor when it was asked for.
    pub fn published(&mut self, device: &str, id: MessageId) -> Result<(), String> {
        let Some(message) = self.messages.get_mut(&id) else { return Err(format!("message {id} was never sent")) };
        message.delivered = true;
        match message.device == device && message.outcome != Outcome::Refused {
            true => Ok(()),
            false => Err(format!("message {id} for {} came to {device}, or was refused", message.device)),
        }
    }

    /// A device is about to acknowledge it, which completes it some time.
    pub fn begin_acknowledge(&mut self, id: MessageId) {
        if let Some(message) = self.messages.get_mut(&id) {
            message.settlements.push((Settlement::Complete, None));
        }
    }

    fn check_order(&self, id: MessageId) -> Result<(), String> {
        let Some(one) = self.messages.get(&id) else { return Ok(()) };
        for (other_id, other) in self.messages.iter().filter(|(_, other)| other.device == one.device) {
            let (Some(sequence), Some(other_sequence)) = (one.sequence, other.sequence) else { continue };
            let before = |first: &Message, second: &Message| matches!(first.outcome, Outcome::Enqueued(end) if end < second.began);
            if (before(one, other) && sequence >= other_sequence) || (before(other, one) && other_sequence >= sequence)
            {
                return Err(format!("message {id} has sequence {sequence}, message {other_id} has {other_sequence}"));
            }
        }
        Ok(())
    }

    /// A device is about to be done with a message, or to give it back.
    pub fn begin_settle(&mut self, id: MessageId, settlement: Option<Settlement>) {
        if let Some(message) = self.messages.get_mut(&id) {
            message.held = None;
            message.settlements.extend(settlement.map(|settlement| (settlement, None)));
        }
    }

    pub fn settled(&mut self, id: MessageId, settlement: Settlement, ended: Event) {
        if let Some(message) = self.messages.get_mut(&id) {
            message.settlements.push((settlement, Some(ended)));
        }
    }

    /// A back end was told of an end.
    pub fn told(&mut self, batch: (u32, u64), id: MessageId, outcome: FeedbackOutcome) -> Result<(), String> {
        if self.settled_batches.contains(&batch) {
            return Err(format!("the feedback {batch:?} came again after it was settled"));
        }
        let by = *self.told_by.entry(id).or_insert(batch);
        if by != batch {
            return Err(format!("message {id} ended twice: feedback {by:?} and {batch:?}"));
        }
        let Some(message) = self.messages.get_mut(&id) else { return Err(format!("feedback about {id}, never sent")) };
        message.feedback = Some(outcome);
        let did = |settlement| message.settlements.iter().any(|(it, _)| *it == settlement);
        let possible = message.wanted == Wanted::Everything
            && match outcome {
                FeedbackOutcome::Success => did(Settlement::Complete),
                FeedbackOutcome::Rejected => did(Settlement::Reject),
                FeedbackOutcome::Expired => message.expires.is_some(),
                FeedbackOutcome::DeliveryCountExceeded | FeedbackOutcome::Purged => false,
            };
        if possible { Ok(()) } else { Err(format!("message {id} is told to have ended by {outcome:?}")) }
    }

    pub fn batch_settled(&mut self, batch: (u32, u64)) {
        self.settled_batches.insert(batch);
    }

    /// Everything that waited was fetched: what was taken has come, and so has the feedback.
    pub fn check_end(&self) -> Result<(), String> {
        for (id, message) in &self.messages {
            let taken = matches!(message.outcome, Outcome::Enqueued(_));
            if taken && !message.delivered && message.expires.is_none() {
                return Err(format!("message {id} was taken, and never came"));
            }
            let ended = message.settlements.iter().any(|(_, settled)| settled.is_some());
            if ended && message.wanted == Wanted::Everything && message.feedback.is_none() {
                return Err(format!("message {id} has ended, and nobody was told"));
            }
        }
        Ok(())
    }
}
