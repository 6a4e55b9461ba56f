//! What leaders tell live connections besides their end, and what those answer.

use model::{ConnectionId, Interests, Principal};
use proto::shard::v1::{self, gateway_frame::Body};

use super::live::{Attachments, parse};
use crate::{DesiredUpdate, MethodCall};

/// Bytes of method answers that wait to be sent at most; more are dropped, and their callers time out.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// What an answer takes besides its payload, about.
const ANSWER_OVERHEAD_BYTES: usize = 256;

impl Attachments {
    /// What the connection subscribed to.
    pub fn interested(&self, principal: &Principal, connection_id: ConnectionId, interests: Interests) {
        if let Some(live) = self.state.lock().live_mut(principal, connection_id) {
            live.interests = interests;
        }
    }

    /// The leader tells of a write of the desired properties.
    pub fn desired_updated(&self, updated: v1::DesiredUpdated) {
        let Some((principal, connection_id)) = parse(updated.principal.as_ref(), updated.connection_id) else {
            return;
        };
        let Some(delta) = updated.delta else { return };
        let mut state = self.state.lock();
        let Some(live) = state.live_mut(&principal, connection_id) else { return };
        if delta.version > live.desired_version {
            live.desired_version = delta.version;
            live.mailbox.desired_updated(DesiredUpdate { version: delta.version, patch: delta.patch });
        }
    }

    /// The leader says that a message can be had.
    pub fn messages_waiting(&self, waiting: &v1::MessagesWaiting) {
        if let Some((principal, connection_id)) = parse(waiting.principal.as_ref(), waiting.connection_id)
            && let Some(live) = self.state.lock().live_mut(&principal, connection_id)
        {
            live.mailbox.messages_waiting();
        }
    }

    /// The leader passes a method on.
    pub fn method_called(&self, called: v1::MethodCalled) {
        let Some((principal, connection_id)) = parse(called.principal.as_ref(), called.connection_id) else { return };
        let Some(call_id) = called.call_id else { return };
        if let Some(live) = self.state.lock().live_mut(&principal, connection_id) {
            let call = MethodCall { call_id: call_id.into(), name: called.name, payload: called.payload };
            live.mailbox.method_called(call);
        }
    }

    /// Sends the answer to a method; drops it when there is no leader, which knows nothing of the call then.
    pub fn answer_method(&self, answered: v1::MethodAnswered) {
        let bytes = answered.answer.as_ref().map_or(0, |answer| answer.payload.len()) + ANSWER_OVERHEAD_BYTES;
        let mut state = self.state.lock();
        if !state.streaming || state.answer_bytes + bytes > ANSWER_BYTES_MAX {
            return;
        }
        state.answer_bytes += bytes;
        state.outbox.push(Body::MethodAnswered(answered));
        drop(state);
        self.changed.notify_one();
    }
}
