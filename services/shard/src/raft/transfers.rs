//! Snapshots on their way between nodes: how many at once, how long, and how far they are.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use model::GroupId;
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};
use tokio::sync::{Semaphore, SemaphorePermit};

/// How often a transfer that lasts says in the log how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// Which way a snapshot goes.
#[derive(Clone, Copy, Debug)]
pub enum Direction {
    Sent,
    Received,
}

impl Direction {
    fn label(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Received => "received",
        }
    }
}

/// The transfers of one node. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Transfers {
    sending: Arc<Semaphore>,
    receiving: Arc<Semaphore>,
    /// Longest time of one.
    pub timeout: Duration,
    under_way: IntGaugeVec,
    bytes: IntCounterVec,
}

impl Transfers {
    /// So many at once in each direction; the others wait for their turn.
    pub fn new(at_once_max: usize, timeout: Duration) -> Result<Self, prometheus::Error> {
        let under_way = "Snapshots of groups on their way to or from another node now.";
        let bytes = "Keys and values of the snapshots that were sent to and received from other nodes.";
        Ok(Self {
            sending: Arc::new(Semaphore::new(at_once_max)),
            receiving: Arc::new(Semaphore::new(at_once_max)),
            timeout,
            under_way: IntGaugeVec::new(Opts::new("ironhub_snapshots_under_way", under_way), &["direction"])?,
            bytes: IntCounterVec::new(Opts::new("ironhub_snapshot_bytes_total", bytes), &["direction"])?,
        })
    }

    /// Shows what is counted in the registry.
    pub fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.under_way.clone()))?;
        registry.register(Box::new(self.bytes.clone()))
    }

    /// Begins a transfer as soon as it is its turn.
    pub async fn begin(&self, group: GroupId, direction: Direction) -> Transfer<'_> {
        let turns = match direction {
            Direction::Sent => &self.sending,
            Direction::Received => &self.receiving,
        };
        let turn = turns.acquire().await.ok();
        self.under_way.with_label_values(&[direction.label()]).inc();
        let now = Instant::now();
        Transfer { all: self, _turn: turn, group, direction, began: now, told: now, rows: 0, bytes: 0 }
    }
}

/// One snapshot on its way, until it is dropped.
pub struct Transfer<'t> {
    all: &'t Transfers,
    /// The semaphores are never closed.
    _turn: Option<SemaphorePermit<'t>>,
    group: GroupId,
    direction: Direction,
    began: Instant,
    told: Instant,
    rows: u64,
    bytes: u64,
}

impl Transfer<'_> {
    /// So many more rows have come through, with so many bytes of keys and values.
    pub fn advance(&mut self, rows: usize, bytes: usize) {
        self.rows += rows as u64;
        self.bytes += bytes as u64;
        self.all.bytes.with_label_values(&[self.direction.label()]).inc_by(bytes as u64);
        if self.told.elapsed() >= TOLD_EVERY {
            self.told = Instant::now();
            self.tell("a snapshot is on its way");
        }
    }

    /// All of it has come through.
    pub fn finish(self) {
        self.tell("a snapshot has come through");
    }

    fn tell(&self, what: &str) {
        let (direction, milliseconds) = (self.direction.label(), self.began.elapsed().as_millis());
        tracing::info!(group = %self.group, direction, rows = self.rows, bytes = self.bytes, milliseconds, "{what}");
    }
}

impl Drop for Transfer<'_> {
    fn drop(&mut self) {
        self.all.under_way.with_label_values(&[self.direction.label()]).dec();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn only_so_many_at_once_in_each_direction() -> Result<(), prometheus::Error> {
        let transfers = Transfers::new(1, Duration::from_secs(1))?;
        let under_way = || transfers.under_way.with_label_values(&["sent"]).get();
        let mut first = transfers.begin(GroupId(1), Direction::Sent).await;
        assert!(transfers.begin(GroupId(2), Direction::Sent).now_or_never().is_none(), "waits for its turn");
        assert!(transfers.begin(GroupId(2), Direction::Received).now_or_never().is_some());
        first.advance(2, 100);
        assert_eq!((under_way(), transfers.bytes.with_label_values(&["sent"]).get()), (1, 100));
        first.finish();
        assert_eq!(under_way(), 0);
        assert!(transfers.begin(GroupId(2), Direction::Sent).now_or_never().is_some());
        Ok(())
    }
}
