//! Keeps the logs of all groups below their bound of bytes; openraft itself counts entries only.

use std::{sync::Weak, time::Duration};

use super::handle::{Inner, Replica};

const INTERVAL: Duration = Duration::from_secs(1);

/// Looks at the groups once a second until they are gone.
pub(super) async fn run(groups: Vec<Weak<Replica>>, log_bytes_max: u64) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        for group in &groups {
            let Some(group) = group.upgrade().map(|replica| replica.life.load_full()) else { return };
            if cut(&group, log_bytes_max).await.is_err() {
                tracing::debug!(group = %group.id, "a stopped group keeps its log");
            }
        }
    }
}

/// A snapshot first (metadata only), and at a later look the cut: only what a snapshot holds may go.
async fn cut(group: &Inner, log_bytes_max: u64) -> Result<(), openraft::error::Fatal<u64>> {
    let Some(index) = group.log.index_before(log_bytes_max) else { return Ok(()) };
    let (snapshot, applied) = {
        let metrics = group.raft.data_metrics();
        let metrics = metrics.borrow();
        (metrics.snapshot.map(|id| id.index), metrics.last_applied.map(|id| id.index))
    };
    if snapshot >= Some(index) {
        group.raft.trigger().purge_log(index).await
    } else if applied >= Some(index) {
        group.raft.trigger().snapshot().await
    } else {
        Ok(())
    }
}
