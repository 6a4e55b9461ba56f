use std::sync::Arc;

use arc_swap::ArcSwap;
use model::GroupId;
use openraft::error::Fatal;
use proto::{raft::v1::ProposedCommand, shard::v1::CommandResult};
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use super::{
    Config, Leadership, Member, Refusal, entry_clock::EntryClock, gate::Gate, node::Start, proposer::Proposer,
    reads::Reads,
};
use crate::{
    raft::{NodeId, Raft, Served},
    state,
    store::{DiskReserve, EffectReceiver, Effects, LogStore, StoreError, Table, View},
};

/// One Raft group on this node. Cheap to clone.
#[derive(Clone)]
pub struct Group {
    pub(super) replica: Arc<Replica>,
}

/// This node's replica, in all its lives.
pub(super) struct Replica {
    pub id: GroupId,
    pub start: Arc<Start>,
    pub life: ArcSwap<Inner>,
    pub served: Arc<Served>,
    pub effects: Arc<Effects>,
    pub leadership: watch::Sender<Leadership>,
    pub wiping: Mutex<()>,
    pub changing: Mutex<()>,
}

/// One life of it: from a start or a wipe to the next one.
pub(super) struct Inner {
    pub id: GroupId,
    pub node_id: NodeId,
    pub config: Arc<Config>,
    pub raft: Raft,
    pub log: LogStore,
    pub table: Arc<ArcSwap<Table>>,
    pub proposer: Proposer,
    pub reads: Reads,
    pub clock: Arc<EntryClock>,
    pub effects: Arc<Effects>,
    pub disk: Arc<DiskReserve>,
    pub leadership: watch::Receiver<Leadership>,
    pub gate: Gate,
    /// Cancelled when the state is written no more.
    pub state_machine_closed: CancellationToken,
}

impl Group {
    pub(super) fn inner(&self) -> Arc<Inner> {
        self.replica.life.load_full()
    }

    /// Its number.
    pub fn id(&self) -> GroupId {
        self.replica.id
    }

    /// Commits and applies the command, together with others that wait, and answers its result. The command is in the
    /// log at most once for each call; with [`Refusal::OutcomeUnknown`] it may be there.
    pub async fn propose(&self, command: ProposedCommand) -> Result<CommandResult, Refusal> {
        let inner = self.inner();
        inner.require_leading()?;
        if inner.disk.is_exhausted() {
            return Err(Refusal::DiskFull);
        }
        inner.proposer.propose(command).await
    }

    /// The rows as they are at some moment after the call, with everything that was acknowledged before it.
    pub async fn read(&self) -> Result<View, Refusal> {
        let inner = self.inner();
        inner.require_leading()?;
        // Nobody else can lead while this node is the only voter, and what was acknowledged has been applied here. A
        // membership with more voters is known to this node before any other can be elected by it.
        if !inner.is_only_voter() {
            inner.reads.round().await?;
        }
        Ok(self.view()?)
    }

    /// The rows as this node has them now, on any replica; they may be old.
    pub fn view(&self) -> Result<View, StoreError> {
        self.replica.life.load().table.load().view()
    }

    /// The nodes of the group's membership as this node knows it, with their addresses; none on a node that no
    /// membership has reached.
    pub fn members(&self) -> Vec<Member> {
        let inner = self.inner();
        let metrics = inner.clock.metrics.borrow();
        let nodes = metrics.membership_config.membership().nodes();
        nodes.map(|(node_id, node)| Member { node_id: *node_id, address: node.addr.clone() }).collect()
    }

    /// Whether this node is in the membership that it knows.
    pub fn is_member(&self) -> bool {
        self.inner().is_member()
    }

    /// The node that leads, as far as this node knows.
    pub fn leader(&self) -> Option<NodeId> {
        match *self.replica.leadership.borrow() {
            Leadership::Leading { .. } => Some(self.inner().node_id),
            Leadership::Following { leader } => leader,
        }
    }

    /// Who leads, now and after every change.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.replica.leadership.subscribe()
    }

    /// What applied entries mean to the outside, with their log index, while this node leads; the first caller gets
    /// it. Effects of one entry and of several come in their order; some may belong to an earlier leadership of this
    /// node. It must be emptied without waiting for this group.
    pub fn effects(&self) -> Option<EffectReceiver> {
        self.replica.effects.take()
    }
}

impl Inner {
    pub fn require_leading(&self) -> Result<(), Refusal> {
        match *self.leadership.borrow() {
            Leadership::Leading { .. } => Ok(()),
            Leadership::Following { leader } => Err(Refusal::NotLeader { leader }),
        }
    }

    /// Whether the membership that this node knows names it.
    pub fn is_member(&self) -> bool {
        self.clock.metrics.borrow().membership_config.membership().get_node(&self.node_id).is_some()
    }

    /// Whether this node leads alone.
    pub fn is_only_voter(&self) -> bool {
        let metrics = self.clock.metrics.borrow();
        let mut configurations = metrics.membership_config.membership().get_joint_config().iter();
        metrics.state.is_leader() && configurations.all(|voters| voters.len() == 1 && voters.contains(&self.node_id))
    }

    /// Whether a majority has answered this leader lately, or it is too new to know.
    pub fn reaches_majority(&self) -> bool {
        let timeout = self.config.leadership_timeout();
        let silent = self.raft.data_metrics().borrow().millis_since_quorum_ack;
        self.is_only_voter() || silent.is_none_or(|milliseconds| u128::from(milliseconds) <= timeout.as_millis())
    }

    /// Why the group has stopped, when it did so by itself.
    pub fn failure(&self) -> Option<Fatal<NodeId>> {
        self.raft.metrics().borrow().running_state.clone().err().filter(|error| *error != Fatal::Stopped)
    }

    /// Takes the time of the newest applied entry as the smallest for the next.
    pub fn observe_applied_time(&self) {
        match state::entry_time(&**self.table.load()) {
            Ok(time) => self.clock.observe(time),
            Err(error) => tracing::error!(group = %self.id, %error, "the state cannot be read"),
        }
    }
}
