//! What three nodes cost while nobody asks them for anything: CPU time of the whole process, as per cent of one core.
//!
//! `cargo bench -p shard --bench idle [-- GROUPS...]`

use std::time::{Duration, Instant};

use tokio::time::sleep;

mod three_nodes;

use three_nodes::{Failure, ThreeNodes};

/// Elections and first compactions are over then.
const SETTLE: Duration = Duration::from_secs(5);
const MEASURE: Duration = Duration::from_secs(20);
/// Of `/proc/self/stat`, on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::disallowed_methods, reason = "a program of its own")]
async fn main() -> Result<(), Failure> {
    let asked: Vec<u32> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    for groups in if asked.is_empty() { vec![4, 16, 64] } else { asked } {
        let nodes = ThreeNodes::start(groups, |config| config).await?;
        nodes.wait_for_leaders().await?;
        sleep(SETTLE).await;
        let (began, before) = (Instant::now(), cpu_seconds()?);
        let switches_before = context_switches()?;
        sleep(MEASURE).await;
        let (elapsed, used) = (began.elapsed().as_secs_f64(), cpu_seconds()? - before);
        let switches = (context_switches()? - switches_before) as f64 / elapsed;
        let per_cent = 100.0 * used / elapsed;
        println!("{groups:>3} groups on 3 nodes: {per_cent:>5.2} % of a core, {switches:.0} context switches/s");
        nodes.stop().await;
    }
    Ok(())
}

/// User and system time of this process.
fn cpu_seconds() -> Result<f64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // Behind the name, which may hold anything but a closing bracket last.
    let (_, fields) = stat.rsplit_once(')').ok_or("an odd /proc/self/stat")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / TICKS_PER_SECOND)
}

/// Of all threads that are alive.
fn context_switches() -> Result<u64, Failure> {
    let mut switches = 0;
    for thread in std::fs::read_dir("/proc/self/task")? {
        let status = std::fs::read_to_string(thread?.path().join("status"))?;
        let counts = status.lines().filter_map(|line| line.split_once("ctxt_switches:")?.1.trim().parse::<u64>().ok());
        switches += counts.sum::<u64>();
    }
    Ok(switches)
}
