//! What the shard is told that a device wants to hear: one change at a time, and the newest last.

use amqp::{Attach, LinkId};
use model::{Interests, Principal};
use shard_client::SessionError;

use super::{
    attach::CREDIT,
    connection::Connection,
    device::Device,
    error,
    link::{DeviceLink, Kind},
};
use crate::twin_requests::SessionEnd;

/// What follows once the shard knows.
pub(super) enum Then {
    Nothing,
    Accept {
        link: LinkId,
        answer: Box<Attach>,
        kind: Kind,
    },
    /// The answer to a request of the twin's updates.
    AnswerTwin(Box<super::twin::Asked>),
}

/// Changes of one device.
#[derive(Default)]
pub(super) struct Changing {
    told: Interests,
    is_under_way: bool,
    waiting: Vec<Then>,
}

impl Changing {
    /// Requests and links that will not be answered.
    pub fn unanswered(&self) -> usize {
        unanswered(&self.waiting)
    }
}

fn unanswered(waiting: &[Then]) -> usize {
    waiting.iter().filter(|then| !matches!(then, Then::Nothing)).count()
}

impl Device {
    /// Methods need both their links (amqp §5.4).
    fn interests(&self) -> Interests {
        let has = |purpose| self.links.contains_key(&purpose);
        Interests {
            methods: has(DeviceLink::MethodCalls) && has(DeviceLink::MethodAnswers),
            desired_properties: self.twin.is_subscribed,
            device_bound_messages: has(DeviceLink::DeviceBound),
        }
    }
}

impl Connection {
    /// Tells the shard what the device wants now, if that is new, and then does that. What the peer waits for counts as
    /// waiting already.
    pub(super) fn change_interests(&mut self, principal: &Principal, then: Then) {
        let Some(device) = self.devices.get_mut(principal) else {
            self.waiting -= unanswered(&[then]);
            return;
        };
        let waiting = &mut device.changing.waiting;
        if !matches!((waiting.last(), &then), (Some(Then::Nothing), Then::Nothing)) {
            waiting.push(then);
        }
        if device.changing.is_under_way {
            return;
        }
        let interests = device.interests();
        let waiting = std::mem::take(&mut device.changing.waiting);
        if interests == device.changing.told {
            return waiting.into_iter().for_each(|then| self.follow(principal, then, &Ok(())));
        }
        device.changing.is_under_way = true;
        let (front, principal, connection_id) = (self.front.clone(), principal.clone(), device.connection_id);
        let told = async move {
            let told = front.shard_client.subscribe(&principal, connection_id, &[], interests).await;
            (principal, told)
        };
        self.start(told, move |connection, (principal, told)| {
            let Some(device) = connection.device(&principal, connection_id) else {
                connection.waiting -= unanswered(&waiting);
                return;
            };
            device.changing.is_under_way = false;
            if told.is_ok() {
                device.changing.told = interests;
            }
            match told {
                Err(SessionError::NotFound) => {
                    connection.waiting -= unanswered(&waiting);
                    return connection.end_session(&principal, SessionEnd::Deleted);
                }
                Err(SessionError::ConnectionReplaced) => {
                    connection.waiting -= unanswered(&waiting);
                    return connection.end_session(&principal, SessionEnd::Replaced);
                }
                _ => waiting.into_iter().for_each(|then| connection.follow(&principal, then, &told)),
            }
            // What was asked for meanwhile.
            let is_new = |device: &mut Device| !device.changing.waiting.is_empty();
            if connection.device(&principal, connection_id).is_some_and(is_new) {
                connection.change_interests(&principal, Then::Nothing);
            }
        });
    }

    fn follow(&mut self, principal: &Principal, then: Then, told: &Result<(), SessionError>) {
        match then {
            Then::Nothing => {}
            Then::Accept { link, answer, kind } => {
                self.waiting -= 1;
                match told {
                    Ok(()) => self.accept(link, *answer, CREDIT, kind),
                    Err(error) => {
                        let error = error::detach_forced(error.to_string());
                        self.refuse(link, error);
                        if let Kind::Device(principal, purpose) = kind {
                            self.device_link_ended(link, &principal, purpose);
                        }
                    }
                }
            }
            Then::AnswerTwin(asked) => self.answer_subscription(principal, *asked, told.is_ok()),
        }
    }
}
