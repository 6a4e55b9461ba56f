//! Which node is believed to lead each group.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use model::GroupId;

/// Beliefs: an index into the list of nodes for each group. A wrong one costs a refusal that tells the right one.
#[derive(Debug)]
pub struct Leaders {
    node_ids: Vec<u64>,
    believed: Vec<AtomicUsize>,
}

impl Leaders {
    /// Believes in the first node for every group.
    pub fn new(node_ids: Vec<u64>, groups: u32) -> Self {
        Self { node_ids, believed: (0..=groups).map(|_| AtomicUsize::new(0)).collect() }
    }

    /// Index of the node to ask.
    pub fn of(&self, group: GroupId) -> usize {
        self.believed.get(group.0 as usize).map_or(0, |believed| believed.load(Ordering::Relaxed))
    }

    /// The node `asked` did not help. Follows its hint, or goes on to the next one. True when the hint is news, so that
    /// it may be followed at once.
    pub fn correct(&self, group: GroupId, asked: usize, hint: Option<u64>) -> bool {
        let hinted = hint.and_then(|hint| self.node_ids.iter().position(|id| *id == hint));
        let next = match hinted {
            Some(hinted) if hinted != asked => hinted,
            _ => (asked + 1) % self.node_ids.len().max(1),
        };
        let Some(believed) = self.believed.get(group.0 as usize) else { return false };
        // Someone else may have learnt better meanwhile.
        let corrected = believed.compare_exchange(asked, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        !corrected || (hinted == Some(next) && next != asked)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_followed_and_without_one_the_next_node_is_asked() {
        let leaders = Leaders::new(vec![11, 12, 13], 1);
        let group = GroupId(1);
        assert!(leaders.correct(group, 0, Some(13)));
        assert_eq!(leaders.of(group), 2);
        assert!(!leaders.correct(group, 2, None));
        assert_eq!(leaders.of(group), 0);
        // A node that names itself does not help either.
        assert!(!leaders.correct(group, 0, Some(11)));
        assert_eq!(leaders.of(group), 1);
        // Old news change nothing.
        assert!(leaders.correct(group, 0, Some(13)));
        assert_eq!(leaders.of(group), 1);
    }
}
