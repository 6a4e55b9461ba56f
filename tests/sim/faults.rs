//! What goes wrong, and when: all of it follows from the seed.

use std::time::Duration;

use crate::{
    hub::{DEVICES, GATEWAYS, SHARDS},
    network::HostId,
    random::Random,
    world::World,
};

/// Undone at some time.
enum Undo {
    Start(HostId),
    Mend(Vec<(HostId, HostId)>),
    Disk(HostId),
    Clock(HostId),
    Network,
    Nothing,
}

/// Injects faults for so long. Some of them last at the end.
pub fn inject(world: &mut World, random: &mut Random, time: Duration) {
    let end = world.now + time;
    let mut undo: Vec<(Duration, Undo)> = Vec::new();
    // Some runs are calm and some are not.
    let pause_max_milliseconds = *random.pick(&[400, 1500, 4000]);
    while world.now < end {
        let pause = random.milliseconds(1, pause_max_milliseconds);
        let next = world.now + pause;
        while world.now < next {
            world.advance(Duration::from_millis(1));
            let now = world.now;
            undo.extract_if(.., |(at, _)| *at <= now)
                .collect::<Vec<_>>()
                .into_iter()
                .for_each(|(_, it)| apply(world, it));
        }
        let (lasts, fault) = begin(world, random);
        undo.push((world.now + lasts, fault));
    }
}

fn note(world: &World, what: impl FnOnce() -> String) {
    world.shared.oracle.lock().note(|| format!("** {}", what()));
}

fn begin(world: &mut World, random: &mut Random) -> (Duration, Undo) {
    let shard = random.below(SHARDS.len() as u64) as HostId;
    let any = random.below((SHARDS.len() + GATEWAYS.len()) as u64) as HostId;
    match random.below(100) {
        0..25 => kill(world, random, shard),
        25..35 => {
            let gateway = GATEWAYS.start + random.below(GATEWAYS.len() as u64) as HostId;
            kill(world, random, gateway)
        }
        35..38 => {
            note(world, || "all shards lose power".to_owned());
            SHARDS.for_each(|shard| world.kill(shard, true));
            let lasts = random.milliseconds(1, 1000);
            SHARDS.skip(1).for_each(|shard| world.start(shard));
            (lasts, Undo::Start(0))
        }
        38..55 => cut(world, random, any),
        55..70 => {
            let time = random.milliseconds(50, 3000);
            note(world, || format!("host {any} stands still for {time:?}"));
            world.stop(any, time);
            (time, Undo::Nothing)
        }
        70..80 => {
            let time = random.milliseconds(5, 300);
            note(world, || format!("the disk of shard {shard} takes {time:?} to sync"));
            world.disk(shard).into_iter().for_each(|disk| disk.set_sync_time(time));
            (random.milliseconds(100, 5000), Undo::Disk(shard))
        }
        80..84 => {
            let free = *random.pick(&[600, 100]);
            note(world, || format!("the disk of shard {shard} has {free} bytes left"));
            world.disk(shard).into_iter().for_each(|disk| disk.set_free_bytes(free));
            (random.milliseconds(1000, 5000), Undo::Disk(shard))
        }
        84..92 => {
            let largest = *random.pick(&[2_000_000, 2_000_000, 20_000_000]);
            let error = random.below(2 * largest) as i64 - largest as i64;
            note(world, || format!("the clock of shard {shard} is {error} us ahead"));
            world.set_clock_error(shard, error);
            (random.milliseconds(500, 8000), Undo::Clock(shard))
        }
        92..94 if world.shared.lost_nodes.lock().is_empty() => {
            note(world, || format!("the disk of shard {shard} is lost"));
            world.lose_disk(shard);
            (random.milliseconds(1, 3000), Undo::Start(shard))
        }
        _ => {
            let (latency, lost) = (*random.pick(&[1, 10, 60]), *random.pick(&[0, 2, 15]));
            note(world, || format!("the network takes up to {latency} ms and loses {lost} %"));
            world.network.set_quality(latency, lost);
            (random.milliseconds(500, 8000), Undo::Network)
        }
    }
}

fn kill(world: &mut World, random: &mut Random, host: HostId) -> (Duration, Undo) {
    let lost_power = random.percent(50);
    note(world, || format!("host {host} {}", if lost_power { "loses power" } else { "is killed" }));
    world.kill(host, lost_power);
    // Often it is back before anybody noticed.
    let lasts = if random.percent(50) { random.milliseconds(1, 100) } else { random.milliseconds(100, 8000) };
    (lasts, Undo::Start(host))
}

/// Cuts a host off from one other, from all shards or from all hosts, in both directions or in one.
fn cut(world: &mut World, random: &mut Random, host: HostId) -> (Duration, Undo) {
    let hosts = SHARDS.chain(GATEWAYS).chain([DEVICES]);
    let others: Vec<HostId> = hosts.filter(|other| *other != host).collect();
    let others = match random.below(3) {
        0 => others,
        1 => others.into_iter().filter(|other| SHARDS.contains(other)).collect(),
        _ => vec![*random.pick(&others)],
    };
    let (there, back) = *random.pick(&[(true, true), (true, true), (true, false), (false, true)]);
    let mut links = Vec::new();
    for other in &others {
        links.extend(there.then_some((host, *other)));
        links.extend(back.then_some((*other, host)));
    }
    note(world, || format!("host {host} is cut off from {others:?} ({there}, {back})"));
    links.iter().for_each(|(from, to)| world.network.set_cut(*from, *to, true));
    (random.milliseconds(100, 8000), Undo::Mend(links))
}

fn apply(world: &mut World, undo: Undo) {
    match undo {
        Undo::Start(host) => world.start(host),
        Undo::Mend(links) => links.into_iter().for_each(|(from, to)| world.network.set_cut(from, to, false)),
        Undo::Disk(shard) => world.disk(shard).into_iter().for_each(|disk| {
            disk.set_free_bytes(u64::MAX);
            disk.set_sync_time(Duration::from_millis(1));
        }),
        Undo::Clock(shard) => world.set_clock_error(shard, 0),
        Undo::Network => world.network.set_quality(1, 0),
        Undo::Nothing => {}
    }
}
