//! The settings of each role: defaults, then the configuration file, then the environment, then flags.

mod all;
mod cluster_gateway;
mod cluster_shard;
mod documented;
mod environment;
mod operator;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::Args;
use runtime::Format;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use toml::{Table, Value};

use self::documented::Section;
pub use self::{
    all::AllConfig, cluster_gateway::GatewayConfig, cluster_shard::ShardConfig, environment::Environment,
    operator::OperatorConfig,
};
use crate::role::hub_json::EVENT_HUB_NAME;

/// The settings of a role, as a file can have them.
pub trait RoleConfig: Default + Serialize + DeserializeOwned {
    /// Where each section of the file is documented.
    const SECTIONS: &'static [&'static [Section]];

    /// The settings as a configuration file that explains itself.
    fn to_toml(&self) -> anyhow::Result<String> {
        Ok(documented::annotate(&toml::to_string(self)?, Self::SECTIONS))
    }
}

/// Where settings come from besides the environment; every role has these flags.
#[derive(Clone, Debug, Default, Args)]
pub struct Words {
    /// Configuration file, TOML; --print-config (`ironhub config` for all roles in one process) shows what can stand in it
    /// [default: $IRONHUB_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting by its name in the file, such as log.filter=debug; may be repeated, wins over file and environment
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    pub settings: Vec<(String, String)>,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Puts file, environment and single settings together.
fn load<C: RoleConfig>(words: &Words, environment: &Environment) -> anyhow::Result<C> {
    let file = words.config.as_deref().or_else(|| environment.variable("IRONHUB_CONFIG").map(Path::new));
    let mut table = file.map_or_else(|| Ok(Table::new()), read_file::<C>)?;
    environment.overlay::<C>(&mut table)?;
    environment::overlay_settings::<C>(&words.settings, &mut table)?;
    // A section that is there in part is completed with the role's defaults, which are not always the section's own.
    let mut settings = Table::try_from(C::default())?;
    overlay(&mut settings, table);
    Value::Table(settings).try_into().context("the settings do not fit together")
}

fn overlay(below: &mut Table, above: Table) {
    for (name, value) in above {
        match (below.get_mut(&name), value) {
            (Some(Value::Table(below)), Value::Table(above)) => overlay(below, above),
            (_, value) => _ = below.insert(name, value),
        }
    }
}

/// Reads a configuration file. Errors name the file, the line and the field.
fn read_file<C: RoleConfig>(file: &Path) -> anyhow::Result<Table> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let in_file = || format!("in the configuration file {}", file.display());
    // Read twice: only reading the text itself as the role's settings can say in which line a wrong field stands.
    toml::from_str::<C>(&text).with_context(in_file)?;
    toml::from_str(&text).with_context(in_file)
}

/// Bounds on what clients can make the hub hold or do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewaySection {
    /// Over how long connections are ended one after the other in an orderly end, in seconds, so that their clients do not
    /// come to the other gateways all at once; until their turn they are served. At most `drain_timeout_seconds`, of which
    /// 3 are kept for the last ones to end. 0: all at once.
    pub drain_spread_seconds: u64,
    pub proxy_protocol: gateway::proxy_protocol::Config,
    pub limits: gateway::config::Limits,
    pub https: gateway::https::Limits,
    pub cloud_to_device: gateway::config::CloudToDevice,
    pub file_notifications: gateway::config::FileNotifications,
}

/// What is logged to standard error, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// `human` or `json`.
    pub format: Format,
    /// Least severe level, overall and by part: `info`, `warn,gateway=debug`.
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        // rdkafka tells of every attempt to reach a broker that is away; the event log tells of the outage.
        Self { format: Format::Human, filter: "info,openraft=warn,rdkafka::client=off".to_owned() }
    }
}

/// The listener for `/metrics`, `/healthz` and `/readyz`: plain HTTP, for operators only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminSection {
    /// Default: the listen address when that is a loopback address, else 127.0.0.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// 0 takes a free one.
    pub port: u16,
}

impl Default for AdminSection {
    fn default() -> Self {
        Self { address: None, port: 9600 }
    }
}

impl AdminSection {
    /// Fills in the address: not reachable from elsewhere unless somebody says so.
    fn complete(&mut self, listen_address: IpAddr) {
        let loopback = if listen_address.is_loopback() { listen_address } else { Ipv4Addr::LOCALHOST.into() };
        self.address.get_or_insert(loopback);
    }

    /// Where it listens, in a process that listens on that address for others.
    fn socket_address(&self, listen_address: IpAddr) -> SocketAddr {
        let mut completed = self.clone();
        completed.complete(listen_address);
        SocketAddr::new(completed.address.unwrap_or(Ipv4Addr::LOCALHOST.into()), self.port)
    }
}

/// Without names, clients are told the address.
fn complete_host_names(host_names: &mut Vec<String>, listen_address: IpAddr) {
    if host_names.is_empty() {
        let reachable = if listen_address.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { listen_address };
        *host_names = vec![reachable.to_string()];
    }
}

impl GatewaySection {
    /// Its part of a gateway's configuration; the rest is to be filled in.
    fn config(&self) -> gateway::Config {
        gateway::Config {
            event_hub_name: EVENT_HUB_NAME.to_owned(),
            drain_spread_seconds: self.drain_spread_seconds,
            proxy_protocol: self.proxy_protocol.clone(),
            limits: self.limits.clone(),
            https: self.https.clone(),
            cloud_to_device: self.cloud_to_device,
            file_notifications: self.file_notifications,
            ..gateway::Config::default()
        }
    }

    fn check(&self, drain_timeout_seconds: u64) -> anyhow::Result<()> {
        let spread = self.drain_spread_seconds;
        anyhow::ensure!(
            spread <= drain_timeout_seconds,
            "gateway.drain_spread_seconds is {spread}: at most drain_timeout_seconds, which is {drain_timeout_seconds}"
        );
        Ok(())
    }
}

/// What every process with a gateway in it checks.
fn check_hub(event_partitions: u32, host_names: &[String]) -> anyhow::Result<()> {
    anyhow::ensure!((1..=256).contains(&event_partitions), "event_partitions must be 1 to 256");
    for name in host_names {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        anyhow::ensure!(!name.is_empty() && name.chars().all(plain), "{name:?} is no host name");
    }
    Ok(())
}
