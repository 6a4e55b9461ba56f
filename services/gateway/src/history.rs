//! Why identities were last refused or disconnected, for who asks: `ironhub explain`.
//!
//! Memory of this gateway only, of the identities it saw last; a restart forgets it. Never contains a secret.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
};

use model::Timestamp;
use parking_lot::Mutex;

/// Identities that are remembered; made-up ids of strangers push others out.
pub const IDENTITIES_MAX: usize = 10_000;
/// Longer words are cut.
const TEXT_LENGTH_MAX: usize = 300;

/// Something that happened to an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    pub time: Timestamp,
    pub peer: SocketAddr,
    pub protocol: &'static str,
    /// A stable name, as in metrics.
    pub cause: &'static str,
    pub reason: String,
}

/// The last ones of one identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    pub refusal: Option<Incident>,
    pub disconnection: Option<Incident>,
}

/// The newest incidents, by `{device id}` or `{device id}/{module id}`.
#[derive(Debug)]
pub struct History {
    /// What happened before is not known.
    pub since: Timestamp,
    identities_max: usize,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    next: u64,
    by_identity: HashMap<String, (u64, Remembered)>,
    /// Oldest first.
    order: BTreeMap<u64, String>,
}

impl History {
    /// Nothing happened yet.
    pub fn new(since: Timestamp, identities_max: usize) -> Self {
        Self { since, identities_max, entries: Mutex::default() }
    }

    /// Somebody who gave that identity was not let in.
    pub fn refused(&self, identity: &str, incident: Incident) {
        self.remember(identity, |remembered| remembered.refusal = Some(cut(incident)));
    }

    /// A connection of the identity ended.
    pub fn disconnected(&self, identity: &str, incident: Incident) {
        self.remember(identity, |remembered| remembered.disconnection = Some(cut(incident)));
    }

    /// What is known of an identity.
    pub fn of(&self, identity: &str) -> Remembered {
        self.entries.lock().by_identity.get(identity).map(|(_, remembered)| remembered.clone()).unwrap_or_default()
    }

    fn remember(&self, identity: &str, change: impl FnOnce(&mut Remembered)) {
        let identity: String = identity.chars().take(TEXT_LENGTH_MAX).collect();
        let mut entries = self.entries.lock();
        let number = entries.next;
        entries.next += 1;
        let (before, mut remembered) =
            entries.by_identity.remove(&identity).unwrap_or((u64::MAX, Remembered::default()));
        entries.order.remove(&before);
        change(&mut remembered);
        if entries.by_identity.len() >= self.identities_max
            && let Some((_, oldest)) = entries.order.pop_first()
        {
            entries.by_identity.remove(&oldest);
        }
        entries.order.insert(number, identity.clone());
        entries.by_identity.insert(identity, (number, remembered));
    }
}

fn cut(incident: Incident) -> Incident {
    Incident { reason: incident.reason.chars().take(TEXT_LENGTH_MAX).collect(), ..incident }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incident(reason: &str) -> Incident {
        let time = Timestamp::from_unix_milliseconds(0);
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        Incident { time, peer, protocol: "MQTT", cause: "cause", reason: reason.to_owned() }
    }

    #[test]
    fn the_last_of_both_kinds_is_known_and_the_oldest_identity_is_forgotten() {
        let history = History::new(Timestamp::from_unix_milliseconds(0), 2);
        history.refused("a", incident("first"));
        history.disconnected("b", incident("gone"));
        history.refused("a", incident("second"));
        history.refused("c", incident(&"x".repeat(1000)));
        let remembered = history.of("a");
        assert_eq!((remembered.refusal, remembered.disconnection), (Some(incident("second")), None));
        assert_eq!(history.of("b"), Remembered::default(), "the oldest made room");
        assert_eq!(history.of("c").refusal.map(|it| it.reason.len()), Some(TEXT_LENGTH_MAX));
    }
}
