use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use tokio::sync::watch;

use super::Refusal;
use crate::raft::{Clocks, NodeId};

type Metrics = watch::Receiver<openraft::metrics::RaftServerMetrics<NodeId, openraft::BasicNode>>;

/// Gives entries their time: that of the leader's clock, and never smaller than that of the entry before. Apply makes
/// sure of the latter once more, for entries of an earlier leader that this one has not applied yet.
pub(super) struct EntryClock {
    pub node_id: NodeId,
    pub clocks: Arc<Clocks>,
    pub metrics: Metrics,
    pub last_time: AtomicI64,
}

impl EntryClock {
    /// Microseconds since 1970, when this node leads and its clock may be trusted.
    pub fn entry_time(&self) -> Result<i64, Refusal> {
        let now = self.clocks.now();
        let metrics = self.metrics.borrow();
        if !metrics.state.is_leader() {
            return Err(Refusal::NotLeader { leader: metrics.current_leader });
        }
        if !self.clocks.agree(self.node_id, metrics.membership_config.voter_ids()) {
            return Err(Refusal::ClockSkew);
        }
        Ok(self.last_time.fetch_max(now, Ordering::AcqRel).max(now))
    }

    /// Takes note of the time of an entry that was applied.
    pub fn observe(&self, time: i64) {
        self.last_time.fetch_max(time, Ordering::AcqRel);
    }
}
