//! Every scenario that needs a hub, against one: it does what it should and counts it.

use std::{panic::resume_unwind, thread};

use clap::Parser;
use ironhub_tests::Hub;

use crate::{arguments::Arguments, report::Report, run};

/// Options, servers in the report, and the least that each has done.
const SCENARIOS: [(&str, usize, u64); 11] = [
    ("telemetry --protocol amqp --in-flight 8 --compare mqtt --rounds 1 --connections 5 --warm-up-seconds 0", 2, 100),
    ("telemetry --protocol amqp --rate 100 --connections 5", 1, 50),
    ("telemetry --protocol https --connections 5", 1, 50),
    ("events --connections 8 --events 2000", 1, 2000),
    ("events --connections 8 --rate 100", 1, 50),
    ("methods --rate 50 --connections 5 --clients 2", 1, 25),
    ("c2d --rate 50 --connections 5 --clients 2", 1, 25),
    ("twins --connections 5", 1, 50),
    ("connect --concurrency 2", 1, 5),
    ("registry --clients 2", 1, 20),
    // It measures while nothing happens.
    ("idle --protocol amqp --connections 5 --concurrency 2 --settle-seconds 1", 1, 0),
];

fn measure(data_dir: &str, scenario: &str) -> anyhow::Result<Report> {
    let mut words = vec!["ironhub-loadtest", "--data-dir", data_dir];
    words.extend(scenario.split(' '));
    if !scenario.starts_with("idle") {
        words.extend(["--duration-seconds", "1"]);
    }
    let arguments = Arguments::try_parse_from(words)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, run(&arguments))
}

#[tokio::test]
async fn every_scenario_measures() -> anyhow::Result<()> {
    let hub = Hub::start().await?;
    let data_dir = hub.data_dir().display().to_string();
    // None waits for another: they take seconds, most of them idle.
    thread::scope(|threads| {
        let running = SCENARIOS.map(|scenario| (scenario, threads.spawn(|| measure(&data_dir, scenario.0))));
        for ((scenario, servers, least), thread) in running {
            let report = thread.join().unwrap_or_else(|panic| resume_unwind(panic));
            let report = report.map_err(|error| error.context(scenario))?;
            assert_eq!(report.servers.len(), servers, "{scenario}");
            for (server, measured) in &report.servers {
                assert!(measured.count >= least && measured.errors.is_empty(), "{scenario}: {server} {measured:?}");
                assert!(measured.server_resident_bytes > Some(1 << 20), "{scenario}: {server} {measured:?}");
            }
        }
        Ok(())
    })
}
