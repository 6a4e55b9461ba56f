//! How long after the death of a node writes to the groups that it led are acknowledged again, as a gateway sees it.
//!
//! `cargo bench -p shard --bench fail_over [-- KILLS [ELECTION_TIMEOUT_MIN ELECTION_TIMEOUT_MAX]]`

use std::time::{Duration, Instant};

use futures::future::try_join_all;
use model::{Authentication, DeviceId, DeviceIdentity, GroupId, SymmetricKey, SymmetricKeys, group_of};
use shard_client::{Precondition, ShardClient};
use tokio::time::sleep;

mod three_nodes;

use three_nodes::{Failure, ThreeNodes};

const GROUPS: u32 = 16;
const KILLS: usize = 30;
/// A node that came back has caught up then, and its clock has been compared.
const SETTLE: Duration = Duration::from_secs(2);

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::disallowed_methods, reason = "a program of its own")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let kills = arguments.first().map_or(KILLS, |kills| *kills as usize);
    let mut nodes = ThreeNodes::start(GROUPS, move |mut config| {
        if let [_, min, max] = arguments[..] {
            (config.election_timeout_min_milliseconds, config.election_timeout_max_milliseconds) = (min, max);
        }
        config
    })
    .await?;
    let client = nodes.client().await?;
    let (mut until_led, mut until_written) = (Vec::new(), Vec::new());
    for kill in 0..kills {
        nodes.wait_for_leaders().await?;
        sleep(SETTLE).await;
        let (victim, groups) = most_leading(&nodes)?;
        // A write to each, so that the client knows the leaders.
        write_all(&client, &groups, &format!("before-{kill}")).await?;
        nodes.kill(victim);
        let killed = Instant::now();
        let led = async {
            nodes.wait_for_leaders().await?;
            Ok::<_, Failure>(killed.elapsed())
        };
        let name = format!("after-{kill}");
        let written = write_all(&client, &groups, &name);
        let (led, written) = tokio::try_join!(led, written)?;
        println!("kill {kill}: {} groups led after {led:?}, all written to after {written:?}", groups.len());
        until_led.push(led);
        until_written.push(written);
        nodes.restart(victim).await?;
    }
    report("led again", until_led);
    report("written to again", until_written);
    nodes.stop().await;
    Ok(())
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: f64| times.get(((times.len() - 1) as f64 * share).ceil() as usize).copied().unwrap_or_default();
    println!("{what}: p50 {:?}, p99 {:?} of {} kills", at(0.5), at(0.99), times.len());
}

/// The node that leads most groups, and those groups.
fn most_leading(nodes: &ThreeNodes) -> Result<(usize, Vec<GroupId>), Failure> {
    let devices = || nodes.group_ids().filter(|group| *group != GroupId::HUB);
    let led_by = |node: usize| devices().filter(move |group| nodes.leader(*group) == Some(node)).collect::<Vec<_>>();
    let all = (0..three_nodes::NODES as usize).map(|node| (node, led_by(node)));
    Ok(all.max_by_key(|(_, groups)| groups.len()).ok_or("no nodes")?)
}

/// Writes to every group, and answers when the last one was acknowledged.
async fn write_all(client: &ShardClient, groups: &[GroupId], name: &str) -> Result<Duration, Failure> {
    let began = Instant::now();
    let writes = groups.iter().map(|group| async move {
        client.put_device(&device_in(*group, name)?, Precondition::Absent).await?;
        Ok::<_, Failure>(())
    });
    try_join_all(writes).await?;
    Ok(began.elapsed())
}

fn device_in(group: GroupId, name: &str) -> Result<DeviceIdentity, Failure> {
    let ids = (0..).map(|number| format!("{name}-{number}").parse::<DeviceId>());
    let found = ids.flatten().find(|id| group_of(id, GROUPS) == group).ok_or("no such id")?;
    let key = || SymmetricKey::from_bytes(&[7; 32]);
    Ok(DeviceIdentity::new(found, Authentication::Sas(SymmetricKeys { primary: key(), secondary: key() })))
}
