//! The live sessions of one group: the memory of the group's leader, as a sans-IO state machine.
//!
//! ```text
//!   gateway streams --open/close, attach, detach, activity--> Sessions --Push--> gateway streams
//!   applied entries --identity changed, deleted-------------->    |
//!   time ---------------------------------------------------->    +--connection states to write--> RecordPresence
//! ```
//!
//! The newest connection of a principal wins, cluster-wide: ids grow with the leadership and with every attachment.
//! It knows nothing of streams, Raft or the identities behind the principals. A change of leader starts an empty one;
//! gateways attach their live connections again, and for [`EXPECTED_FOR`] nobody is reported disconnected.

mod entry;
mod methods;
mod news;
mod presence;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::{Duration, Instant},
};

use model::{ConnectionId, DeviceId, Interests, Principal, Timestamp};
use proto::shard::v1::{self, detached::Reason, shard_frame::Body};

use crate::state::StoredPresence;
use entry::{Held, Session};
pub use methods::{Call, CallEvent, TooManyCalls};

#[cfg(test)]
mod tests;

/// How long sessions outlive the stream of their gateway, and the leadership that knew them, before they are reported
/// disconnected (design "Re-attach").
pub const EXPECTED_FOR: Duration = Duration::from_secs(5);

/// Smaller than every connection id that was ever given.
const NEVER: ConnectionId = ConnectionId { leadership: 0, counter: 0 };

/// One stream of a gateway, for as long as it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub u32);

/// The moment of an event, on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// What windows are measured with.
    pub instant: Instant,
    /// What is shown as connection and activity times.
    pub time: Timestamp,
}

/// A frame for a gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct Push {
    pub link: LinkId,
    pub body: Body,
}

/// A connection that is no longer, or cannot become, the principal's newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a newer connection of the same principal exists")]
pub struct Replaced;

/// Live sessions of one group under one leadership.
pub struct Sessions {
    leadership: u64,
    counter: u64,
    expected_until: Option<Instant>,
    sessions: BTreeMap<Principal, Session>,
    /// Streams that ended, and when their sessions are given up.
    lost: HashMap<LinkId, Instant>,
    /// Principals whose connection state is not written yet; each at most once.
    unwritten: VecDeque<Principal>,
    connected_devices: u64,
    pushes: Vec<Push>,
    calls: methods::Calls,
}

impl Sessions {
    /// Sessions of the leadership with that fence, which begins now.
    pub fn new(leadership: u64, now: Now) -> Self {
        Self {
            leadership,
            counter: 0,
            expected_until: Some(now.instant + EXPECTED_FOR),
            sessions: BTreeMap::new(),
            lost: HashMap::new(),
            unwritten: VecDeque::new(),
            connected_devices: 0,
            pushes: Vec::new(),
            calls: methods::Calls::default(),
        }
    }

    /// Principals that were connected under the leadership before: they stay so until the window ends.
    pub fn expect(&mut self, stored: Vec<StoredPresence>) {
        for StoredPresence { principal, presence } in stored {
            self.connected_devices += u64::from(principal.module_id.is_none());
            self.sessions.insert(principal, Session::expected(&presence));
        }
    }

    /// Frames to send since the last call, in order.
    pub fn take_pushes(&mut self) -> Vec<Push> {
        std::mem::take(&mut self.pushes)
    }

    /// Makes the connection the principal's newest and detaches the one before. `previous` names a connection that
    /// lived before a change of leader or stream: it keeps its id, and loses against a newer one.
    pub fn attach(
        &mut self,
        link: LinkId,
        principal: &Principal,
        previous: Option<ConnectionId>,
        now: Now,
    ) -> Result<ConnectionId, Replaced> {
        let held = self.sessions.get(principal).map(|session| session.held);
        let newest = held.and_then(Held::newest);
        let connection_id = match previous {
            Some(previous) if newest.is_some_and(|newest| newest > previous) => return Err(Replaced),
            Some(previous) => previous,
            None => self.next_connection_id(),
        };
        if let Some(Held::Live { link: old_link, connection_id: old }) = held
            && old != connection_id
        {
            self.push_detached(old_link, principal, old, Reason::Replaced);
        }
        self.hold(principal, Held::Live { link, connection_id }, now);
        self.interested(principal, connection_id, Interests::default());
        if previous.is_none() {
            self.active(principal, now);
        }
        Ok(connection_id)
    }

    fn next_connection_id(&mut self) -> ConnectionId {
        self.counter += 1;
        ConnectionId { leadership: self.leadership, counter: self.counter }
    }

    /// The connection ended. Only the principal's newest one makes it disconnected.
    pub fn detach(&mut self, principal: &Principal, connection_id: ConnectionId, now: Now) {
        let held = self.sessions.get(principal).map(|session| session.held);
        if let Some(Held::Live { connection_id: newest, .. }) = held
            && newest == connection_id
        {
            self.hold(principal, Held::Gone { newest }, now);
        }
    }

    /// What the connection wants to be told from now on; nothing when it is not the principal's.
    pub fn interested(&mut self, principal: &Principal, connection_id: ConnectionId, interests: Interests) {
        if let Some(session) = self.sessions.get_mut(principal)
            && session.held.newest() == Some(connection_id)
        {
            session.interests = interests;
            self.deliver_methods(principal);
        }
    }

    /// Whether a newer connection of the principal than this one is known.
    pub fn is_replaced(&self, principal: &Principal, connection_id: ConnectionId) -> bool {
        let newest = self.sessions.get(principal).and_then(|session| session.held.newest());
        newest.is_some_and(|newest| newest > connection_id)
    }

    /// The stream of a gateway ended. Its sessions have [`EXPECTED_FOR`] to come back on another.
    pub fn close(&mut self, link: LinkId, now: Now) {
        self.lost.insert(link, now.instant + EXPECTED_FOR);
    }

    /// The live connections of the device and its modules.
    pub fn of_device(&self, device_id: &DeviceId) -> Vec<Principal> {
        let first = Principal::device(device_id.clone());
        let range = self.sessions.range(first..).take_while(|(principal, _)| principal.device_id == *device_id);
        range.filter(|(_, session)| matches!(session.held, Held::Live { .. })).map(|(key, _)| key.clone()).collect()
    }

    /// Tells the gateway of the principal's connection what is stored of its identity now.
    pub fn identity_changed(&mut self, principal: &Principal, credentials: v1::Credentials) {
        if let Some(Session { held: Held::Live { link, connection_id }, .. }) = self.sessions.get(principal) {
            let changed = v1::IdentityChanged {
                principal: Some(principal.into()),
                connection_id: Some((*connection_id).into()),
                credentials: Some(credentials),
            };
            self.pushes.push(Push { link: *link, body: Body::IdentityChanged(changed) });
        }
    }

    /// The device is gone, and with it everything known of it and its modules.
    pub fn device_deleted(&mut self, device_id: &DeviceId) {
        let first = Principal::device(device_id.clone());
        let range = self.sessions.range(first..).take_while(|(principal, _)| principal.device_id == *device_id);
        let principals: Vec<_> = range.map(|(principal, _)| principal.clone()).collect();
        principals.iter().for_each(|principal| self.deleted(principal));
    }

    /// The identity of that principal is gone.
    pub fn deleted(&mut self, principal: &Principal) {
        let Some(session) = self.sessions.remove(principal) else { return };
        if session.held.is_connected() && principal.module_id.is_none() {
            self.connected_devices -= 1;
        }
        if let Held::Live { link, connection_id } = session.held {
            self.push_detached(link, principal, connection_id, Reason::Deleted);
        }
    }

    fn push_detached(&mut self, link: LinkId, principal: &Principal, connection_id: ConnectionId, reason: Reason) {
        let detached = v1::Detached {
            principal: Some(principal.into()),
            connection_id: Some(connection_id.into()),
            reason: reason as i32,
        };
        self.pushes.push(Push { link, body: Body::Detached(detached) });
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.lost.values().copied().chain(self.expected_until).min()
    }

    /// Gives up the sessions whose time to come back is over.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.deadline().is_none_or(|deadline| deadline > now.instant) {
            return;
        }
        let window_over = self.expected_until.is_some_and(|until| until <= now.instant);
        let given_up = |held| match held {
            Held::Expected => window_over,
            Held::Live { link, .. } => self.lost.get(&link).is_some_and(|until| *until <= now.instant),
            Held::Gone { .. } => false,
        };
        let missing = self.sessions.iter().filter(|(_, session)| given_up(session.held));
        let missing: Vec<_> = missing.map(|(principal, session)| (principal.clone(), session.held)).collect();
        for (principal, held) in missing {
            self.hold(&principal, Held::Gone { newest: held.newest().unwrap_or(NEVER) }, now);
        }
        self.lost.retain(|_, until| *until > now.instant);
        if window_over {
            self.expected_until = None;
            self.sessions.retain(|_, session| !session.is_forgettable());
        }
    }

    /// Devices (not modules) that count as connected.
    pub fn connected_device_count(&self) -> u64 {
        self.connected_devices
    }
}
