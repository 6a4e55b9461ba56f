//! Trying again: pauses, and what a refusal says of the leader.

use std::time::Duration;

/// Pauses between tries: growing, and different for everyone.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(10);
    const LAST: Duration = Duration::from_millis(320);

    /// From the shortest pause on.
    pub fn new() -> Self {
        Self { next: Self::FIRST }
    }

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next.mul_f64(0.5 + 0.5 * random_fraction());
        self.next = (self.next * 2).min(Self::LAST);
        pause
    }
}

/// The node that a refused stream names as leader.
pub fn leader_hint(status: &tonic::Status) -> Option<u64> {
    status.metadata().get(proto::LEADER_NODE_ID)?.to_str().ok()?.parse().ok()
}

/// A number from 0 to 1.
pub fn random_fraction() -> f64 {
    (uuid::Uuid::new_v4().as_u64_pair().1 & 0xffff_ffff) as f64 / f64::from(u32::MAX)
}
