//! Commands that wait become one entry: one fsync for all of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use model::GroupId;
use openraft::{
    error::ClientWriteError,
    raft::{ClientWriteResult, responder::Responder},
};
use prost::Message;
use proto::{
    raft::v1::{Proposal, ProposedCommand},
    shard::v1::{CommandError, CommandResult, command_error::Code, command_result::Outcome},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{Config, Refusal, entry_clock::EntryClock, gate::Gate};
use crate::raft::{Raft, TypeConfig};

/// Bytes that a command costs in an entry beside its own: field number and length.
const COMMAND_OVERHEAD_BYTES: usize = 8;

type Answer = Result<CommandResult, Refusal>;
type Applied = <<TypeConfig as openraft::RaftTypeConfig>::Responder as Responder<TypeConfig>>::Receiver;

struct Waiting {
    command: ProposedCommand,
    bytes: usize,
    answer: oneshot::Sender<Answer>,
}

/// The queue of commands of one group.
pub(super) struct Proposer {
    sender: mpsc::Sender<Waiting>,
    queued_bytes: Arc<AtomicUsize>,
    queued_bytes_max: usize,
    command_bytes_max: usize,
}

impl Proposer {
    /// Starts the task that makes entries of commands.
    pub fn start(group: GroupId, raft: Raft, config: &Config, clock: Arc<EntryClock>, gate: Gate) -> Self {
        let (sender, receiver) = mpsc::channel(config.queued_commands_max);
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let command_bytes_max = config.entry_bytes_max.saturating_sub(2 * COMMAND_OVERHEAD_BYTES);
        let batcher = Batcher {
            group,
            raft,
            receiver,
            next: None,
            queued_bytes: queued_bytes.clone(),
            in_flight: Arc::new(Semaphore::new(config.entries_in_flight_max)),
            commands_max: config.commands_per_entry_max,
            bytes_max: command_bytes_max,
            timeout: config.propose_timeout(),
        };
        tokio::spawn(batcher.run(clock, gate));
        Self { sender, queued_bytes, queued_bytes_max: config.queued_bytes_max, command_bytes_max }
    }

    /// Queues the command and waits for its result.
    pub async fn propose(&self, command: ProposedCommand) -> Answer {
        let bytes = command.encoded_len() + COMMAND_OVERHEAD_BYTES;
        if bytes > self.command_bytes_max {
            return Ok(too_large(bytes, self.command_bytes_max));
        }
        if self.queued_bytes.load(Ordering::Relaxed).saturating_add(bytes) > self.queued_bytes_max {
            return Err(Refusal::Busy);
        }
        let (answer, result) = oneshot::channel();
        self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Err(error) = self.sender.try_send(Waiting { command, bytes, answer }) {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(match error {
                mpsc::error::TrySendError::Full(_) => Refusal::Busy,
                mpsc::error::TrySendError::Closed(_) => Refusal::ShuttingDown,
            });
        }
        result.await.unwrap_or(Err(Refusal::OutcomeUnknown))
    }
}

fn too_large(bytes: usize, bytes_max: usize) -> CommandResult {
    let detail = format!("a command of {bytes} bytes; an entry takes {bytes_max}");
    CommandResult { outcome: Some(Outcome::Error(CommandError { code: Code::Invalid as i32, detail })) }
}

struct Batcher {
    group: GroupId,
    raft: Raft,
    receiver: mpsc::Receiver<Waiting>,
    /// Did not fit into the entry before.
    next: Option<Waiting>,
    queued_bytes: Arc<AtomicUsize>,
    in_flight: Arc<Semaphore>,
    commands_max: usize,
    bytes_max: usize,
    timeout: Duration,
}

impl Batcher {
    async fn run(mut self, clock: Arc<EntryClock>, gate: Gate) {
        // While all entries allowed are in flight commands gather, so the entry is filled after the permit came.
        while let Ok(permit) = self.in_flight.clone().acquire_owned().await {
            let first = match self.next.take() {
                Some(next) => Some(next),
                None => self.receiver.recv().await,
            };
            let Some(first) = first else { return };
            let _passing = gate.pass().await;
            let (commands, answers) = self.fill(first);
            match clock.entry_time() {
                Err(refusal) => answers.into_iter().for_each(|answer| send(answer, Err(refusal))),
                Ok(time) => self.propose(Proposal { time, commands }, answers, permit).await,
            }
        }
    }

    fn fill(&mut self, first: Waiting) -> (Vec<ProposedCommand>, Vec<oneshot::Sender<Answer>>) {
        let (mut commands, mut answers, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut next = Some(first);
        while let Some(waiting) = next.take() {
            if commands.len() == self.commands_max || bytes + waiting.bytes > self.bytes_max {
                self.next = Some(waiting);
                break;
            }
            bytes += waiting.bytes;
            commands.push(waiting.command);
            answers.push(waiting.answer);
            next = self.receiver.try_recv().ok();
        }
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        (commands, answers)
    }

    async fn propose(&self, proposal: Proposal, answers: Vec<oneshot::Sender<Answer>>, permit: OwnedSemaphorePermit) {
        match self.raft.client_write_ff(Bytes::from(proposal.encode_to_vec())).await {
            Err(error) => {
                tracing::error!(group = %self.group, %error, "the group has stopped");
                answers.into_iter().for_each(|answer| send(answer, Err(Refusal::ShuttingDown)));
            }
            Ok(applied) => {
                tokio::spawn(answer_all(applied, self.timeout, answers, permit));
            }
        }
    }
}

async fn answer_all(
    applied: Applied,
    timeout: Duration,
    answers: Vec<oneshot::Sender<Answer>>,
    permit: OwnedSemaphorePermit,
) {
    let applied = tokio::time::timeout(timeout, applied).await;
    drop(permit);
    match applied {
        Ok(Ok(written)) => match results(written) {
            Ok(results) => answers.into_iter().zip(results).for_each(|(answer, result)| send(answer, Ok(result))),
            Err(refusal) => answers.into_iter().for_each(|answer| send(answer, Err(refusal))),
        },
        // Too late, or the group stopped: the entry may be in the log of others.
        Ok(Err(_)) | Err(_) => answers.into_iter().for_each(|answer| send(answer, Err(Refusal::OutcomeUnknown))),
    }
}

/// This node led a moment before. openraft answers "forward" both to what it never took and to what another leader
/// cut off its log, which may still be in the log of a third: so it is not known.
fn results(written: ClientWriteResult<TypeConfig>) -> Result<Vec<CommandResult>, Refusal> {
    match written {
        Ok(response) => Ok(response.data),
        Err(ClientWriteError::ForwardToLeader(_) | ClientWriteError::ChangeMembershipError(_)) => {
            Err(Refusal::OutcomeUnknown)
        }
    }
}

fn send(answer: oneshot::Sender<Answer>, result: Answer) {
    // Whoever asked may have gone.
    let _ = answer.send(result);
}
