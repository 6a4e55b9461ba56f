//! Brings the groups where they are wanted, while this node leads the hub group.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use model::GroupId;
use proto::shard::v1::{ChangeMembersRequest, ClusterDescription, WipeReplicaRequest};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{
    MembershipService,
    observe::Observer,
    plan::{Cluster, Limits, Next, Step, Wait, plan},
    report::report,
    service::change_message,
};
use crate::{
    group::{Group, Leadership, Refusal},
    raft::{NodeId, convert},
    state,
};

/// How often it looks while something moves,
const BUSY: Duration = Duration::from_millis(200);
/// while something has to happen by itself,
const WAITING: Duration = Duration::from_secs(1);
/// and while all is as it is wanted; changes of what is wanted are seen at once.
const IDLE: Duration = Duration::from_secs(5);
/// Leaders are spread evenly once all else has been quiet for so long: a node that restarts has its leaders back then.
const BALANCE_AFTER: Duration = Duration::from_secs(60);
/// Groups that are copied at the same time, so that the disks and the network have time for devices.
const COPIES_MAX: usize = 2;
const TRANSFERS_MAX: usize = 1;
/// Pauses of a group after a step that failed: twice as long each time.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
const PAUSE_LAST: Duration = Duration::from_secs(30);

/// The driver of a node. It rests unless the node leads the hub group.
pub struct Driver {
    service: Arc<MembershipService>,
    balance_now: AtomicBool,
}

/// What one leadership of the hub group remembers: nothing that the next one could not do without.
struct Driving {
    observer: Observer,
    pauses: HashMap<GroupId, Pause>,
    quiet_since: Instant,
}

struct Pause {
    until: Instant,
    next: Duration,
}

impl Driver {
    /// The driver of the node of that service.
    pub fn new(service: Arc<MembershipService>) -> Arc<Self> {
        Arc::new(Self { service, balance_now: AtomicBool::new(false) })
    }

    /// Drives whenever this node leads the hub group, until cancelled.
    pub async fn run(self: Arc<Self>, cancelled: CancellationToken) {
        let Some(hub) = self.service.hub() else { return };
        let mut leadership = hub.group.leadership();
        let follow = async {
            loop {
                let now = *leadership.borrow_and_update();
                let changed = leadership.changed();
                let ended = match now {
                    Leadership::Leading { .. } => tokio::select! {
                        () = self.drive() => return,
                        changed = changed => changed.is_err(),
                    },
                    Leadership::Following { .. } => changed.await.is_err(),
                };
                if ended {
                    return;
                }
            }
        };
        cancelled.run_until_cancelled(follow).await;
    }

    /// Spreads the leaders as soon as nothing else moves.
    pub fn balance(&self) {
        self.balance_now.store(true, Ordering::Release);
        if let Some(hub) = self.service.hub() {
            hub.cluster_changed.notify_one();
        }
    }

    /// What is wanted and what there is, for people; only while this node leads the hub group.
    pub async fn describe(&self) -> Result<ClusterDescription, Refusal> {
        let hub = self.service.hub().ok_or(Refusal::ShuttingDown)?;
        let wanted = state::cluster(&hub.group.read().await?)?;
        let cluster = Observer::new(self.service.clone()).look(&wanted).await;
        let next = plan(&cluster, limits(false));
        let groups: Vec<GroupId> = self.service.groups().map(Group::id).collect();
        Ok(report(&wanted, &cluster, &groups, &next))
    }

    async fn drive(&self) {
        let now = Instant::now();
        let observer = Observer::new(self.service.clone());
        let mut driving = Driving { observer, pauses: HashMap::new(), quiet_since: now };
        loop {
            let pause = self.look_and_act(&mut driving).await.unwrap_or_else(|refusal| {
                tracing::debug!(%refusal, "what is wanted of the cluster cannot be read now");
                WAITING
            });
            let Some(hub) = self.service.hub() else { return };
            let _ = timeout(pause, hub.cluster_changed.notified()).await;
        }
    }

    /// One round. Answers how long the next one may wait.
    async fn look_and_act(&self, driving: &mut Driving) -> Result<Duration, Refusal> {
        let hub = self.service.hub().ok_or(Refusal::ShuttingDown)?;
        let wanted = state::cluster(&hub.group.read().await?)?;
        let cluster = driving.observer.look(&wanted).await;
        let balance_now = self.balance_now.load(Ordering::Acquire);
        let next = plan(&cluster, limits(balance_now || driving.quiet_since.elapsed() >= BALANCE_AFTER));
        if next.values().any(|next| matches!(next, Next::Do(_))) {
            driving.take(&self.service, &cluster, &next).await;
        } else if balance_now && next.values().all(|next| *next == Next::Nothing) {
            self.balance_now.store(false, Ordering::Release);
        }
        let pause = next.values().map(pause).min().unwrap_or(WAITING);
        if pause < IDLE && !next.values().all(|next| matches!(next, Next::Nothing | Next::Do(Step::Transfer { .. }))) {
            driving.quiet_since = Instant::now();
        }
        Ok(pause)
    }
}

fn limits(balances_leaders: bool) -> Limits {
    Limits { copies: COPIES_MAX, transfers: TRANSFERS_MAX, balances_leaders }
}

fn pause(next: &Next) -> Duration {
    match next {
        Next::Nothing => IDLE,
        Next::Do(_) | Next::Wait(Wait::Commit | Wait::Copy { .. } | Wait::Turn) => BUSY,
        Next::Wait(Wait::Leader | Wait::Health | Wait::Nodes) => WAITING,
    }
}

impl Driving {
    /// Takes one step of every group that has one.
    async fn take(
        &mut self,
        service: &Arc<MembershipService>,
        cluster: &Cluster,
        next: &std::collections::BTreeMap<GroupId, Next>,
    ) {
        let now = Instant::now();
        let due = next.iter().filter_map(|(id, next)| match next {
            Next::Do(step) if self.pauses.get(id).is_none_or(|pause| pause.until <= now) => Some((*id, step)),
            _ => None,
        });
        let taken = join_all(due.map(async |(id, step)| (id, step, take(service, cluster, id, step).await))).await;
        for (id, step, outcome) in taken {
            match outcome {
                Ok(()) => _ = self.pauses.remove(&id),
                Err(status) => {
                    tracing::warn!(group = %id, ?step, reason = status.message(), "a step was not taken");
                    let length = self.pauses.get(&id).map_or(PAUSE_FIRST, |pause| pause.next);
                    let pause = Pause { until: Instant::now() + length, next: (2 * length).min(PAUSE_LAST) };
                    self.pauses.insert(id, pause);
                }
            }
        }
    }
}

/// Takes a step: by the group's leader, or at the node that is wiped.
async fn take(service: &Arc<MembershipService>, cluster: &Cluster, id: GroupId, step: &Step) -> Result<(), Status> {
    let group = cluster.groups.get(&id).ok_or_else(|| Status::not_found("no such group"))?;
    let client = |node_id: NodeId| {
        let address = cluster.nodes.get(&node_id).map(|node| node.address.as_str());
        let address = address.or_else(|| group.members.get(&node_id).map(String::as_str));
        service.client(node_id, address.unwrap_or_default())
    };
    let leader = group.leader.ok_or_else(|| Status::unavailable("nobody leads the group"))?;
    let membership = Some(convert::log_id_to_proto(&group.membership));
    match step {
        Step::Change(change) => {
            let change = Some(change_message(change.clone()));
            let message = ChangeMembersRequest { group: id.0, expected_membership: membership, change };
            client(leader)?.change_members(message).await
        }
        Step::Transfer { to } => {
            let gap = client(leader)?.transfer_leadership(id.0, *to).await?;
            tracing::info!(group = %id, from = leader, to, ?gap, "a leadership has gone to another node");
            Ok(())
        }
        Step::Wipe { node } => client(*node)?.wipe_replica(WipeReplicaRequest { group: id.0, membership }).await,
    }
}
