//! What is kept of one principal: small, for there are as many as connected devices.

use model::{ConnectionId, Interests};
use proto::shard::v1::Presence;

use super::{LinkId, NEVER};

/// Which connection a principal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// None yet, but one under the leadership before: counts as connected until the window ends.
    Expected,
    /// This one, reached by that stream.
    Live { link: LinkId, connection_id: ConnectionId },
    /// None any more. Kept until that is written, so that a late re-attach of an older connection loses.
    Gone { newest: ConnectionId },
}

impl Held {
    /// The newest connection known of the principal.
    pub fn newest(self) -> Option<ConnectionId> {
        match self {
            Self::Expected => None,
            Self::Live { connection_id, .. } => Some(connection_id),
            Self::Gone { newest } => Some(newest),
        }
    }

    /// What is reported as connection state.
    pub fn is_connected(self) -> bool {
        !matches!(self, Self::Gone { .. })
    }
}

/// One principal. Times are microseconds since 1970, 0 = never.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub held: Held,
    /// What its connection wants to be told.
    pub interests: Interests,
    /// The desired version that it was told last, or was there when it came.
    pub desired_version: u64,
    pub connection_state_updated_time: i64,
    pub last_activity_time: i64,
    /// The activity that was written last; the next one is written when it is old enough.
    pub written_activity_time: i64,
    pub writing: Writing,
}

/// Whether the row on disk says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writing {
    Written,
    /// Waits in the queue of what must be written.
    Queued,
    /// Proposed, not applied yet.
    InFlight,
}

impl Session {
    /// A principal that was connected when its state was written last.
    pub fn expected(stored: &Presence) -> Self {
        Self {
            held: Held::Expected,
            interests: Interests::default(),
            desired_version: 0,
            connection_state_updated_time: stored.connection_state_updated_time,
            last_activity_time: stored.last_activity_time,
            written_activity_time: stored.last_activity_time,
            writing: Writing::Written,
        }
    }

    /// A principal nothing is known of.
    pub fn unknown() -> Self {
        Self {
            held: Held::Gone { newest: NEVER },
            interests: Interests::default(),
            desired_version: 0,
            connection_state_updated_time: 0,
            last_activity_time: 0,
            written_activity_time: 0,
            writing: Writing::Written,
        }
    }

    /// Whether the row on disk says all there is to say.
    pub fn is_forgettable(&self) -> bool {
        !self.held.is_connected() && self.writing == Writing::Written
    }

    /// The state as rows and reads show it.
    pub fn presence(&self) -> Presence {
        Presence {
            connected: self.held.is_connected(),
            connection_state_updated_time: self.connection_state_updated_time,
            last_activity_time: self.last_activity_time,
            cloud_to_device_message_count: 0,
        }
    }
}
