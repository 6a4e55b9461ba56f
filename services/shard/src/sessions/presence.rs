//! Connection states and last activity: kept here, written lazily, overlaid on reads (design "Re-attach").

use std::time::Duration;

use model::Principal;
use proto::{
    raft::v1::PresenceRow,
    shard::v1::{DeviceIdentity, ModuleIdentity, Presence},
};

use super::{
    Now, Sessions,
    entry::{Held, Session, Writing},
};

/// Last activity is written at most this often.
const ACTIVITY_WRITTEN_EVERY: Duration = Duration::from_secs(300);

impl Sessions {
    /// The one place where a principal gets or loses its connection.
    pub(super) fn hold(&mut self, principal: &Principal, held: Held, now: Now) {
        let session = self.sessions.entry(principal.clone()).or_insert_with(Session::unknown);
        let before = session.held.is_connected();
        session.held = held;
        if before == held.is_connected() {
            return;
        }
        session.connection_state_updated_time = now.time.unix_microseconds();
        if principal.module_id.is_none() {
            match held.is_connected() {
                true => self.connected_devices += 1,
                false => self.connected_devices -= 1,
            }
        }
        self.must_write(principal);
    }

    /// The principal did something on its connection.
    pub fn active(&mut self, principal: &Principal, now: Now) {
        let Some(session) = self.sessions.get_mut(principal) else { return };
        session.last_activity_time = session.last_activity_time.max(now.time.unix_microseconds());
        let unwritten_for = session.last_activity_time - session.written_activity_time;
        if u128::try_from(unwritten_for).is_ok_and(|passed| passed >= ACTIVITY_WRITTEN_EVERY.as_micros()) {
            self.must_write(principal);
        }
    }

    fn must_write(&mut self, principal: &Principal) {
        if let Some(session) = self.sessions.get_mut(principal)
            && session.writing != Writing::Queued
        {
            session.writing = Writing::Queued;
            self.unwritten.push_back(principal.clone());
        }
    }

    /// The next states to write, oldest first. Each call must be followed by [`Self::written`] or
    /// [`Self::not_written`] with the same rows.
    pub fn take_unwritten(&mut self, limit: usize) -> Vec<PresenceRow> {
        let mut rows = Vec::new();
        while rows.len() < limit
            && let Some(principal) = self.unwritten.pop_front()
        {
            // A deleted principal has left its place in the queue behind.
            let queued = |session: &&mut Session| session.writing == Writing::Queued;
            let Some(session) = self.sessions.get_mut(&principal).filter(queued) else { continue };
            session.writing = Writing::InFlight;
            rows.push(PresenceRow { principal: Some((&principal).into()), presence: Some(session.presence()) });
        }
        rows
    }

    /// The rows are applied. Principals that are still disconnected need no memory any longer.
    pub fn written(&mut self, rows: &[PresenceRow]) {
        for (principal, presence) in rows.iter().filter_map(parse) {
            let Some(session) = self.sessions.get_mut(&principal) else { continue };
            session.written_activity_time = session.written_activity_time.max(presence.last_activity_time);
            if session.writing == Writing::InFlight {
                session.writing = Writing::Written;
            }
            if session.is_forgettable() && self.expected_until.is_none() {
                self.sessions.remove(&principal);
            }
        }
    }

    /// The rows could not be proposed: they wait again.
    pub fn not_written(&mut self, rows: &[PresenceRow]) {
        for (principal, _) in rows.iter().filter_map(parse) {
            self.must_write(&principal);
        }
    }

    /// What is known of the principal's connection; a stored row that says otherwise is older.
    pub fn presence(&self, principal: &Principal) -> Option<Presence> {
        self.sessions.get(principal).map(Session::presence)
    }

    /// Shows the device's live connection state in place of the stored one.
    pub fn overlay_device(&self, identity: &mut DeviceIdentity) {
        if let Ok(device_id) = identity.device_id.parse() {
            self.overlay(&Principal::device(device_id), &mut identity.presence);
        }
    }

    /// Shows the module's live connection state in place of the stored one.
    pub fn overlay_module(&self, identity: &mut ModuleIdentity) {
        if let (Ok(device_id), Ok(module_id)) = (identity.device_id.parse(), identity.module_id.parse()) {
            self.overlay(&Principal::module(device_id, module_id), &mut identity.presence);
        }
    }

    fn overlay(&self, principal: &Principal, stored: &mut Option<Presence>) {
        let stored = stored.get_or_insert_default();
        match self.sessions.get(principal) {
            // Whoever is connected is in memory.
            None => stored.connected = false,
            Some(session) => {
                let count = stored.cloud_to_device_message_count;
                *stored = Presence { cloud_to_device_message_count: count, ..session.presence() };
            }
        }
    }
}

fn parse(row: &PresenceRow) -> Option<(Principal, Presence)> {
    Some((row.principal.as_ref()?.try_into().ok()?, row.presence?))
}
