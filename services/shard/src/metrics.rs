//! What the leaders of a node count. No label names a device.

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};
use proto::shard::v1::feedback::Outcome;

use crate::raft::Transfers;

/// Counters and gauges of the groups of this process. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct ShardMetrics {
    transfers: Transfers,
    queued: IntGauge,
    ended: IntCounterVec,
}

impl ShardMetrics {
    /// Nothing is counted yet but what the transfers have.
    pub fn new(transfers: Transfers) -> Result<Self, prometheus::Error> {
        let queued = "Messages in the queues of devices, those in hand included; looked at every second.";
        let ended = "Messages that left the queues of devices, by what became of them.";
        Ok(Self {
            transfers,
            queued: IntGauge::new("ironhub_device_bound_queued", queued)?,
            ended: IntCounterVec::new(Opts::new("ironhub_device_bound_ended_total", ended), &["outcome"])?,
        })
    }

    /// Shows all of them in the registry.
    pub fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.queued.clone()))?;
        registry.register(Box::new(self.ended.clone()))?;
        self.transfers.register(registry)
    }

    /// Messages left their queues.
    pub fn ended(&self, outcome: Outcome, count: u64) {
        let outcome = match outcome {
            Outcome::Success => "success",
            Outcome::Expired => "expired",
            Outcome::DeliveryCountExceeded => "delivery_count_exceeded",
            Outcome::Rejected => "rejected",
            Outcome::Purged => "purged",
            Outcome::Unspecified => return,
        };
        self.ended.with_label_values(&[outcome]).inc_by(count);
    }

    /// One group's share of the queued messages, which ends when it is dropped.
    pub fn queued_of_group(&self) -> QueuedOfGroup {
        QueuedOfGroup { all: self.queued.clone(), shown: 0 }
    }
}

/// See [`ShardMetrics::queued_of_group`].
pub struct QueuedOfGroup {
    all: IntGauge,
    shown: i64,
}

impl QueuedOfGroup {
    /// So many messages are queued in the group now.
    pub fn set(&mut self, count: u64) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.all.add(count - self.shown);
        self.shown = count;
    }
}

impl Drop for QueuedOfGroup {
    fn drop(&mut self) {
        self.all.sub(self.shown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_add_up_and_take_their_share_along() -> Result<(), prometheus::Error> {
        let metrics = ShardMetrics::new(Transfers::new(1, std::time::Duration::ZERO)?)?;
        let (mut one, mut other) = (metrics.queued_of_group(), metrics.queued_of_group());
        one.set(3);
        other.set(5);
        one.set(2);
        assert_eq!(metrics.queued.get(), 7);
        drop(other);
        assert_eq!(metrics.queued.get(), 2);
        Ok(())
    }
}
