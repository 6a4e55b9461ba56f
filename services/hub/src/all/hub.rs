//! A hub from start to end.

use std::{path::Path, time::Duration};

use anyhow::Context;
use eventlog::Topic;
use gateway::{Dependencies, Gateway, StartError};
use model::HubSettings;
use runtime::{Admin, AdminConfig, Drain, Health, Metrics};
use shard_client::ShardClient;
use tokio::task::JoinHandle;

use super::{
    banner::Banner,
    bind,
    data_dir::DataDir,
    devices,
    event_log::{EVENTS, HubEventLog},
    follow_settings::FollowSettings,
    hub_json::{ConnectionStrings, EVENT_HUB_NAME, EventHubCompatible, HubJson, Ports},
    parts::{self, RunningShard},
    ticket_secret,
};
use crate::{certificates::Certificates, configuration::Config, first_start};

/// A running hub. End it with [`Hub::drain`]; dropping it is like a crash, which loses nothing acknowledged.
pub struct Hub {
    gateway: Gateway,
    shard_client: ShardClient,
    shard: RunningShard,
    event_log: HubEventLog,
    admin: Admin,
    drain: Drain,
    drain_timeout: Duration,
    upkeep: JoinHandle<()>,
    /// Follows the settings of the hub.
    settings: JoinHandle<()>,
    _data_dir: DataDir,
}

impl Hub {
    /// Starts every part, and tells the owner how to reach the hub: `hub.json`, and the banner on standard output.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let data_dir = DataDir::open(&config.data_dir)?;
        let (metrics, health, drain) = (Metrics::new()?, Health::new(), Drain::new());
        let admin = start_admin(&config, &metrics, &health, &drain).await?;
        let certificates = Certificates::open(&config.certificates, &data_dir.certificates(), &config.host_names)?;
        let (event_log, (shard, shard_client)) = tokio::try_join!(
            HubEventLog::open(&config, data_dir.path(), &metrics, &health),
            parts::start_shard(config.shard.clone(), data_dir.path(), &metrics, &health),
        )?;
        let settings = settings(&shard_client, config.shard.groups).await?;
        // Nobody can be authenticated before the settings are watched.
        let mut watched = shard_client.settings();
        watched.wait_for(Option::is_some).await.context("the hub's settings do not arrive")?;
        let dependencies = Dependencies {
            shard_client: shard_client.clone(),
            event_log: event_log.log(),
            events: Topic::new(EVENTS),
            certificates: certificates.resolver(),
            ticket_secret: ticket_secret::load(&data_dir.certificates())?,
            metrics: metrics.clone(),
        };
        let gateway = start_gateway(&config, dependencies).await?;
        let hub_json = HubJson {
            host_name: config.host_name().to_owned(),
            certificate_authority_file: certificates.authority_file().map(Path::to_owned),
            address: gateway.https_address().ip(),
            ports: Ports {
                mqtt: gateway.mqtt_address().port(),
                amqp: gateway.amqp_address().port(),
                https: gateway.https_address().port(),
                emulator: gateway.emulator_address().map(|address| address.port()),
                admin: admin.address().port(),
            },
            connection_strings: ConnectionStrings::new(config.host_name(), &settings),
            event_hub_compatible: EventHubCompatible::new(config.host_name(), EVENT_HUB_NAME, &settings),
        };
        hub_json.write(&data_dir.hub_json())?;
        let devices = with_devices(&shard_client, &config).await?;
        let program = std::env::current_exe().unwrap_or_else(|_| "ironhub".into());
        print!("{}", Banner { hub: &hub_json, hub_json: &data_dir.hub_json(), program: &program, devices: &devices });
        let follow = FollowSettings {
            settings: shard_client.settings(),
            event_log: event_log.clone(),
            retention: event_log.configured_retention(&config),
            hub_json,
            hub_json_file: data_dir.hub_json(),
        };
        Ok(Self {
            gateway,
            shard_client,
            shard,
            event_log,
            admin,
            drain,
            drain_timeout: Duration::from_secs(config.drain_timeout_seconds),
            upkeep: tokio::spawn(certificates.keep_fresh()),
            settings: tokio::spawn(follow.run()),
            _data_dir: data_dir,
        })
    }

    /// Ends every part in order, by the deadline: no new work, answers to what was read, the log flushed, the disks
    /// closed.
    pub async fn drain(self) {
        let Self { gateway, shard_client, shard, event_log, admin, drain, drain_timeout, upkeep, settings, _data_dir } =
            self;
        let deadline = drain.begin(drain_timeout);
        upkeep.abort();
        settings.abort();
        drain.step("gateway", gateway.drain(deadline)).await;
        drain.step("event log", event_log.log().shutdown()).await;
        shard_client.shutdown();
        drain.step("registry", shard.shutdown()).await;
        drop(admin);
    }
}

/// Makes the devices of `--with-device` that are missing; ids with their connection strings.
async fn with_devices(client: &ShardClient, config: &Config) -> anyhow::Result<Vec<(String, String)>> {
    let mut made = Vec::new();
    for id in &config.with_devices {
        let device = devices::ensure(client, id).await?;
        if let Some(connection_string) = devices::connection_string(config.host_name(), &device) {
            made.push((id.to_string(), connection_string.to_string()));
        }
    }
    Ok(made)
}

/// Binds the gateway's ports; a port that cannot be had is explained.
async fn start_gateway(config: &Config, dependencies: Dependencies) -> anyhow::Result<Gateway> {
    Gateway::start(config.gateway(), dependencies).await.map_err(|error| match error {
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
    })
}

async fn start_admin(config: &Config, metrics: &Metrics, health: &Health, drain: &Drain) -> anyhow::Result<Admin> {
    let admin = AdminConfig { address: config.admin_address() };
    let started = Admin::start(&admin, metrics.clone(), health.clone(), drain.token()).await;
    started.map_err(|error| anyhow::anyhow!(bind::explain("the admin pages", "--admin-port", admin.address, &error)))
}

/// The hub's settings; made when this is its first start.
async fn settings(client: &ShardClient, groups: u32) -> anyhow::Result<HubSettings> {
    match client.get_settings().await.context("the hub's settings cannot be read")? {
        Some(settings) => Ok(settings),
        None => {
            let first = first_start::settings(groups)?;
            client.initialize_hub(&first).await.context("the hub's first settings cannot be written")
        }
    }
}
