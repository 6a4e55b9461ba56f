//! Linearizable reads: one read-index round in flight, for everybody who waited when it began.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::{Refusal, gate::Gate};
use crate::raft::Raft;

type Waiting = oneshot::Sender<Result<(), Refusal>>;

/// The queue of reads of one group.
pub(super) struct Reads {
    sender: mpsc::Sender<Waiting>,
}

impl Reads {
    /// Starts the task that makes the rounds; one that takes longer than the timeout has failed.
    pub fn start(raft: Raft, queued_max: usize, timeout: Duration, gate: Gate) -> Self {
        let (sender, receiver) = mpsc::channel(queued_max);
        tokio::spawn(run(raft, receiver, queued_max, timeout, gate));
        Self { sender }
    }

    /// Resolves when this node led at some moment after the call and has applied all that was acknowledged before it.
    pub async fn round(&self) -> Result<(), Refusal> {
        let (sender, answer) = oneshot::channel();
        self.sender.try_send(sender).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refusal::Busy,
            mpsc::error::TrySendError::Closed(_) => Refusal::ShuttingDown,
        })?;
        answer.await.unwrap_or(Err(Refusal::ShuttingDown))
    }
}

async fn run(raft: Raft, mut receiver: mpsc::Receiver<Waiting>, queued_max: usize, timeout: Duration, gate: Gate) {
    let mut waiting = Vec::new();
    while receiver.recv_many(&mut waiting, queued_max).await > 0 {
        let _passing = gate.pass().await;
        let result = linearizable(&raft, timeout).await;
        for answer in waiting.drain(..) {
            // Whoever asked may have gone.
            let _ = answer.send(result);
        }
    }
}

/// Pause before a round that reached too few is made again.
const RETRY: Duration = Duration::from_millis(10);

/// A round: a majority still follows this node, and it has applied what was committed when the round began. A round
/// that reached too few, openraft gives each only one heartbeat interval, is made again until the timeout.
pub(super) async fn linearizable(raft: &Raft, timeout: Duration) -> Result<(), Refusal> {
    use openraft::error::{CheckIsLeaderError, RaftError};
    let rounds = async {
        loop {
            return match raft.ensure_linearizable().await {
                Ok(_) => Ok(()),
                Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(forward))) => {
                    Err(Refusal::NotLeader { leader: forward.leader_id })
                }
                Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_))) => {
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
                Err(RaftError::Fatal(_)) => Err(Refusal::ShuttingDown),
            };
        }
    };
    tokio::time::timeout(timeout, rounds).await.unwrap_or(Err(Refusal::NotLeader { leader: None }))
}
