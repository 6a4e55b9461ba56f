//! Telling connections of their desired properties: every version once, in order (twins §2.6, design "Pushes"); and that
//! messages wait.

use model::{ConnectionId, Principal};
use proto::shard::v1::{self, DesiredDelta, detached::Reason, shard_frame::Body};

use super::{Now, Push, Sessions, entry::Held};

impl Sessions {
    /// The connection knows, or can read, that version; it is told later ones.
    pub fn desired_is_at(&mut self, principal: &Principal, version: u64) {
        if let Some(session) = self.sessions.get_mut(principal) {
            session.desired_version = version;
        }
    }

    /// The desired properties were written. A version that the connection has is not told again.
    pub fn desired_updated(&mut self, principal: &Principal, delta: DesiredDelta) {
        let Some(session) = self.sessions.get_mut(principal) else { return };
        let Held::Live { link, connection_id } = session.held else { return };
        if delta.version <= session.desired_version {
            return;
        }
        session.desired_version = delta.version;
        if session.interests.desired_properties {
            let updated = v1::DesiredUpdated {
                principal: Some(principal.into()),
                connection_id: Some(connection_id.into()),
                delta: Some(delta),
            };
            self.pushes.push(Push { link, body: Body::DesiredUpdated(updated) });
        }
    }

    /// The connection missed versions that are not at hand any more: if it is interested it ends, so that the device
    /// reads its twin.
    pub fn missed_updates(&mut self, principal: &Principal, connection_id: ConnectionId, now: Now) {
        let Some(session) = self.sessions.get(principal) else { return };
        if let Held::Live { link, connection_id: newest } = session.held
            && newest == connection_id
            && session.interests.desired_properties
        {
            self.push_detached(link, principal, connection_id, Reason::MissedUpdates);
            self.hold(principal, Held::Gone { newest }, now);
        }
    }

    /// A message can be had: a connection that is interested is told to ask for it.
    pub fn messages_waiting(&mut self, principal: &Principal) {
        let Some(session) = self.sessions.get(principal) else { return };
        if let Held::Live { link, connection_id } = session.held
            && session.interests.device_bound_messages
        {
            let waiting =
                v1::MessagesWaiting { principal: Some(principal.into()), connection_id: Some(connection_id.into()) };
            self.pushes.push(Push { link, body: Body::MessagesWaiting(waiting) });
        }
    }
}
