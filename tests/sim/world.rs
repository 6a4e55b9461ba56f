//! Hosts, each with a runtime of its own on the one thread, and the time that passes for all of them.

use std::{sync::Arc, time::Duration};

use shard::store::MemoryStore;
use tokio::runtime::{Builder, Runtime};

use crate::{
    hub::{self, DEVICES, GATEWAYS, SHARDS},
    libc::{self, Clock},
    network::{HostId, Network},
    random::Random,
    run::Shared,
};

/// All hosts live through so much time, one after the other; nothing that one sends arrives earlier at another.
pub const STEP: Duration = Duration::from_millis(1);

/// Where the monotonic clocks of all hosts begin; hosts that began at 0 could not look back.
const BOOTED: Duration = Duration::from_secs(1_000_000);
const BEGAN_SINCE_1970: Duration = Duration::from_secs(1_800_000_000);

pub struct World {
    pub now: Duration,
    pub network: Arc<Network>,
    pub shared: Arc<Shared>,
    hosts: Vec<Host>,
    random: Random,
}

struct Host {
    runtime: Option<Runtime>,
    /// Of a shard.
    disk: Option<Arc<MemoryStore>>,
    disks_lost: u64,
    /// How far its wall clock is ahead, microseconds.
    clock_error: i64,
    /// It does nothing before that time,
    stopped_until: Duration,
    /// and has that to catch up with.
    behind: Duration,
}

impl World {
    /// All hosts, none of them started.
    pub fn new(mut random: Random, shared: Arc<Shared>) -> Self {
        let network = Network::new(random.fork());
        let host = |id: HostId| Host {
            runtime: None,
            disk: SHARDS.contains(&id).then(Arc::default),
            disks_lost: 0,
            clock_error: 0,
            stopped_until: Duration::ZERO,
            behind: Duration::ZERO,
        };
        let hosts = SHARDS.chain(GATEWAYS).chain([DEVICES]).map(host).collect();
        Self { now: Duration::ZERO, network, shared, hosts, random }
    }

    /// Lets time pass.
    pub fn advance(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.step();
        }
    }

    /// Lets time pass until it is so, or for too long: then it answers false.
    pub fn advance_until(&mut self, limit: Duration, mut is_so: impl FnMut(&Shared) -> bool) -> bool {
        let until = self.now + limit;
        while !is_so(&self.shared) {
            if self.now >= until {
                return false;
            }
            self.step();
        }
        true
    }

    fn step(&mut self) {
        self.now += STEP;
        self.shared.oracle.lock().now = self.now;
        self.network.advance(self.now);
        let mut order: Vec<HostId> = (0..self.hosts.len()).collect();
        self.random.shuffle(&mut order);
        for id in order {
            let now = self.now;
            self.hosts[id].step(now);
        }
    }

    pub fn is_up(&self, id: HostId) -> bool {
        self.hosts[id].runtime.is_some()
    }

    /// Starts a host that is down.
    pub fn start(&mut self, id: HostId) {
        if self.is_up(id) {
            return;
        }
        let (network, shared, random) = (self.network.clone(), self.shared.clone(), self.random.fork());
        let host = &mut self.hosts[id];
        (host.behind, host.stopped_until) = (Duration::ZERO, Duration::ZERO);
        host.set_clock(self.now);
        let built = Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = built.unwrap_or_else(|error| panic!("no runtime: {error}"));
        match &host.disk {
            Some(disk) => {
                let node_id = hub::node_id(id, host.disks_lost);
                drop(runtime.spawn(hub::run_shard(id, node_id, disk.clone(), network, shared)));
            }
            None if id == DEVICES => drop(runtime.spawn(hub::run_devices(id, network, shared, random))),
            None => drop(runtime.spawn(hub::run_gateway(id, network, shared, random))),
        }
        host.runtime = Some(runtime);
    }

    /// Ends a host in the middle of whatever it does; of what its disk was not asked to sync, some is left.
    pub fn kill(&mut self, id: HostId, lost_power: bool) {
        let host = &mut self.hosts[id];
        let Some(runtime) = host.runtime.take() else { return };
        self.network.host_died(id, lost_power);
        host.set_clock(self.now);
        drop(runtime);
        if let Some(disk) = &mut host.disk {
            // A process that dies leaves what it wrote to the operating system.
            let unsynced = disk.unsynced_writes();
            let left = if lost_power { self.random.below(unsynced as u64 + 1) as usize } else { unsynced };
            *disk = Arc::new(disk.crash(left));
        }
        self.shared.oracle.lock().sessions.host_died(id);
    }

    /// Ends a shard; it comes back with an empty disk, which is another node.
    pub fn lose_disk(&mut self, id: HostId) {
        self.kill(id, true);
        let host = &mut self.hosts[id];
        host.disk = Some(Arc::default());
        self.shared.lost_nodes.lock().push(hub::node_id(id, host.disks_lost));
        host.disks_lost += 1;
    }

    /// The host does nothing for a while, and notices nothing of it.
    pub fn stop(&mut self, id: HostId, time: Duration) {
        self.hosts[id].stopped_until = self.now + time;
    }

    pub fn set_clock_error(&mut self, id: HostId, microseconds: i64) {
        self.hosts[id].clock_error = microseconds;
    }

    pub fn disk(&self, id: HostId) -> Option<&MemoryStore> {
        self.hosts[id].disk.as_deref()
    }

    /// Ends everything that is wrong, and starts whatever is down.
    pub fn heal(&mut self) {
        self.network.mend_all();
        self.network.set_quality(1, 0);
        for id in 0..self.hosts.len() {
            let host = &mut self.hosts[id];
            (host.stopped_until, host.clock_error) = (Duration::ZERO, 0);
            if let Some(disk) = &host.disk {
                disk.set_free_bytes(u64::MAX);
                disk.set_sync_time(Duration::from_millis(1));
            }
            self.start(id);
        }
    }
}

impl Host {
    fn step(&mut self, now: Duration) {
        if self.runtime.is_some() && now < self.stopped_until {
            self.behind += STEP;
            return;
        }
        self.set_clock(now);
        let Some(runtime) = &self.runtime else { return };
        if !self.behind.is_zero() {
            runtime.block_on(tokio::time::advance(std::mem::take(&mut self.behind)));
        }
        // The runtime's clock stands until it has nothing to do, then it goes on to the next timer: this one at the latest.
        runtime.block_on(async { tokio::time::sleep(STEP).await });
    }

    fn set_clock(&self, now: Duration) {
        let since_1970 = BEGAN_SINCE_1970 + now;
        let error = Duration::from_micros(self.clock_error.unsigned_abs());
        let since_1970 = if self.clock_error < 0 { since_1970 - error } else { since_1970 + error };
        libc::set_clock(Clock { monotonic: BOOTED + now, since_1970 });
    }
}
