//! Commands per second of one-voter groups on this disk: device creates, each acknowledged after its fsync.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use model::GroupId;
use proto::{
    raft::v1::{ProposedCommand, proposed_command::Kind},
    shard::v1::{
        Authentication, Command, CommandId, DeviceIdentity, Empty, Precondition, PutDevice, SymmetricKeys,
        authentication, command::Operation, precondition,
    },
};
use shard::group::{Config, Group, Node};

fn create(incarnation: u64, sequence: u64) -> ProposedCommand {
    let keys = SymmetricKeys { primary: "cHJpbWFyeQ==".repeat(4), secondary: "c2Vjb25k".repeat(6) };
    let identity = DeviceIdentity {
        device_id: format!("device-{incarnation}-{sequence}"),
        generation_id: "638000000000000000".into(),
        authentication: Some(Authentication { kind: Some(authentication::Kind::Sas(keys)) }),
        ..DeviceIdentity::default()
    };
    let precondition = Precondition { kind: Some(precondition::Kind::Absent(Empty {})) };
    let put = PutDevice { identity: Some(identity), twin: None, precondition: Some(precondition) };
    let id = CommandId { incarnation, sequence, lowest_unanswered: sequence };
    ProposedCommand { kind: Some(Kind::Client(Command { id: Some(id), operation: Some(Operation::PutDevice(put)) })) }
}

/// Writers of their own incarnation, each with one command in flight, until the time is over.
async fn run(groups: &[Group], writers: u64, incarnations: &AtomicU64, length: Duration) -> Result<(), Box<dyn Error>> {
    let begin = Instant::now();
    let entries_before = entries(groups)?;
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let group = groups[(writer as usize) % groups.len()].clone();
            let incarnation = incarnations.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let (mut latencies, mut sequence) = (Vec::new(), 0);
                while begin.elapsed() < length {
                    let sent = Instant::now();
                    group.propose(create(incarnation, sequence)).await?;
                    latencies.push(sent.elapsed());
                    sequence += 1;
                }
                Ok::<_, shard::group::Refusal>(latencies)
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    let elapsed = begin.elapsed().as_secs_f64();
    latencies.sort();
    let at = |share: f64| latencies.get((latencies.len() as f64 * share) as usize).copied().unwrap_or_default();
    println!(
        "{} group(s), {writers:>3} writers: {:>8.0} commands/s, p50 {:?}, p99 {:?}, {:.1} commands per entry",
        groups.len(),
        latencies.len() as f64 / elapsed,
        at(0.5),
        at(0.99),
        latencies.len() as f64 / (entries(groups)? - entries_before).max(1) as f64,
    );
    Ok(())
}

fn entries(groups: &[Group]) -> Result<u64, Box<dyn Error>> {
    let applied = groups.iter().map(|group| group.view()?.applied());
    applied.map(|applied| Ok(applied?.log_id.map_or(0, |id| id.index))).sum()
}

fn resident_kilobytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let length = Duration::from_secs(3);
    let folder = tempfile::tempdir_in(".")?;
    let config = Config { directory: folder.path().join("shard"), ..Config::default() };
    let incarnations = Arc::new(AtomicU64::new(1));

    let begin = Instant::now();
    let node = Node::open(config.clone()).await?;
    leading(&node).await?;
    println!("new store: leading after {:?}, {} KiB resident", begin.elapsed(), resident_kilobytes());
    let devices: Vec<_> = node.groups().filter(|group| group.id() != GroupId::HUB).cloned().collect();
    for writers in [1, 16, 256] {
        run(&devices[..1], writers, &incarnations, length).await?;
    }
    run(&devices, 256, &incarnations, length).await?;
    reads(&devices[0], length).await?;
    drop(devices);
    println!("{} KiB resident", resident_kilobytes());
    node.shutdown().await;

    let begin = Instant::now();
    let node = Node::open(config).await?;
    leading(&node).await?;
    println!("reopened: leading after {:?}", begin.elapsed());
    node.shutdown().await;
    Ok(())
}

async fn leading(node: &Node) -> Result<(), Box<dyn Error>> {
    for group in node.groups() {
        let mut leadership = group.leadership();
        leadership.wait_for(|known| matches!(known, shard::group::Leadership::Leading { .. })).await?;
    }
    Ok(())
}

async fn reads(group: &Group, length: Duration) -> Result<(), Box<dyn Error>> {
    let (begin, mut count) = (Instant::now(), 0_u64);
    while begin.elapsed() < length {
        group.read().await?;
        count += 1;
    }
    println!("1 group(s),   1 reader:  {:>8.0} views/s", count as f64 / begin.elapsed().as_secs_f64());
    Ok(())
}
