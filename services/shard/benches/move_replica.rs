//! How long a node with an empty disk takes to get the state of 100,000 devices from the leaders of all groups.
//!
//! `cargo bench -p shard --bench move_replica [-- DEVICES]`

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::join_all;
use model::GroupId;
use proto::{
    raft::v1::{ProposedCommand, proposed_command::Kind},
    shard::v1::{
        Authentication, Command, CommandId, DeviceIdentity, Empty, Precondition, PutDevice, SymmetricKeys,
        authentication, command::Operation, precondition,
    },
};
use shard::Config;
use tokio::time::sleep;

mod three_nodes;

use three_nodes::{Failure, ThreeNodes};

const GROUPS: u32 = 16;
const DEVICES: usize = 100_000;
/// Of an identity beside its keys; together about 1 KiB for each device.
const FILLER_BYTES: usize = 800;
/// Each with one command in flight.
const WRITERS: usize = 256;
const EMPTIED: usize = 2;

/// Leaders have cut their logs then.
const SETTLE: Duration = Duration::from_secs(3);

/// Logs so short that nobody catches up without a snapshot.
fn short_log(config: Config) -> Config {
    Config { log_entries_max: 1, log_entries_kept: 0, log_bytes_max: 1, ..config }
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::disallowed_methods, reason = "a program of its own")]
async fn main() -> Result<(), Failure> {
    let devices = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(DEVICES);
    let all_written = Arc::new(AtomicBool::new(false));
    let cut_logs = all_written.clone();
    let adjust = move |config| if cut_logs.load(Ordering::Relaxed) { short_log(config) } else { config };
    let mut nodes = ThreeNodes::start(GROUPS, adjust).await?;
    nodes.wait_for_leaders().await?;
    let began = Instant::now();
    let nodes_now = &nodes;
    let writers = (0..WRITERS).map(|writer| async move {
        for number in (writer..devices).step_by(WRITERS) {
            write(nodes_now, number).await;
        }
    });
    join_all(writers).await;
    println!("{devices} devices written in {:?}", began.elapsed());
    all_written.store(true, Ordering::Relaxed);
    // Nobody may remember what the emptied node had: openraft takes a log that went back for a broken promise.
    (0..three_nodes::NODES as usize).for_each(|node| nodes.kill(node));
    remove(&nodes).await?;
    for node in (0..three_nodes::NODES as usize).filter(|node| *node != EMPTIED) {
        nodes.restart(node).await?;
    }
    nodes.wait_for_leaders().await?;
    sleep(SETTLE).await;
    let began = Instant::now();
    nodes.restart(EMPTIED).await?;
    let mut waiting: Vec<GroupId> = nodes.group_ids().collect();
    while !waiting.is_empty() {
        sleep(Duration::from_millis(10)).await;
        waiting.retain(|group| !has_caught_up(&nodes, *group).unwrap_or(false));
    }
    let elapsed = began.elapsed();
    println!("an empty node had the state of {devices} devices in {GROUPS} groups after {elapsed:?}");
    nodes.stop().await;
    Ok(())
}

/// The disk of the killed node, once nothing holds it any more.
async fn remove(nodes: &ThreeNodes) -> Result<(), Failure> {
    while let Err(error) = std::fs::remove_dir_all(nodes.folder(EMPTIED)) {
        if error.kind() == std::io::ErrorKind::NotFound {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Whether the emptied node has applied all that the leader has.
fn has_caught_up(nodes: &ThreeNodes, group: GroupId) -> Result<bool, Failure> {
    let applied = |node: usize| {
        let view = nodes.group(node, group).ok_or("no such group")?.view()?;
        Ok::<_, Failure>(view.applied()?.log_id.map(|id| id.index))
    };
    let leader = nodes.leader(group).ok_or("no leader")?;
    Ok(applied(EMPTIED)? >= applied(leader)?)
}

/// Creates a device, again until it is acknowledged.
async fn write(nodes: &ThreeNodes, number: usize) {
    let group = GroupId(1 + (number as u32) % GROUPS);
    loop {
        let leader = nodes.leader(group).and_then(|leader| nodes.group(leader, group));
        let written = match leader.cloned() {
            Some(leader) => leader.propose(create(number as u64)).await.is_ok(),
            None => false,
        };
        if written {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

fn create(number: u64) -> ProposedCommand {
    let keys = SymmetricKeys { primary: "cHJpbWFyeQ==".repeat(4), secondary: "c2Vjb25k".repeat(6) };
    let identity = DeviceIdentity {
        device_id: format!("device-{number}"),
        generation_id: "638000000000000000".into(),
        authentication: Some(Authentication { kind: Some(authentication::Kind::Sas(keys)) }),
        status_reason: Some(filler(number)),
        ..DeviceIdentity::default()
    };
    let precondition = Precondition { kind: Some(precondition::Kind::Absent(Empty {})) };
    let put = PutDevice { identity: Some(identity), twin: None, precondition: Some(precondition) };
    let id = CommandId { incarnation: number % WRITERS as u64, sequence: number, lowest_unanswered: number };
    ProposedCommand { kind: Some(Kind::Client(Command { id: Some(id), operation: Some(Operation::PutDevice(put)) })) }
}

/// Text that does not compress away.
fn filler(number: u64) -> String {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'a' + (state % 26) as u8)
    };
    (0..FILLER_BYTES).map(letter).collect()
}
