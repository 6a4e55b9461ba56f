//! Every scenario that needs a hub, against one: it does what it should and counts it.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    panic::resume_unwind,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use clap::Parser;
use ironhub_tests::Hub;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

use crate::{Outcome, arguments::Arguments, fleet_report::Verdict, report::Report, run};

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

fn outcome(data_dir: &str, scenario: &str) -> anyhow::Result<Outcome> {
    run_with(&format!("--data-dir {data_dir} {scenario}"))
}

fn run_with(options: &str) -> anyhow::Result<Outcome> {
    let arguments = Arguments::try_parse_from(["ironhub-loadtest"].into_iter().chain(options.split_whitespace()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, run(&arguments))
}

fn measure(data_dir: &str, scenario: &str) -> anyhow::Result<Report> {
    let duration = if scenario.starts_with("idle") { "" } else { " --duration-seconds 1" };
    match outcome(data_dir, &format!("{scenario}{duration}"))? {
        Outcome::Figures(report) => Ok(report),
        Outcome::Fleet(_) => anyhow::bail!("{scenario} has a report of its own"),
    }
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

/// Everything that was acknowledged is found, and no device was without service for longer than an answer takes.
#[tokio::test]
async fn a_fleet_is_served() -> anyhow::Result<()> {
    let hub = Hub::start().await?;
    let data_dir = hub.data_dir().display().to_string();
    let options = "fleet --devices 20 --ramp-up-seconds 1 --minutes 0.05 --telemetry-seconds 0.2 --report-seconds 0.5 \
                   --verify --resume --source-address 127.0.90.40 --source-address 127.0.90.41";
    let fleet = thread::spawn(move || outcome(&data_dir, options));
    let outcome = tokio::task::spawn_blocking(move || fleet.join().unwrap_or_else(|panic| resume_unwind(panic)));
    let Outcome::Fleet(report) = outcome.await?? else { anyhow::bail!("another report") };
    report.check()?;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    for totals in &report.operations {
        let done = totals.steady.count + totals.ramp_up.count;
        assert!(done >= 20, "{totals:?}");
    }
    assert!(report.found.telemetry.is_some_and(|telemetry| telemetry.found >= 200), "{:?}", report.found);
    assert!(report.found.messages.acknowledged >= 20 && report.found.desired_devices > 0, "{:?}", report.found);
    assert_eq!((report.without_service.devices, report.without_service.at_the_end), (20, 0));
    assert!((0.0..10.0).contains(&report.without_service.longest_seconds), "{:?}", report.without_service);
    assert_eq!(report.slots.last().map(|slot| slot.connected), Some(20));
    Ok(())
}

/// From where connections came, and to where they went.
type Ways = Arc<Mutex<BTreeSet<(IpAddr, IpAddr)>>>;

/// Lets connections through to a server, at both addresses with the same port, and writes down their ways.
async fn doors(addresses: [&str; 2], to: SocketAddr, ways: &Ways) -> anyhow::Result<u16> {
    let first = TcpListener::bind((addresses[0], 0)).await?;
    let port = first.local_addr()?.port();
    for door in [first, TcpListener::bind((addresses[1], port)).await?] {
        let ways = ways.clone();
        tokio::spawn(async move {
            while let Ok((mut client, from)) = door.accept().await {
                let here = client.local_addr().map_or(from.ip(), |here| here.ip());
                ways.lock().unwrap_or_else(PoisonError::into_inner).insert((from.ip(), here));
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(to).await?;
                    copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
    }
    Ok(port)
}

/// As a machine beside a hub with several nodes would: every device and back end has one of four ways.
#[tokio::test]
async fn a_fleet_goes_to_several_addresses_from_several() -> anyhow::Result<()> {
    let (hub, ways) = (Hub::start().await?, [Ways::default(), Ways::default(), Ways::default()]);
    let (targets, sources) = (["127.0.90.50", "127.0.90.51"], ["127.0.90.52", "127.0.90.53"]);
    let folder = tempfile::tempdir()?;
    let string = folder.path().join("connection-string");
    let owner = hub.json.pointer("/connectionStrings/iothubowner").and_then(|owner| owner.as_str());
    std::fs::write(&string, format!("{}\n", owner.unwrap_or_default()))?;
    let options = format!(
        "--connection-string-file {} --certificate-authority-file {} --address {} --address {} --source-address {} \
         --source-address {} --mqtt-port {} --amqp-port {} --https-port {} fleet --devices 8 --ramp-up-seconds 0 \
         --minutes 0.02 --telemetry-seconds 0.2 --verify",
        string.display(),
        hub.authority.display(),
        targets[0],
        targets[1],
        sources[0],
        sources[1],
        doors(targets, hub.mqtt, &ways[0]).await?,
        doors(targets, hub.amqp, &ways[1]).await?,
        doors(targets, hub.https, &ways[2]).await?,
    );
    let fleet = thread::spawn(move || run_with(&options));
    let outcome = tokio::task::spawn_blocking(move || fleet.join().unwrap_or_else(|panic| resume_unwind(panic)));
    let Outcome::Fleet(report) = outcome.await?? else { anyhow::bail!("another report") };
    assert_eq!(report.verdict(), Verdict::Good, "{:?}", report.errors);
    let [devices, reader, back_ends] = ways.map(|ways| ways.lock().unwrap_or_else(PoisonError::into_inner).len());
    assert_eq!((devices, back_ends), (4, 4));
    assert!(reader > 0);
    Ok(())
}
