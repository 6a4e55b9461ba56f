//! A replica that no membership names any more is emptied. The Raft of the group is started again over it: it knows
//! nothing, and is of use as soon as a membership names it.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{Group, handle::Inner};
use crate::{raft::LogId, store::StoreError};

/// For what the state machine is at.
const STATE_MACHINE_ENDS_WITHIN: Duration = Duration::from_secs(10);

/// Why a replica was not wiped.
#[derive(Debug, thiserror::Error)]
pub enum WipeError {
    #[error("a newer membership names this node")]
    Member,
    #[error("a leader replicates to this node")]
    Followed,
    #[error("the group has stopped on this node")]
    Stopped,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the group does not start again: {0}")]
    Start(String),
}

impl Group {
    /// Forgets the state and the log. `membership` is the log id of a committed membership that does not name this
    /// node; it is not believed by a node that a newer one names, or that is being replicated to.
    pub async fn wipe(&self, membership: LogId) -> Result<(), WipeError> {
        let _one = self.replica.wiping.lock().await;
        let inner = self.inner();
        let vote_floor = inner.may_be_wiped(membership).await?;
        tracing::info!(group = %inner.id, %membership, "this node's replica is wiped: no membership names it");
        if inner.raft.shutdown().await.is_err() {
            return Err(WipeError::Stopped);
        }
        if timeout(STATE_MACHINE_ENDS_WITHIN, inner.state_machine_closed.cancelled()).await.is_err() {
            return Err(WipeError::Stopped);
        }
        let start = &self.replica.start;
        start.database.wipe(inner.id, vote_floor, &start.writer).await?;
        drop(inner);
        let life = start.life(self.replica.id, &self.replica.effects, &self.replica.leadership).await;
        let life = life.map_err(|error| WipeError::Start(error.to_string()))?;
        self.replica.served.replace(life.raft.clone(), vote_floor);
        self.replica.life.store(Arc::new(life));
        self.inner().follow_leadership(&self.replica.leadership);
        Ok(())
    }
}

impl Inner {
    /// What a candidate must have from then on: all that this replica had, and that membership.
    async fn may_be_wiped(&self, membership: LogId) -> Result<LogId, WipeError> {
        let (node_id, silence) = (self.node_id, self.config.leadership_timeout());
        let looked = self.raft.with_raft_state(move |state| {
            let known = state.membership_state.effective();
            let is_named = known.membership().get_node(&node_id).is_some();
            if is_named && *known.log_id() > Some(membership) {
                return Err(WipeError::Member);
            }
            let heard = state.vote_last_modified().filter(|_| state.vote_ref().is_committed());
            if heard.is_some_and(|heard| heard.elapsed() < silence) {
                return Err(WipeError::Followed);
            }
            Ok(())
        });
        looked.await.map_err(|_| WipeError::Stopped)??;
        Ok(self.log.last_log_id().map_or(membership, |last| last.max(membership)))
    }
}
