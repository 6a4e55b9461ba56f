//! Direct methods under way (twins §3.2, design "Methods"): parked until the principal can take them, delivered once,
//! answered by any of its connections.

use std::collections::HashMap;

use bytes::Bytes;
use model::Principal;
use proto::shard::v1::{self, MethodAnswer, MethodCallId, shard_frame::Body};

use super::{Push, Sessions, entry::Held};

/// Calls of one principal under way at most.
pub const CALLS_OF_PRINCIPAL_MAX: usize = 32;
/// Calls of the group under way at most.
pub const CALLS_MAX: usize = 16_384;

/// A call as its caller asks for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub name: String,
    /// JSON text.
    pub payload: Bytes,
}

/// What happened to a call.
#[derive(Clone, Debug, PartialEq)]
pub enum CallEvent {
    /// It is on its way to the device.
    Delivered(u64),
    Answered(u64, MethodAnswer),
}

/// As many calls are under way as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many methods are under way")]
pub struct TooManyCalls;

/// All calls of a group, and those of each principal.
#[derive(Default)]
pub(super) struct Calls {
    newest: u64,
    under_way: HashMap<u64, UnderWay>,
    of_principals: HashMap<Principal, Vec<u64>>,
    events: Vec<CallEvent>,
}

struct UnderWay {
    principal: Principal,
    /// `None` once it is delivered: it is never sent twice.
    parked: Option<Call>,
}

impl Sessions {
    /// Takes a call; delivers it when the principal is connected and interested, or else once it is.
    pub fn call_method(&mut self, principal: &Principal, call: Call) -> Result<u64, TooManyCalls> {
        let calls = &mut self.calls;
        let of_principal = calls.of_principals.get(principal).map_or(0, Vec::len);
        if of_principal >= CALLS_OF_PRINCIPAL_MAX || calls.under_way.len() >= CALLS_MAX {
            return Err(TooManyCalls);
        }
        calls.newest += 1;
        let counter = calls.newest;
        calls.under_way.insert(counter, UnderWay { principal: principal.clone(), parked: Some(call) });
        calls.of_principals.entry(principal.clone()).or_default().push(counter);
        self.deliver_methods(principal);
        Ok(counter)
    }

    /// Delivers what is parked for the principal, if it can be.
    pub(super) fn deliver_methods(&mut self, principal: &Principal) {
        let Some(session) = self.sessions.get(principal) else { return };
        let Held::Live { link, connection_id } = session.held else { return };
        if !session.interests.methods || self.lost.contains_key(&link) {
            return;
        }
        for counter in self.calls.of_principals.get(principal).into_iter().flatten() {
            let under_way = self.calls.under_way.get_mut(counter);
            let Some(call) = under_way.and_then(|under_way| under_way.parked.take()) else { continue };
            let called = v1::MethodCalled {
                principal: Some(principal.into()),
                connection_id: Some(connection_id.into()),
                call_id: Some(MethodCallId { leadership: self.leadership, counter: *counter }),
                name: call.name,
                payload: call.payload,
            };
            self.pushes.push(Push { link, body: Body::MethodCalled(called) });
            self.calls.events.push(CallEvent::Delivered(*counter));
        }
    }

    /// A device answered. Late answers, and those to calls of others, are dropped.
    pub fn method_answered(&mut self, principal: &Principal, call_id: MethodCallId, answer: MethodAnswer) {
        let under_way = self.calls.under_way.get(&call_id.counter);
        let is_awaited = under_way.is_some_and(|it| it.principal == *principal && it.parked.is_none());
        if call_id.leadership == self.leadership && is_awaited {
            self.end_method(call_id.counter);
            self.calls.events.push(CallEvent::Answered(call_id.counter, answer));
        }
    }

    /// The call is over, or nobody waits for it any more.
    pub fn end_method(&mut self, counter: u64) {
        let Some(UnderWay { principal, .. }) = self.calls.under_way.remove(&counter) else { return };
        if let Some(of_principal) = self.calls.of_principals.get_mut(&principal) {
            of_principal.retain(|other| *other != counter);
            if of_principal.is_empty() {
                self.calls.of_principals.remove(&principal);
            }
        }
    }

    /// Whether the principal may come back within the window after a change of leader or stream.
    pub fn is_expected(&self, principal: &Principal) -> bool {
        self.sessions.get(principal).is_some_and(|session| match session.held {
            Held::Expected => true,
            Held::Live { link, .. } => self.lost.contains_key(&link),
            Held::Gone { .. } => false,
        })
    }

    /// What happened to calls since the last time, in order.
    pub fn take_call_events(&mut self) -> Vec<CallEvent> {
        std::mem::take(&mut self.calls.events)
    }
}
