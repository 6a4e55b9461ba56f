//! A gateway with what belongs to it in every role: the hub's settings, and `hub.json`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use eventlog::Topic;
use gateway::{Dependencies, Gateway, StartError, TicketSecret};
use model::{HubSettings, SymmetricKey};
use runtime::Metrics;
use shard_client::{SettingsError, ShardClient, Unavailable};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::{
    bind,
    event_log::{EVENTS, HubEventLog},
    follow_settings::FollowSettings,
    hub_json::{ConnectionStrings, EVENT_HUB_NAME, EventHubCompatible, HubJson, Ports},
};
use crate::{certificates::Certificates, first_start};

/// Pause before shards that did not answer are asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// A running gateway. End it with [`Front::drain`].
pub struct Front {
    gateway: Gateway,
    /// Follows the settings of the hub.
    settings: JoinHandle<()>,
    /// Renews and reloads the server's certificates.
    certificates: JoinHandle<()>,
    /// How the hub is reached, as of the start.
    pub hub_json: HubJson,
}

/// What it is made of.
pub struct Parts<'a> {
    pub config: gateway::Config,
    pub host_name: &'a str,
    pub admin_port: u16,
    /// Written now and whenever connection strings change.
    pub hub_json_file: Option<PathBuf>,
    pub shard_client: ShardClient,
    pub event_log: HubEventLog,
    pub certificates: Certificates,
    pub ticket_secret: TicketSecret,
    /// What a new hub's owner has as primary key; unset: drawn.
    pub owner_key: Option<SymmetricKey>,
    pub metrics: Metrics,
}

impl Front {
    /// Listens, once the hub's settings are known. They are made when this is the hub's first start.
    pub async fn start(parts: Parts<'_>) -> anyhow::Result<Self> {
        let Parts { shard_client, event_log, certificates, .. } = &parts;
        let settings = settings(shard_client, parts.owner_key.as_ref()).await?;
        // Nobody can be authenticated before the settings are watched.
        let mut watched = shard_client.settings();
        watched.wait_for(Option::is_some).await.context("the hub's settings do not arrive")?;
        let dependencies = Dependencies {
            shard_client: shard_client.clone(),
            event_log: event_log.log(),
            events: Topic::new(EVENTS),
            certificates: certificates.resolver(),
            ticket_secret: parts.ticket_secret.clone(),
            metrics: parts.metrics.clone(),
        };
        let gateway = Gateway::start(parts.config.clone(), dependencies).await.map_err(explain)?;
        let hub_json = hub_json(&parts, &gateway, &settings);
        if let Some(file) = &parts.hub_json_file {
            hub_json.write(file)?;
        }
        let follow = FollowSettings {
            settings: shard_client.settings(),
            retention: event_log.configured_retention,
            event_log: parts.event_log,
            hub_json: hub_json.clone(),
            hub_json_file: parts.hub_json_file,
        };
        let certificates = tokio::spawn(parts.certificates.keep_fresh());
        Ok(Self { gateway, settings: tokio::spawn(follow.run()), certificates, hub_json })
    }

    /// No new work, answers to what was read, goodbyes, by the deadline.
    pub async fn drain(self, deadline: Instant) {
        self.settings.abort();
        self.certificates.abort();
        self.gateway.drain(deadline).await;
    }
}

fn hub_json(parts: &Parts<'_>, gateway: &Gateway, settings: &HubSettings) -> HubJson {
    let host_name = parts.host_name;
    HubJson {
        host_name: host_name.to_owned(),
        certificate_authority_file: parts.certificates.authority_file().map(Path::to_owned),
        address: gateway.https_address().ip(),
        ports: Ports {
            mqtt: gateway.mqtt_address().port(),
            amqp: gateway.amqp_address().port(),
            https: gateway.https_address().port(),
            emulator: gateway.emulator_address().map(|address| address.port()),
            admin: parts.admin_port,
        },
        connection_strings: ConnectionStrings::new(host_name, settings),
        event_hub_compatible: EventHubCompatible::new(host_name, EVENT_HUB_NAME, settings),
    }
}

/// A port that cannot be had is explained.
fn explain(error: StartError) -> anyhow::Error {
    match error {
        StartError::Bind { protocol, address, error } => {
            let flag = match protocol {
                "MQTT" => "--mqtt-port",
                "AMQP" => "--amqp-port",
                "AMQP without TLS" => "--emulator-port",
                _ => "--https-port",
            };
            anyhow::anyhow!(bind::explain(protocol, flag, address, &error))
        }
        other => other.into(),
    }
}

/// The hub's settings, once the shards answer.
async fn settings(client: &ShardClient, owner_key: Option<&SymmetricKey>) -> anyhow::Result<HubSettings> {
    loop {
        match found_or_made(client, owner_key).await {
            Err(SettingsError::Unavailable(reason)) if !matches!(reason, Unavailable::Protocol(_)) => {
                tracing::warn!(%reason, "waits for the hub's settings");
                sleep(ASK_AGAIN).await;
            }
            settings => return settings.context("no settings of the hub"),
        }
    }
}

/// Those that there are, or the first. Of several gateways that begin together, one makes them.
async fn found_or_made(client: &ShardClient, owner_key: Option<&SymmetricKey>) -> Result<HubSettings, SettingsError> {
    if let Some(settings) = client.get_settings().await? {
        return Ok(settings);
    }
    let first =
        first_start::settings(client.groups(), owner_key).map_err(|error| SettingsError::Invalid(error.to_string()))?;
    client.initialize_hub(&first).await
}
