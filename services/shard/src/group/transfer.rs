//! A leadership goes to another voter on purpose. openraft has no word for it; it is made of three that it has: no more
//! entries, no more heartbeats, and an election there.

use std::time::Duration;

use openraft::Vote;
use tokio::time::{Instant, sleep, timeout};

use super::{Group, handle::Inner};
use crate::raft::{LogId, NodeId};

/// For what is in flight to be applied here and to reach the next leader.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(2);
/// For the election.
const ELECTED_WITHIN: Duration = Duration::from_secs(2);
/// What timers may be late.
const SLACK: Duration = Duration::from_millis(50);

/// Why a leadership was not given away. This node leads on, or somebody else does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    #[error("this node does not lead the group")]
    NotLeader,
    #[error("that node is no voter of the group, or it leads already")]
    NotAVoter,
    #[error("that node is too far behind")]
    Behind,
    #[error("that node did not ask for votes: {0}")]
    NotAsked(String),
    #[error("that node was not elected in time")]
    NotElected,
}

impl Group {
    /// Gives the leadership to that voter. `elect` has to make it ask for votes, if its log goes as far as it is told.
    /// Answers for how long the group took no commands here.
    pub async fn transfer_leadership(
        &self,
        to: NodeId,
        elect: impl AsyncFnOnce(LogId) -> Result<(), String>,
    ) -> Result<Duration, TransferError> {
        let inner = self.inner();
        inner.require_leading().map_err(|_| TransferError::NotLeader)?;
        let voters: Vec<NodeId> = inner.clock.metrics.borrow().membership_config.voter_ids().collect();
        if to == inner.node_id || !voters.contains(&to) {
            return Err(TransferError::NotAVoter);
        }
        inner.outlive_own_lease().await?;
        let gate = timeout(CATCH_UP_WITHIN, inner.gate.close()).await.map_err(|_| TransferError::Behind)?;
        let began = Instant::now();
        let last = inner.caught_up(to).await?;
        // The votes of both are a majority of three. Of more voters, others have to vote who heard of this leader just
        // now, and do not until they have not for a while.
        let _silence = if voters.len() > 3 { Some(inner.fall_silent().await) } else { None };
        elect(last).await.map_err(TransferError::NotAsked)?;
        inner.other_leads().await?;
        drop(gate);
        Ok(began.elapsed())
    }

    /// The other side of it: asks for votes now, if the log goes that far.
    pub async fn elect(&self, least: LogId) -> Result<(), &'static str> {
        let inner = self.inner();
        if inner.log.last_log_id() < Some(least) {
            return Err("the log does not go that far here");
        }
        inner.raft.trigger().elect().await.map_err(|_| "the group has stopped here")
    }
}

/// No heartbeats until it is dropped.
struct Silence<'i> {
    inner: &'i Inner,
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        self.inner.raft.runtime_config().heartbeat(true);
    }
}

impl Inner {
    fn lease(&self) -> Duration {
        Duration::from_millis(self.config.election_timeout_max_milliseconds) + SLACK
    }

    /// A leader votes for nobody else until its own vote is that old.
    async fn outlive_own_lease(&self) -> Result<(), TransferError> {
        let elected = self.raft.with_raft_state(|state| state.vote_last_modified()).await;
        let elected = elected.map_err(|_| TransferError::NotLeader)?;
        let age = elected.map_or(Duration::MAX, |elected| elected.elapsed());
        sleep(self.lease().saturating_sub(age)).await;
        Ok(())
    }

    /// The end of the log, once it is applied here and known to be there. Nothing is proposed meanwhile.
    async fn caught_up(&self, to: NodeId) -> Result<LogId, TransferError> {
        // Behind what was proposed before.
        self.raft.with_raft_state(|_| ()).await.map_err(|_| TransferError::NotLeader)?;
        let last = self.log.last_log_id().ok_or(TransferError::NotLeader)?;
        let mut metrics = self.raft.data_metrics();
        let wait = metrics.wait_for(|metrics| {
            let there = metrics.replication.as_ref().and_then(|all| all.get(&to)).copied().flatten();
            there >= Some(last) && metrics.last_applied >= Some(last)
        });
        match timeout(CATCH_UP_WITHIN, wait).await {
            Ok(Ok(_)) => Ok(last),
            Ok(Err(_)) => Err(TransferError::NotLeader),
            Err(_) => Err(TransferError::Behind),
        }
    }

    /// Sends no heartbeats, and waits until all others have forgotten the last one.
    async fn fall_silent(&self) -> Silence<'_> {
        self.raft.runtime_config().heartbeat(false);
        let silence = Silence { inner: self };
        sleep(self.lease() + self.config.heartbeat_interval()).await;
        silence
    }

    async fn other_leads(&self) -> Result<(), TransferError> {
        let mut metrics = self.raft.server_metrics();
        let is_other = |vote: &Vote<NodeId>| vote.is_committed() && vote.leader_id().voted_for() != Some(self.node_id);
        let wait = metrics.wait_for(|metrics| is_other(&metrics.vote));
        timeout(ELECTED_WITHIN, wait)
            .await
            .map_err(|_| TransferError::NotElected)?
            .map(drop)
            .map_err(|_| TransferError::NotLeader)
    }
}
