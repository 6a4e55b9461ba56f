//! Reported patches against three replicas on this machine, in turns with puts of the same bytes to an etcd of three.

use std::{
    collections::BTreeMap,
    rc::Rc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use model::{ConnectionId, Principal, twin::Patch};
use shard_client::ShardClient;

use crate::{
    arguments::ReplicatedTwinsArguments,
    etcd::{Etcd, EtcdClient},
    measurement::{Counters, Measurement},
    replicas::Replicas,
    report::Report,
};

/// Runs the scenario; it needs no hub.
pub async fn run(options: &ReplicatedTwinsArguments) -> anyhow::Result<Report> {
    let replicas = Replicas::start().await?;
    let client = replicas.client().await?;
    let devices = Replicas::devices(&client, options.writers).await?;
    let etcd = Etcd::start().await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let writers = devices.iter().map(|device| Writer::Twin(client.clone(), device.clone()));
        ours.push(round("twins", writers.collect(), options).await?);
        let mut writers = Vec::new();
        for number in 0..options.writers {
            // Many writers share a connection, as they do above.
            let connection = number as usize % CONNECTIONS;
            let client = match writers.get(connection) {
                Some(Writer::Etcd(client, _)) if number as usize >= CONNECTIONS => client.clone(),
                _ => etcd.client(connection).await?,
            };
            writers.push(Writer::Etcd(client, format!("device-{number}")));
        }
        theirs.push(round("etcd", writers, options).await?);
    }
    let [ours, theirs] = [ours, theirs].map(|rounds| Measurement::median(&rounds));
    let title = format!(
        "replicated twins: {} writers, one patch at a time each, three replicas, medians of {} rounds of {} s",
        options.writers, options.rounds, options.duration_seconds
    );
    let servers = vec![("twins".to_owned(), ours), ("etcd".to_owned(), theirs)];
    Ok(Report { title, unit: "write", servers, figures: BTreeMap::new() })
}

/// Connections to etcd, spread over its members.
const CONNECTIONS: usize = 6;

/// What one writer writes to.
enum Writer {
    Twin(ShardClient, Principal),
    Etcd(EtcdClient, String),
}

async fn round(name: &str, writers: Vec<Writer>, options: &ReplicatedTwinsArguments) -> anyhow::Result<Measurement> {
    let counters = Rc::new(Counters::default());
    let tasks: Vec<_> = writers
        .into_iter()
        .map(|writer| {
            let counters = counters.clone();
            tokio::task::spawn_local(async move {
                let result = write(writer, &counters).await;
                counters.unless_stopped(result);
            })
        })
        .collect();
    counters.progress(&format!("{name} warms up"), "writes", Duration::from_secs(2)).await;
    let duration = Duration::from_secs(options.duration_seconds);
    let measured = counters.measure(name, "writes", duration, None).await;
    counters.stop();
    join_all(tasks).await;
    measured
}

/// One write at a time until the round is over.
async fn write(mut writer: Writer, counters: &Counters) -> anyhow::Result<()> {
    // No session is attached, so any connection may report.
    let connection_id = ConnectionId { leadership: 1, counter: 1 };
    let mut number = 0_u64;
    while !counters.stopped() {
        number += 1;
        let text = format!(r#"{{"temperature":{number},"state":"running"}}"#);
        let started = Instant::now();
        match &mut writer {
            Writer::Twin(client, device) => {
                let patch = Patch::parse_text(text.as_bytes())?;
                client.update_reported(device, connection_id, None, &patch).await?;
            }
            Writer::Etcd(client, key) => client.put(key.as_bytes(), text.as_bytes()).await?,
        }
        counters.record(started.elapsed());
    }
    Ok(())
}
