use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicI64},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use futures::future::{join_all, try_join_all};
use model::GroupId;
use proto::{
    raft::v1::{StoreMark, raft_server::RaftServer},
    shard::v1::RegisterNode,
};
use tokio::{
    sync::{Mutex, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{
    Config, Founder, Group, Leadership,
    entry_clock::EntryClock,
    founding,
    gate::Gate,
    handle::{Inner, Replica},
    log_retention,
    proposer::Proposer,
    reads::Reads,
};
use crate::{
    raft::{Clocks, Connect, Network, NodeId, Peers, Raft, RaftService, Served, Transfers},
    store::{
        Database, DiskReserve, Effects, KeyValue, LogStore, LogWriter, OpenError, RocksStore, StateMachine, StoreError,
        keys, off_thread,
    },
};

const DISK_INTERVAL: Duration = Duration::from_secs(1);
/// Free space that is unknown for longer counts as none: the folder may be gone.
const DISK_UNKNOWN_MAX: Duration = Duration::from_secs(3);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// All groups of this process: one database, one log writer.
///
/// Has to be ended by [`Node::shutdown`]; what is dropped without it goes on in the background.
pub struct Node {
    node_id: NodeId,
    config: Arc<Config>,
    connect: Connect,
    groups: BTreeMap<GroupId, Group>,
    service: RaftService,
    transfers: Transfers,
    disk: Arc<DiskReserve>,
    database: Arc<Database>,
    writer: Arc<LogWriter>,
    tasks: Vec<JoinHandle<()>>,
}

/// What a node lives on: its disk, and the way to other nodes.
pub struct Environment {
    pub store: Arc<dyn KeyValue>,
    pub connect: Connect,
}

/// What is wrong with a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Commands are refused until there is space, or until it is known again how much there is.
    pub is_disk_full: bool,
    /// Groups whose disk has failed; only a restart brings them back.
    pub stopped_groups: Vec<GroupId>,
    /// Groups that this node is a member of, without a leader that it knows.
    pub leaderless_groups: Vec<GroupId>,
    /// No group has this node among its members: it waits to be asked.
    pub is_outside: bool,
}

impl Node {
    /// Opens the RocksDB in the configured folder and starts every group, which talk over TCP.
    pub async fn open(config: Config) -> Result<Self, OpenError> {
        Self::open_over(config, Arc::new(|endpoint| endpoint.connect_lazy())).await
    }

    /// The same over connections of another kind.
    pub async fn open_over(config: Config, connect: Connect) -> Result<Self, OpenError> {
        let opening = config.clone();
        let open = move || RocksStore::open(&opening.directory, &opening.database_options());
        let opened = tokio::task::spawn_blocking(open).await;
        let store = Arc::new(opened.map_err(|panic| StoreError::Disk(panic.to_string()))??);
        Self::open_in(config, Environment { store, connect }).await
    }

    /// The same on another disk and network. A new store is bootstrapped with the configured first members.
    pub async fn open_in(config: Config, environment: Environment) -> Result<Self, OpenError> {
        check(&config)?;
        let Environment { store, connect } = environment;
        let (database, node_id) = open_database(&config, store.clone())?;
        let config = Arc::new(Config { node_id, ..config });
        let disk = Arc::new(DiskReserve::new(store, config.disk_reserve_bytes));
        disk.measure()?;
        let clocks = Arc::new(Clocks::new(Duration::from_millis(config.clock_difference_max_milliseconds)));
        let snapshot_timeout = Duration::from_millis(config.snapshot_timeout_milliseconds);
        let transfers = Transfers::new(config.snapshots_at_once_max, snapshot_timeout)
            .map_err(|error| OpenError::Configuration(error.to_string()))?;
        let service = RaftService::new(clocks.clone(), disk.clone(), database.clone(), transfers.clone());
        let start = Arc::new(Start {
            writer: LogWriter::start(database.clone())?,
            peers: Arc::new(Peers::new(connect.clone(), clocks.clone(), transfers.clone())),
            transfers,
            config,
            database,
            disk,
            clocks,
            connect,
        });
        let all = std::iter::once(GroupId::HUB).chain(GroupId::devices(start.config.groups));
        let groups = try_join_all(all.map(|id| start.group(id))).await?;
        service.serve(groups.iter().map(|group| (group.id(), group.replica.served.clone())).collect());
        start.bootstrap(&groups).await?;
        try_join_all(groups.iter().map(elect_only_voter)).await?;
        Ok(start.node(service, groups))
    }

    /// This node's id.
    pub fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// A group of this node.
    pub fn group(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(&id)
    }

    /// Every group of this node, `hub` first.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    /// How other nodes are connected to.
    pub fn connect(&self) -> Connect {
        self.connect.clone()
    }

    /// What this node makes itself known by.
    pub fn registration(&self) -> RegisterNode {
        let Config { initial_members, address, name, .. } = &*self.config;
        let named = initial_members.iter().find(|member| member.node_id == self.node_id);
        let address = if address.is_empty() { named.map_or("", |member| &member.address) } else { address };
        let name = if name.is_empty() { self.node_id.to_string() } else { name.clone() };
        RegisterNode { node_id: self.node_id, address: address.to_owned(), name }
    }

    /// Other nodes that were named to this one.
    pub fn other_addresses(&self) -> Vec<String> {
        let others = self.config.initial_members.iter().filter(|member| member.node_id != self.node_id);
        others.map(|member| &member.address).chain(&self.config.seeds).cloned().collect()
    }

    /// Makes the node begin a hub, later.
    pub fn founder(&self) -> Founder {
        Founder { groups: self.groups.values().cloned().collect() }
    }

    /// What the other nodes talk to. Their streams end when the token is cancelled.
    pub fn raft_service(&self, stopping: CancellationToken) -> RaftServer<RaftService> {
        self.service.clone().into_server(stopping)
    }

    /// The snapshots that go to other nodes and come from them.
    pub fn transfers(&self) -> &Transfers {
        &self.transfers
    }

    /// What is wrong now.
    pub fn health(&self) -> Health {
        let is_outside = !self.groups.values().any(Group::is_member);
        let mut health = Health { is_disk_full: self.disk.is_exhausted(), is_outside, ..Health::default() };
        for (id, group) in &self.groups {
            if group.inner().failure().is_some() {
                health.stopped_groups.push(*id);
            } else if group.is_member()
                && *group.replica.leadership.borrow() == (Leadership::Following { leader: None })
            {
                health.leaderless_groups.push(*id);
            }
        }
        health
    }

    /// Resolves when every group that this node is a member of has a leader that it knows.
    pub async fn ready(&self) {
        for group in self.groups.values().filter(|group| group.is_member()) {
            let mut leadership = group.leadership();
            // A group that has stopped will not have one; health tells.
            let _ = leadership.wait_for(|known| !matches!(known, Leadership::Following { leader: None })).await;
        }
    }

    /// Stops every group, writes what is queued and closes the database. Clones of groups and views that are still
    /// held keep the database open.
    pub async fn shutdown(self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        join_all(self.groups.values().map(|group| async { group.inner().raft.shutdown().await })).await;
        let Self { groups, service, database, writer, .. } = self;
        drop((groups, service));
        if let Err(error) = close(&database, writer).await {
            tracing::error!(%error, "the database was not flushed; its log is");
        }
        let closed = async {
            while Arc::strong_count(&database) > 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(CLOSE_TIMEOUT, closed).await.is_err() {
            tracing::warn!("the database is still in use after the shutdown");
        }
    }
}

/// What groups are started with.
pub(super) struct Start {
    config: Arc<Config>,
    pub database: Arc<Database>,
    pub writer: Arc<LogWriter>,
    disk: Arc<DiskReserve>,
    clocks: Arc<Clocks>,
    peers: Arc<Peers>,
    transfers: Transfers,
    connect: Connect,
}

impl Start {
    async fn group(self: &Arc<Self>, id: GroupId) -> Result<Group, OpenError> {
        let effects = Arc::new(Effects::new(self.config.queued_effects_max));
        let leadership = watch::Sender::new(Leadership::Following { leader: None });
        let life = Arc::new(self.life(id, &effects, &leadership).await?);
        life.clone().follow_leadership(&leadership);
        let replica = Replica {
            id,
            start: self.clone(),
            served: Arc::new(Served::new(life.raft.clone(), self.database.vote_floor(id)?)),
            life: ArcSwap::new(life),
            effects,
            leadership,
            wiping: Mutex::default(),
            changing: Mutex::default(),
        };
        Ok(Group { replica: Arc::new(replica) })
    }

    /// Starts a group over what is on the disk.
    pub async fn life(
        &self,
        id: GroupId,
        effects: &Arc<Effects>,
        leadership: &watch::Sender<Leadership>,
    ) -> Result<Inner, OpenError> {
        let (config, node_id) = (&self.config, self.config.node_id);
        let log = LogStore::open(id, self.database.clone(), self.writer.clone(), config.log_memory_bytes)?;
        let state_machine = StateMachine::open(id, self.database.clone(), effects.clone())?;
        let (table, state_machine_closed) = (state_machine.table(), state_machine.closed());
        let raft_config = config.raft_config(format!("group {id}"))?;
        let network = Network::new(id, self.peers.clone());
        let raft = Raft::new(node_id, Arc::new(raft_config), network, log.clone(), state_machine).await;
        let raft = raft.map_err(|error| stopped(id, &error))?;
        let clock = Arc::new(EntryClock {
            node_id,
            clocks: self.clocks.clone(),
            metrics: raft.server_metrics(),
            last_time: AtomicI64::new(i64::MIN),
        });
        let gate = Gate::default();
        Ok(Inner {
            id,
            node_id,
            proposer: Proposer::start(id, raft.clone(), config, clock.clone(), gate.clone()),
            reads: Reads::start(raft.clone(), config.queued_reads_max, config.leadership_timeout(), gate.clone()),
            config: config.clone(),
            raft,
            log,
            table,
            clock,
            effects: effects.clone(),
            disk: self.disk.clone(),
            leadership: leadership.subscribe(),
            gate,
            state_machine_closed,
        })
    }

    /// Writes the first membership, once in the life of the store. One node does it, so that a new hub does not begin
    /// with several candidates; the others get it from the leader.
    async fn bootstrap(&self, groups: &[Group]) -> Result<(), OpenError> {
        let mark = self.database.mark()?.unwrap_or_default();
        if mark.bootstrapped || self.config.joins {
            return Ok(());
        }
        let first = self.config.initial_members.first().map_or(self.config.node_id, |member| member.node_id);
        if first == self.config.node_id {
            let members = founding::first_members(&self.config);
            founding::initialize(groups, &members).await?;
        }
        Ok(self.database.write_mark(&StoreMark { bootstrapped: true, ..mark })?)
    }

    fn node(&self, service: RaftService, groups: Vec<Group>) -> Node {
        let cut = groups.iter().map(|group| Arc::downgrade(&group.replica)).collect();
        let tasks = vec![
            tokio::spawn(log_retention::run(cut, self.config.log_bytes_max)),
            tokio::spawn(watch_disk(self.disk.clone())),
        ];
        Node {
            node_id: self.config.node_id,
            config: self.config.clone(),
            connect: self.connect.clone(),
            groups: groups.into_iter().map(|group| (group.id(), group)).collect(),
            service,
            transfers: self.transfers.clone(),
            disk: self.disk.clone(),
            database: self.database.clone(),
            writer: self.writer.clone(),
            tasks,
        }
    }
}

fn check(config: &Config) -> Result<(), OpenError> {
    let at_least_one = [
        ("groups", config.groups as usize),
        ("commands_per_entry_max", config.commands_per_entry_max),
        ("entries_in_flight_max", config.entries_in_flight_max),
        ("queued_commands_max", config.queued_commands_max),
        ("queued_reads_max", config.queued_reads_max),
        ("queued_effects_max", config.queued_effects_max),
        ("snapshots_at_once_max", config.snapshots_at_once_max),
    ];
    match at_least_one.iter().find(|(_, value)| *value == 0) {
        Some((name, _)) => Err(OpenError::Configuration(format!("{name} must not be 0"))),
        None => Ok(()),
    }
}

async fn close(database: &Database, writer: Arc<LogWriter>) -> Result<(), StoreError> {
    off_thread(database.store(), move || {
        writer.stop();
        Ok(())
    })
    .await?;
    database.flush().await
}

/// The database, and the id of its disk.
fn open_database(config: &Config, store: Arc<dyn KeyValue>) -> Result<(Arc<Database>, NodeId), OpenError> {
    let database = Database::over(store)?;
    let Config { node_id: configured, groups, .. } = *config;
    match database.mark()? {
        None => {
            let node_id = if configured == 0 { draw_node_id() } else { configured };
            database.write_mark(&StoreMark { format: keys::FORMAT, node_id, groups, bootstrapped: false })?;
            Ok((database, node_id))
        }
        Some(mark) if configured != 0 && mark.node_id != configured => {
            Err(OpenError::NodeId { stored: mark.node_id, configured })
        }
        Some(mark) if mark.groups != groups => Err(OpenError::Groups { stored: mark.groups, configured: groups }),
        Some(mark) => Ok((database, mark.node_id)),
    }
}

/// 48 random bits: enough that no two disks of a hub meet, and JSON keeps them exactly.
fn draw_node_id() -> NodeId {
    (uuid::Uuid::new_v4().as_u64_pair().0 >> 16).max(1)
}

/// A crash between vote and victory leaves the only voter a follower; it need not wait for a timeout.
async fn elect_only_voter(group: &Group) -> Result<(), OpenError> {
    let inner = group.inner();
    let (raft, node_id) = (&inner.raft, inner.node_id);
    let alone = raft
        .with_raft_state(move |state| state.membership_state.effective().voter_ids().eq([node_id]))
        .await
        .map_err(|error| stopped(group.id(), &error))?;
    if !alone {
        return Ok(());
    }
    raft.trigger().elect().await.map_err(|error| stopped(group.id(), &error))
}

fn stopped(group: GroupId, error: &dyn std::error::Error) -> OpenError {
    OpenError::Raft { group, cause: error.to_string() }
}

async fn watch_disk(disk: Arc<DiskReserve>) {
    let mut unknown_since: Option<Instant> = None;
    loop {
        tokio::time::sleep(DISK_INTERVAL).await;
        match (disk.measure(), unknown_since) {
            (Ok(()), None) => {}
            (Ok(()), Some(_)) => {
                unknown_since = None;
                tracing::info!("the free space of the disk is known again");
            }
            (Err(error), None) => {
                unknown_since = Some(Instant::now());
                tracing::warn!(%error, "the free space of the disk is not known");
            }
            (Err(_), Some(since)) if since.elapsed() >= DISK_UNKNOWN_MAX => disk.observe(0),
            (Err(_), Some(_)) => {}
        }
    }
}
