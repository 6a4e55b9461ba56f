//! From "elected" to "leading", and back.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message;
use proto::raft::v1::{LeadershipStarted, Proposal, ProposedCommand, proposed_command::Kind};
use tokio::sync::watch;

use super::{handle::Inner, reads};
use crate::raft::{NodeId, Vote, rhythm::beat};

/// Who leads the group, as this node knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leadership {
    /// This node: the entry `fence` of its own is applied, and a majority agreed afterwards. Everything given under
    /// this leadership carries the fence; the larger one is the newer.
    Leading { fence: u64 },
    /// Another node, or nobody that is known. So it stays when the group has stopped on this node.
    Following { leader: Option<NodeId> },
}

/// Pause before another leadership is tried.
const RETRY: Duration = Duration::from_millis(50);

/// How often a leader that needs nobody else looks after itself.
const ALONE_INTERVAL: Duration = Duration::from_secs(1);

impl Inner {
    /// Keeps the watch right, in the background, until the group stops.
    pub fn follow_leadership(self: Arc<Self>, leadership: &watch::Sender<Leadership>) {
        tokio::spawn(run(self, leadership.clone()));
    }
}

async fn run(group: Arc<Inner>, leadership: watch::Sender<Leadership>) {
    let mut elected = group.raft.server_metrics();
    let mut failed_begins = 0_u32;
    loop {
        let Some(vote) = wait_for_election(&group, &mut elected, &leadership).await else { break };
        group.effects.set_leading(true);
        match begin(&group).await {
            Ok(fence) => {
                failed_begins = 0;
                tracing::info!(group = %group.id, fence, "leading");
                leadership.send_replace(Leadership::Leading { fence });
                let end = hold(&group, &mut elected, vote).await;
                tracing::info!(group = %group.id, fence, reason = end, "not leading any more");
            }
            Err(reason) => {
                failed_begins = failed_begins.saturating_add(1);
                // Once is usual when leaders change; a group that stays without one has to say why.
                if failed_begins > 1 {
                    tracing::warn!(group = %group.id, reason, failed_begins, "the leadership cannot begin");
                } else {
                    tracing::debug!(group = %group.id, reason, "the leadership cannot begin yet");
                }
            }
        }
        group.effects.set_leading(false);
        leadership.send_replace(Leadership::Following { leader: other_leader(&group) });
        tokio::time::sleep(RETRY).await;
    }
    leadership.send_replace(Leadership::Following { leader: None });
    match group.failure() {
        None => tracing::info!(group = %group.id, "stopped"),
        Some(failure) => tracing::error!(group = %group.id, %failure, "the group has failed and has stopped"),
    }
}

type Metrics = watch::Receiver<openraft::metrics::RaftServerMetrics<NodeId, openraft::BasicNode>>;
type DataMetrics = watch::Receiver<openraft::metrics::RaftDataMetrics<NodeId>>;

/// The vote that made this node the leader; `None` when the group has stopped.
async fn wait_for_election(
    group: &Inner,
    elected: &mut Metrics,
    leadership: &watch::Sender<Leadership>,
) -> Option<Vote> {
    loop {
        // The last state of a stopped group may be "leader".
        elected.has_changed().ok()?;
        // Not looked at while it is borrowed: `reaches_majority` borrows it, too, and waits for ever if a writer waits.
        let (is_leader, vote) = {
            let metrics = elected.borrow_and_update();
            (metrics.state.is_leader(), metrics.vote)
        };
        if is_leader && group.reaches_majority() {
            return Some(vote);
        }
        let following = Leadership::Following { leader: other_leader(group) };
        leadership.send_if_modified(|known| std::mem::replace(known, following) != following);
        // Only a leader without a majority has to look again by itself.
        let is_elected = elected.borrow().state.is_leader();
        tokio::select! {
            changed = elected.changed() => changed.ok()?,
            () = beat(group.config.heartbeat_interval()), if is_elected => {}
        }
    }
}

fn other_leader(group: &Inner) -> Option<NodeId> {
    // A node that is out of the group remembers its last leader for ever.
    let leader = group.raft.server_metrics().borrow().current_leader;
    leader.filter(|leader| *leader != group.node_id && group.is_member())
}

/// Commits the entry that starts the leadership, and asks a majority after it was applied.
async fn begin(group: &Inner) -> Result<u64, &'static str> {
    let timeout = group.config.leadership_timeout();
    group.observe_applied_time();
    let time = group.clock.entry_time().map_err(|_| "the clock does not agree with those of the peers")?;
    let kind = Kind::LeadershipStarted(LeadershipStarted { node_id: group.node_id });
    let proposal = Proposal { time, commands: vec![ProposedCommand { kind: Some(kind) }] };
    let written = group.raft.client_write(Bytes::from(proposal.encode_to_vec()));
    let written = tokio::time::timeout(timeout, written).await.map_err(|_| "no majority in time")?;
    let fence = written.map_err(|_| "another node leads")?.log_id.index;
    if !group.is_only_voter() {
        reads::linearizable(&group.raft, timeout).await.map_err(|_| "no majority after the first entry")?;
    }
    Ok(fence)
}

/// Waits for the end of the leadership and says why it came.
async fn hold(group: &Inner, elected: &mut Metrics, vote: Vote) -> &'static str {
    let mut core = Core { group, signs_of_life: group.raft.data_metrics() };
    loop {
        let interval = if group.is_only_voter() { ALONE_INTERVAL } else { group.config.leadership_look_interval() };
        tokio::select! {
            changed = elected.changed() => {
                if changed.is_err() {
                    return "the group has stopped";
                }
                let metrics = elected.borrow_and_update();
                if !metrics.state.is_leader() || metrics.vote != vote {
                    return "another leadership";
                }
            }
            () = group.effects.lost() => return "effects were lost",
            () = beat(interval) => {
                if !group.reaches_majority() || !core.responds().await {
                    return "no majority for two election timeouts";
                }
            }
        }
    }
}

/// openraft's task of the group.
struct Core<'g> {
    group: &'g Inner,
    /// It shows there how long ago a majority answered, whenever it has done something.
    signs_of_life: DataMetrics,
}

impl Core<'_> {
    /// A core that is stuck, in its disk for example, sends no heartbeats: others may lead by now. Nobody else can when
    /// this node is the only voter. One that has done something since the last look is not asked.
    async fn responds(&mut self) -> bool {
        let has_done_something = self.signs_of_life.has_changed().unwrap_or(false);
        self.signs_of_life.mark_unchanged();
        if has_done_something || self.group.is_only_voter() {
            return true;
        }
        let probe = self.group.raft.with_raft_state(|_| ());
        tokio::time::timeout(self.group.config.leadership_timeout(), probe).await.is_ok()
    }
}
