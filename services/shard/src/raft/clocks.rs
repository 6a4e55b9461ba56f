use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime},
};

use parking_lot::Mutex;

use super::NodeId;

/// A measurement older than this says nothing any more; heartbeats bring new ones several times a second.
const MEASUREMENT_VALID: Duration = Duration::from_secs(10);

/// This node's clock, and how far the clocks of its peers are from it.
///
/// A group's time never goes back, so one proposal with a wrong time would poison it for ever. A leader therefore
/// proposes only while its clock agrees with those of a majority of the voters, itself included.
pub struct Clocks {
    difference_max: Duration,
    state: Mutex<State>,
    /// How wrong a test makes this node's clock.
    #[cfg(test)]
    pub error_microseconds: std::sync::atomic::AtomicI64,
}

struct State {
    peers: HashMap<NodeId, Measurement>,
    /// The last reading of both clocks: one that jumped away from the other makes all measurements worthless.
    wall: i64,
    monotonic: Instant,
}

struct Measurement {
    difference_microseconds: i64,
    taken: Instant,
}

impl Clocks {
    /// Nothing measured yet.
    pub fn new(difference_max: Duration) -> Self {
        let state = State { peers: HashMap::new(), wall: wall_clock(), monotonic: Instant::now() };
        Self {
            difference_max,
            state: Mutex::new(state),
            #[cfg(test)]
            error_microseconds: std::sync::atomic::AtomicI64::new(0),
        }
    }

    /// Microseconds since 1970.
    pub fn now(&self) -> i64 {
        let (wall, monotonic) = (wall_clock(), Instant::now());
        #[cfg(test)]
        let wall = wall + self.error_microseconds.load(std::sync::atomic::Ordering::Relaxed);
        self.state.lock().advance(wall, monotonic, self.difference_max);
        wall
    }

    /// Takes note of a peer's clock: its reading at some moment between two readings of ours.
    pub fn measure(&self, peer: NodeId, sent: i64, peer_time: i64, received: i64) {
        let here = sent + (received - sent) / 2;
        let measurement = Measurement { difference_microseconds: peer_time - here, taken: Instant::now() };
        self.state.lock().peers.insert(peer, measurement);
    }

    /// Whether this node, one of the voters, may give times to proposals.
    pub fn agree(&self, node_id: NodeId, voters: impl Iterator<Item = NodeId>) -> bool {
        let state = self.state.lock();
        let (mut all, mut agreeing) = (0, 0);
        for voter in voters {
            all += 1;
            let agrees = voter == node_id || state.peers.get(&voter).is_some_and(|peer| self.is_close(peer));
            agreeing += u32::from(agrees);
        }
        2 * agreeing > all
    }

    fn is_close(&self, peer: &Measurement) -> bool {
        Duration::from_micros(peer.difference_microseconds.unsigned_abs()) <= self.difference_max
            && peer.taken.elapsed() <= MEASUREMENT_VALID
    }
}

impl State {
    fn advance(&mut self, wall: i64, monotonic: Instant, jump_max: Duration) {
        let expected = self.wall + microseconds(monotonic.saturating_duration_since(self.monotonic));
        if Duration::from_micros(wall.abs_diff(expected)) > jump_max {
            tracing::warn!(microseconds = wall - expected, "this node's clock has jumped");
            self.peers.clear();
        }
        (self.wall, self.monotonic) = (wall, monotonic);
    }
}

fn wall_clock() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, microseconds)
}

fn microseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn clocks(differences: &[(NodeId, i64)]) -> Clocks {
        let clocks = Clocks::new(Duration::from_secs(5));
        for (peer, difference) in differences {
            clocks.measure(*peer, 100 * SECOND, 101 * SECOND + difference, 102 * SECOND);
        }
        clocks
    }

    #[test]
    fn a_sole_voter_agrees_with_itself() {
        assert!(clocks(&[]).agree(1, [1].into_iter()));
    }

    #[test]
    fn a_majority_of_close_clocks_is_needed() {
        assert!(!clocks(&[]).agree(1, [1, 2, 3].into_iter()), "nothing measured yet");
        assert!(clocks(&[(2, 5 * SECOND)]).agree(1, [1, 2, 3].into_iter()));
        assert!(clocks(&[(2, -SECOND), (3, 6 * SECOND)]).agree(1, [1, 2, 3].into_iter()), "the odd one is the peer");
        assert!(!clocks(&[(2, -6 * SECOND), (3, -6 * SECOND)]).agree(1, [1, 2, 3].into_iter()), "the odd one is us");
    }

    #[test]
    fn a_jump_makes_measurements_worthless() {
        let clocks = clocks(&[(2, 0)]);
        let (wall, monotonic) = (wall_clock(), Instant::now());
        clocks.state.lock().advance(wall + SECOND, monotonic + Duration::from_secs(1), Duration::from_secs(5));
        assert!(clocks.agree(1, [1, 2, 3].into_iter()));
        clocks.state.lock().advance(wall + 10 * SECOND, monotonic + Duration::from_secs(2), Duration::from_secs(5));
        assert!(!clocks.agree(1, [1, 2, 3].into_iter()));
    }
}
