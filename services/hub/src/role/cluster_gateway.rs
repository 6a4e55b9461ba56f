//! `ironhub gateway`: a gateway of a cluster.

use std::{path::Path, sync::Arc, time::Duration};

use eventlog::kafka::OpenError;
use model::SymmetricKey;
use peer::{Connector, Credentials, Role};
use runtime::State;
use shard_client::{Discovery, ShardClient};
use tokio::task::JoinHandle;

use super::{
    Watched,
    event_log::HubEventLog,
    front::{Front, Parts},
    ticket_secret,
};
use crate::{certificates::Certificates, configuration::GatewayConfig, files};

const ASK_KAFKA_AGAIN: Duration = Duration::from_millis(500);

/// A running gateway. End it with [`ClusterGateway::drain`].
pub struct ClusterGateway {
    front: Front,
    shard_client: ShardClient,
    event_log: HubEventLog,
    watched: Watched,
    drain_timeout: Duration,
    credentials: JoinHandle<()>,
}

impl ClusterGateway {
    /// Waits for shards and for Kafka, then listens.
    pub async fn start(config: GatewayConfig) -> anyhow::Result<Self> {
        let watched = Watched::start(config.admin_address()).await?;
        let serving = watched.health.part("gateway");
        serving.set(State::Starting("waits for shards and for Kafka".to_owned()));
        let ticket_secret = ticket_secret::load(&config.ticket_secret_file)?;
        let owner_key = owner_key(&config.owner_key_file)?;
        let certificates = Certificates::brought(&config.certificates)?;
        let credentials = Credentials::open(config.peer.clone())?;
        let (event_log, shard_client) = tokio::try_join!(open_event_log(&config, &watched), async {
            Ok(connect(&config, credentials.clone()).await)
        },)?;
        let front = Front::start(Parts {
            config: config.gateway(),
            host_name: config.host_name(),
            admin_port: watched.admin.address().port(),
            hub_json_file: Some(config.hub_json_file.clone()).filter(|file| !file.as_os_str().is_empty()),
            shard_client: shard_client.clone(),
            event_log: event_log.clone(),
            certificates,
            ticket_secret,
            owner_key,
            metrics: watched.metrics.clone(),
        })
        .await?;
        serving.set(State::Ready);
        let addresses = &front.hub_json;
        tracing::info!(address = %addresses.address, ports = ?addresses.ports, "serves the hub");
        let drain_timeout = Duration::from_secs(config.drain_timeout_seconds);
        let credentials = tokio::spawn(credentials.keep_fresh());
        Ok(Self { front, shard_client, event_log, watched, drain_timeout, credentials })
    }

    /// Ends in order, by the deadline: no new work, answers to what was read, the log flushed.
    pub async fn drain(self) {
        let Self { front, shard_client, event_log, watched, drain_timeout, credentials } = self;
        let Watched { drain, admin, .. } = watched;
        let deadline = drain.begin(drain_timeout);
        drain.step("gateway", front.drain(deadline)).await;
        drain.step("event log", event_log.log().shutdown()).await;
        shard_client.shutdown();
        credentials.abort();
        drop(admin);
    }
}

fn owner_key(file: &Path) -> anyhow::Result<Option<SymmetricKey>> {
    if file.as_os_str().is_empty() {
        return Ok(None);
    }
    let key = files::read_text(file)?.trim().parse();
    key.map(Some).map_err(|_| anyhow::anyhow!("{} holds no key: 16 to 64 bytes in base64", file.display()))
}

/// Waits for a Kafka that does not answer yet; wrong settings are an error at once.
async fn open_event_log(config: &GatewayConfig, watched: &Watched) -> anyhow::Result<HubEventLog> {
    let event_log = loop {
        match HubEventLog::open_kafka(config.kafka.clone()).await {
            Err(error) if matches!(error.downcast_ref(), Some(OpenError::Kafka(..))) => {
                tracing::warn!(error = format!("{error:#}"), "waits for Kafka");
                tokio::time::sleep(ASK_KAFKA_AGAIN).await;
            }
            opened => break opened?,
        }
    };
    event_log.begin(config.event_partitions, &watched.metrics, &watched.health).await?;
    Ok(event_log)
}

/// A client of the hub's shards, as soon as one of them belongs to a hub.
async fn connect(config: &GatewayConfig, credentials: Arc<Credentials>) -> ShardClient {
    let connector = Connector::new(credentials, Role::Shard);
    let connect = Arc::new(move |endpoint| connector.channel(endpoint));
    let discovery = Discovery { seeds: config.shards.seeds.clone(), connect };
    let groups = discovery.wait_for_groups().await;
    let mut client =
        shard_client::Config { discovery: Some(discovery), ..shard_client::Config::new(Vec::new(), groups) };
    if !config.gateway_id.is_empty() {
        client.gateway_id.clone_from(&config.gateway_id);
    }
    ShardClient::connect(client).await
}
