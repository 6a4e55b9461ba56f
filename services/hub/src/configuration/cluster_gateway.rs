//! The settings of `ironhub gateway`.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::{
    AdminSection, Environment, GatewaySection, LogConfig, RoleConfig, Words, check_hub, complete_host_names,
    documented::{ADMIN, CERTIFICATES, GATEWAY, KAFKA, LOG, PEER, Section},
    load,
};
use crate::certificates::CertificatesConfig;

/// Everything that `ironhub gateway` can be told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayConfig {
    /// Address that MQTT, AMQP and HTTPS listen on; `0.0.0.0` or `::` for every one of the machine.
    pub listen_address: IpAddr,
    /// Names under which clients reach the hub: those of the load balancer. The first one stands in connection strings.
    /// Empty: the listen address.
    pub host_names: Vec<String>,
    /// MQTT 3.1.1 over TLS. SDKs have 8883 compiled in; 0 takes a free one.
    pub mqtt_port: u16,
    /// AMQP 1.0 over TLS. SDKs have 5671 compiled in; 0 takes a free one.
    pub amqp_port: u16,
    /// HTTPS. SDKs have 443 compiled in; 0 takes a free one.
    pub https_port: u16,
    /// How long an orderly end may take, in seconds; afterwards what still runs is cut off.
    pub drain_timeout_seconds: u64,
    /// Number of partitions of the built-in endpoint `events`. Counts when the topic is made only.
    pub event_partitions: u32,
    /// Names this gateway in the logs of shards. Empty: random.
    pub gateway_id: String,
    /// Holds 32 bytes in base64, the same on every gateway of the hub: devices resume their TLS sessions on any of them.
    pub ticket_secret_file: PathBuf,
    /// Holds the primary key that the policy `iothubowner` has when the hub is founded, 16 to 64 bytes in base64: for who
    /// manages the hub from then on, such as `ironhub operator`. A hub that has settings keeps its own. Empty: drawn.
    pub owner_key_file: PathBuf,
    /// Where addresses and connection strings are written for programs of the owner, as `ironhub all` does into its data
    /// folder. It holds keys. Empty: nowhere.
    pub hub_json_file: PathBuf,
    pub log: LogConfig,
    pub admin: AdminSection,
    /// `server` must name at least one.
    pub certificates: CertificatesConfig,
    pub gateway: GatewaySection,
    /// `bootstrap_servers` must be set.
    pub kafka: eventlog::kafka::Config,
    pub shards: ShardsSection,
    pub peer: peer::Files,
}

/// Where the shards are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShardsSection {
    /// `host:port` of some, or of a headless service that stands for all. The others are learnt from them.
    pub seeds: Vec<String>,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            listen_address: Ipv4Addr::LOCALHOST.into(),
            host_names: Vec::new(),
            mqtt_port: 8883,
            amqp_port: 5671,
            https_port: 443,
            drain_timeout_seconds: 15,
            event_partitions: 4,
            gateway_id: String::new(),
            ticket_secret_file: PathBuf::new(),
            owner_key_file: PathBuf::new(),
            hub_json_file: PathBuf::new(),
            log: LogConfig::default(),
            admin: AdminSection::default(),
            certificates: CertificatesConfig::default(),
            gateway: GatewaySection::default(),
            kafka: eventlog::kafka::Config::default(),
            shards: ShardsSection::default(),
            peer: peer::Files::default(),
        }
    }
}

impl GatewayConfig {
    /// Puts file, environment and flags together and fills in what depends on other settings.
    pub fn load(words: &Words, environment: &Environment) -> anyhow::Result<Self> {
        let mut config: Self = load(words, environment)?;
        config.admin.complete(config.listen_address);
        complete_host_names(&mut config.host_names, config.listen_address);
        Ok(config)
    }

    /// Whether a gateway can start with it.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.kafka.bootstrap_servers.is_empty(), "kafka.bootstrap_servers must say where events are kept");
        ensure!(!self.shards.seeds.is_empty(), "shards.seeds must name a shard or more, as host:port");
        ensure!(!self.certificates.server.is_empty(), "certificates.server must name the certificate of the hub");
        ensure!(!self.ticket_secret_file.as_os_str().is_empty(), "ticket_secret_file must be set");
        self.gateway.check(self.drain_timeout_seconds)?;
        check_hub(self.event_partitions, &self.host_names)
    }

    /// The name in connection strings.
    pub fn host_name(&self) -> &str {
        self.host_names.first().map_or("localhost", String::as_str)
    }

    /// Where the admin listener listens.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.socket_address(self.listen_address)
    }

    /// What the gateway needs of it.
    pub fn gateway(&self) -> gateway::Config {
        gateway::Config {
            listen_address: self.listen_address,
            mqtt_port: self.mqtt_port,
            amqp_port: self.amqp_port,
            https_port: self.https_port,
            emulator_port: None,
            host_names: self.host_names.clone(),
            ..self.gateway.config()
        }
    }
}

impl RoleConfig for GatewayConfig {
    const SECTIONS: &'static [&'static [Section]] = &[
        &[
            Section { name: "", structure: "GatewayConfig", source: include_str!("cluster_gateway.rs") },
            Section { name: "shards", structure: "ShardsSection", source: include_str!("cluster_gateway.rs") },
        ],
        &[LOG, ADMIN, CERTIFICATES, KAFKA, PEER],
        &GATEWAY,
    ];
}
