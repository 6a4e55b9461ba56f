//! Queues against a small model: what waits, what is in whose hands, and what is told of it.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proto::shard::v1::{Acknowledgement, ConnectionId, Settlement};

use super::*;
use crate::state::received;

/// Entries of the tests are a second apart.
const SECOND: i64 = 1_000_000;
const DELIVERY_COUNT_MAX: u32 = 3;

#[derive(Clone, Debug)]
enum Step {
    Enqueue { lives_seconds: i64 },
    Receive { by: Hand, lock_seconds: u32 },
    Settle { by: Hand, position: usize, settlement: Settlement },
    Release { connection: u64 },
    Expire,
    Purge,
}

/// A connection, or a token.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Hand {
    Connection(u64),
    Token(u64),
}

fn hand() -> impl Strategy<Value = Hand> {
    prop_oneof![(1..4_u64).prop_map(Hand::Connection), (1..4_u64).prop_map(Hand::Token)]
}

fn step() -> impl Strategy<Value = Step> {
    let settlement = prop_oneof![Just(Settlement::Complete), Just(Settlement::Reject), Just(Settlement::Abandon)];
    prop_oneof![
        4 => (1..30_i64).prop_map(|lives_seconds| Step::Enqueue { lives_seconds }),
        4 => (hand(), 1..20_u32).prop_map(|(by, lock_seconds)| Step::Receive { by, lock_seconds }),
        4 => (hand(), 0..6_usize, settlement)
            .prop_map(|(by, position, settlement)| Step::Settle { by, position, settlement }),
        1 => (1..4_u64).prop_map(|connection| Step::Release { connection }),
        2 => Just(Step::Expire),
        1 => Just(Step::Purge),
    ]
}

/// A message of the model.
#[derive(Clone, Debug, PartialEq)]
struct Toy {
    expires: i64,
    /// When it is looked at whether it has expired.
    looked_at: i64,
    delivery_count: u32,
    held: Option<(Hand, i64)>,
}

/// The queue in a few lines: messages by sequence, and how many left it each way.
#[derive(Default)]
struct Model {
    messages: BTreeMap<u64, Toy>,
    last: u64,
    left: BTreeMap<&'static str, usize>,
}

impl Model {
    fn leave(&mut self, sequence: u64, how: &'static str) {
        self.messages.remove(&sequence);
        *self.left.entry(how).or_default() += 1;
    }

    fn receive(&mut self, by: Hand, lock_seconds: u32, time: i64) -> Vec<u64> {
        let mut taken = Vec::new();
        for (sequence, message) in self.messages.clone() {
            let is_newer = |held| matches!((held, by), (Hand::Connection(held), Hand::Connection(by)) if held < by);
            if message.held.is_some_and(|(held, until)| until > time && !is_newer(held)) {
                continue;
            }
            if message.expires <= time {
                self.leave(sequence, "expired");
            } else if taken.len() < 2 {
                self.messages
                    .insert(sequence, Toy { held: Some((by, time + i64::from(lock_seconds) * SECOND)), ..message });
                taken.push(sequence);
            } else {
                break;
            }
        }
        taken
    }

    /// Whether it was in those hands.
    fn settle(&mut self, by: Hand, sequence: u64, settlement: Settlement, time: i64) -> bool {
        let Some(message) = self.messages.get(&sequence).cloned() else { return false };
        let holds =
            message.held.is_some_and(|(held, until)| held == by && (matches!(by, Hand::Connection(_)) || until > time));
        if !holds {
            return false;
        }
        match settlement {
            Settlement::Complete => self.leave(sequence, "completed"),
            Settlement::Reject => self.leave(sequence, "rejected"),
            _ if message.delivery_count + 1 >= DELIVERY_COUNT_MAX => self.leave(sequence, "exceeded"),
            _ => {
                let waiting = Toy { held: None, delivery_count: message.delivery_count + 1, ..message };
                self.messages.insert(sequence, waiting);
            }
        }
        true
    }

    fn expire(&mut self, time: i64) {
        for (sequence, message) in self.messages.clone() {
            match message.held.filter(|(_, until)| *until > time) {
                _ if message.looked_at > time => {}
                None => self.leave(sequence, "expired"),
                // It is looked at again when it is out of that hand.
                Some((_, until)) => {
                    self.messages.insert(sequence, Toy { looked_at: until, ..message });
                }
            }
        }
    }
}

fn connection(by: Hand) -> (u64, Option<ConnectionId>) {
    match by {
        Hand::Connection(counter) => (100 + counter, Some(ConnectionId { leadership: 1, counter })),
        Hand::Token(token) => (token, None),
    }
}

fn settle(by: Hand, sequences: Vec<u64>, settlement: Settlement) -> Operation {
    let (token, connection_id) = connection(by);
    Operation::SettleMessages(v1::SettleMessages {
        principal: Some(principal("d", None)),
        sequences,
        settlement: settlement as i32,
        token,
        connection_id,
    })
}

/// The queue as it is stored.
fn stored(group: &Group) -> Result<Vec<(u64, u32)>, StoreError> {
    let id = (&principal("d", None)).try_into().unwrap_or_else(|_| unreachable!());
    let messages = crate::state::messages(&group.rows, &id)?;
    Ok(messages.iter().map(|message| (message.sequence, message.delivery_count)).collect())
}

fn count(group: &Group) -> Result<u32, StoreError> {
    match group.device("d")? {
        Answer::Device(device) => Ok(device.presence.unwrap_or_default().cloud_to_device_message_count),
        _ => Err(StoreError::Corrupt("no device".into())),
    }
}

fn play(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let (mut group, mut model) = (Group::default(), Model::default());
    let failed = |error: StoreError| TestCaseError::fail(error.to_string());
    group.put(device("d"), ABSENT).map_err(failed)?;
    for step in steps {
        let time = group.time + SECOND; // of the entry that comes
        match step {
            Step::Enqueue { lives_seconds } => {
                let expiry_time = time + lives_seconds * SECOND;
                let command = v1::EnqueueMessage {
                    principal: Some(principal("d", None)),
                    expiry_time,
                    acknowledgement: Acknowledgement::Full as i32,
                    delivery_count_max: DELIVERY_COUNT_MAX,
                    feedback_seconds: 1_000_000,
                    ..v1::EnqueueMessage::default()
                };
                let outcome = group.command(Operation::EnqueueMessage(command)).map_err(failed)?;
                if model.messages.len() >= 50 {
                    prop_assert_eq!(code(outcome), Some(Code::QueueFull));
                } else {
                    model.last += 1;
                    let message = Toy { expires: expiry_time, looked_at: expiry_time, delivery_count: 0, held: None };
                    model.messages.insert(model.last, message);
                    prop_assert_eq!(outcome, DONE);
                }
            }
            Step::Receive { by, lock_seconds } => {
                let (token, connection_id) = connection(by);
                let command = v1::ReceiveMessages {
                    principal: Some(principal("d", None)),
                    limit: 2,
                    lock_milliseconds: lock_seconds * 1000,
                    token,
                    connection_id,
                };
                let outcome = group.command(Operation::ReceiveMessages(command)).map_err(failed)?;
                let Outcome::Messages(answer) = outcome else { return Err(TestCaseError::fail("no messages")) };
                prop_assert_eq!(&answer.sequences, &model.receive(by, lock_seconds, time));
                let id = (&principal("d", None)).try_into().unwrap_or_else(|_| unreachable!());
                let handed_out = received(&group.rows, &id, &answer.sequences, token).map_err(failed)?;
                prop_assert_eq!(handed_out.len(), answer.sequences.len());
            }
            Step::Settle { by, position, settlement } => {
                let sequence = model.messages.keys().nth(position).copied().unwrap_or(1);
                let outcome = group.command(settle(by, vec![sequence], settlement)).map_err(failed)?;
                let held = model.settle(by, sequence, settlement, time);
                prop_assert_eq!(code(outcome), (!held).then_some(Code::LockLost));
            }
            Step::Release { connection } => {
                let by = Hand::Connection(connection);
                group.command(settle(by, vec![], Settlement::Release)).map_err(failed)?;
                let held = |message: &&mut Toy| message.held.is_some_and(|(held, _)| held == by);
                model.messages.values_mut().filter(held).for_each(|message| message.held = None);
            }
            Step::Expire => {
                group.kind(Kind::ExpireMessages(v1::ExpireMessages {})).map_err(failed)?;
                model.expire(time);
            }
            Step::Purge => {
                let command = v1::PurgeMessages { principal: Some(principal("d", None)) };
                let outcome = group.command(Operation::PurgeMessages(command)).map_err(failed)?;
                prop_assert_eq!(outcome, Outcome::PurgedCount(model.messages.len() as u64));
                for sequence in model.messages.keys().copied().collect::<Vec<_>>() {
                    model.leave(sequence, "purged");
                }
            }
        }
        let expected: Vec<_> = model.messages.iter().map(|(sequence, it)| (*sequence, it.delivery_count)).collect();
        prop_assert_eq!(stored(&group).map_err(failed)?, expected);
        prop_assert_eq!(count(&group).map_err(failed)? as usize, model.messages.len());
    }
    // Every message that left is told of, once.
    let mut told = 0;
    loop {
        let command = v1::ReceiveFeedback { lock_milliseconds: 3_600_000, token: 7, flush_milliseconds: 0 };
        match group.command(Operation::ReceiveFeedback(command)).map_err(failed)? {
            Outcome::Feedback(batch) => {
                let batch = crate::state::feedback_batch(&group.rows, batch.number, 7).map_err(failed)?;
                told += batch.unwrap_or_default().feedback.len();
            }
            _ => break,
        }
    }
    prop_assert_eq!(told, model.left.values().sum::<usize>());
    Ok(())
}

proptest! {
    #[test]
    fn a_queue_is_what_the_model_says(steps in prop::collection::vec(step(), 1..80)) {
        play(steps)?;
    }
}

/// What expires in somebody's hand, and falls out of it, is handed to nobody any more.
#[test]
fn what_expired_in_a_hand_is_not_handed_out_again() -> Tested {
    let mut group = Group::default();
    group.put(device("d"), ABSENT)?;
    group.command(Operation::EnqueueMessage(v1::EnqueueMessage {
        principal: Some(principal("d", None)),
        expiry_time: group.time + 3 * SECOND,
        acknowledgement: Acknowledgement::Full as i32,
        delivery_count_max: DELIVERY_COUNT_MAX,
        ..v1::EnqueueMessage::default()
    }))?;
    let receive = |by| {
        let (token, connection_id) = connection(by);
        let principal = Some(principal("d", None));
        let command = v1::ReceiveMessages { principal, limit: 2, lock_milliseconds: 60_000, token, connection_id };
        Operation::ReceiveMessages(command)
    };
    let Outcome::Messages(received) = group.command(receive(Hand::Connection(1)))? else { panic!("no messages") };
    assert_eq!(received.sequences, [1]);
    for _ in 0..3 {
        group.kind(Kind::ExpireMessages(v1::ExpireMessages {}))?;
    }
    assert_eq!(count(&group)?, 1, "it is in a hand");
    let Outcome::Messages(received) = group.command(receive(Hand::Connection(2)))? else { panic!("no messages") };
    assert_eq!(received.sequences, [0; 0], "the newer connection takes over, but not what has expired");
    assert_eq!(count(&group)?, 0);
    Ok(())
}

#[test]
fn feedback_waits_for_more_or_for_its_time() -> Tested {
    let mut group = Group::default();
    group.put(device("d"), ABSENT)?;
    let enqueue = || {
        Operation::EnqueueMessage(v1::EnqueueMessage {
            principal: Some(principal("d", None)),
            expiry_time: i64::MAX,
            acknowledgement: Acknowledgement::Full as i32,
            delivery_count_max: 1,
            feedback_seconds: 3600,
            ..v1::EnqueueMessage::default()
        })
    };
    let receive = |flush_milliseconds| {
        Operation::ReceiveFeedback(v1::ReceiveFeedback { lock_milliseconds: 60_000, token: 7, flush_milliseconds })
    };
    let purge = || Operation::PurgeMessages(v1::PurgeMessages { principal: Some(principal("d", None)) });
    group.command(enqueue())?;
    group.command(purge())?;
    assert_eq!(group.command(receive(15_000))?, DONE, "one outcome waits");
    for _ in 0..2 {
        for _ in 0..32 {
            group.command(enqueue())?;
        }
        group.command(purge())?;
    }
    let Outcome::Feedback(batch) = group.command(receive(1_000_000_000))? else { panic!("64 do not wait") };
    let number = batch.number;
    let full = crate::state::feedback_batch(&group.rows, number, 7)?.unwrap_or_default();
    assert_eq!(full.feedback.len(), 64);
    let settle = |token, complete| {
        Operation::SettleFeedback(v1::SettleFeedback { number, token, complete, delivery_count_max: 2 })
    };
    assert_eq!(code(group.command(settle(8, true))?), Some(Code::LockLost));
    assert_eq!(group.command(settle(7, false))?, DONE);
    let Outcome::Feedback(again) = group.command(receive(1_000_000_000))? else { panic!("it was given back") };
    assert_eq!(again.number, number);
    assert_eq!(group.command(settle(7, true))?, DONE);
    assert_eq!(code(group.command(settle(7, true))?), Some(Code::LockLost));
    let Outcome::Feedback(last) = group.command(receive(1000))? else { panic!("the last one is old enough") };
    for (count, gone) in [(1, false), (2, true)] {
        let give_back = v1::SettleFeedback { number: last.number, token: 7, complete: false, delivery_count_max: 2 };
        assert_eq!(group.command(Operation::SettleFeedback(give_back))?, DONE);
        let again = group.command(receive(1_000_000_000))?;
        assert_eq!(again == DONE, gone, "given back {count} times");
    }
    Ok(())
}
