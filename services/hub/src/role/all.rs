//! `ironhub all`: every role in this process, on embedded stores.

use std::time::Duration;

use shard_client::ShardClient;

use super::{
    Watched,
    banner::Banner,
    data_dir::DataDir,
    devices,
    event_log::HubEventLog,
    front::{Front, Parts},
    registry::{self, RunningShard},
    ticket_secret,
};
use crate::{certificates::Certificates, configuration::AllConfig};

/// A running hub. End it with [`Hub::drain`]; dropping it is like a crash, which loses nothing acknowledged.
pub struct Hub {
    front: Front,
    shard_client: ShardClient,
    shard: RunningShard,
    event_log: HubEventLog,
    watched: Watched,
    drain_timeout: Duration,
    _data_dir: DataDir,
}

impl Hub {
    /// Starts every part, and tells the owner how to reach the hub: `hub.json`, and the banner on standard output.
    pub async fn start(config: AllConfig) -> anyhow::Result<Self> {
        let data_dir = DataDir::open(&config.data_dir)?;
        let watched = Watched::start(config.admin_address()).await?;
        let certificates = Certificates::open(&config.certificates, &data_dir.certificates(), &config.host_names)?;
        let (event_log, (shard, shard_client)) = tokio::try_join!(
            open_event_log(&config, &data_dir, &watched),
            registry::start_in_process(config.shard.clone(), data_dir.path(), &watched),
        )?;
        let front = Front::start(Parts {
            config: config.gateway(),
            host_name: config.host_name(),
            admin_port: watched.admin.address().port(),
            hub_json_file: Some(data_dir.hub_json()),
            shard_client: shard_client.clone(),
            event_log: event_log.clone(),
            certificates,
            owner_key: None,
            ticket_secret: ticket_secret::load_or_draw(&ticket_secret::file(&data_dir.certificates()))?,
            metrics: watched.metrics.clone(),
        })
        .await?;
        let devices = with_devices(&shard_client, &config).await?;
        let program = std::env::current_exe().unwrap_or_else(|_| "ironhub".into());
        let hub = &front.hub_json;
        print!("{}", Banner { hub, hub_json: &data_dir.hub_json(), program: &program, devices: &devices });
        let drain_timeout = Duration::from_secs(config.drain_timeout_seconds);
        Ok(Self { front, shard_client, shard, event_log, watched, drain_timeout, _data_dir: data_dir })
    }

    /// Ends every part in order, by the deadline: no new work, answers to what was read, the log flushed, the disks
    /// closed.
    pub async fn drain(self) {
        let Self { front, shard_client, shard, event_log, watched, drain_timeout, _data_dir } = self;
        let Watched { drain, admin, .. } = watched;
        let deadline = drain.begin(drain_timeout);
        drain.step("gateway", front.drain(deadline)).await;
        drain.step("event log", event_log.log().shutdown()).await;
        shard_client.shutdown();
        drain.step("registry", shard.shutdown()).await;
        drop(admin);
    }
}

/// In the data folder, unless a Kafka is named.
async fn open_event_log(config: &AllConfig, data_dir: &DataDir, watched: &Watched) -> anyhow::Result<HubEventLog> {
    let event_log = match config.kafka.bootstrap_servers.is_empty() {
        true => HubEventLog::open_embedded(config.event_log.clone(), data_dir.path()).await?,
        false => HubEventLog::open_kafka(config.kafka.clone()).await?,
    };
    event_log.begin(config.event_partitions, &watched.metrics, &watched.health).await?;
    Ok(event_log)
}

/// Makes the devices of `--with-device` that are missing; ids with their connection strings.
async fn with_devices(client: &ShardClient, config: &AllConfig) -> anyhow::Result<Vec<(String, String)>> {
    let mut made = Vec::new();
    for id in &config.with_devices {
        let device = devices::ensure(client, id).await?;
        if let Some(connection_string) = devices::connection_string(config.host_name(), &device) {
            made.push((id.to_string(), connection_string.to_string()));
        }
    }
    Ok(made)
}
