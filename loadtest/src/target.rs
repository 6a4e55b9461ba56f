//! The hub under load: where it listens, whom to trust, and the policy that may make devices.

use std::{
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
};

use anyhow::Context;
use auth::ConnectionString;
use model::SymmetricKey;
use serde::Deserialize;

use crate::{arguments::TargetArguments, server_process::ServerProcess, tls::Endpoint};

/// One hub.
#[derive(Clone)]
pub struct Target {
    /// The name in tokens, user names and the server's certificate.
    pub host_name: String,
    pub mqtt: Endpoint,
    pub amqp: Endpoint,
    pub https: Endpoint,
    /// Name of the Event Hubs-compatible endpoint.
    pub event_hub: String,
    pub certificate_authority_file: PathBuf,
    pub policy: String,
    pub key: SymmetricKey,
    /// Absent when the server runs elsewhere or nobody said which process it is.
    pub server: Option<ServerProcess>,
}

/// The part of `hub.json` that matters here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HubJson {
    certificate_authority_file: Option<PathBuf>,
    address: Option<IpAddr>,
    ports: Ports,
    connection_strings: ConnectionStrings,
    event_hub_compatible: EventHubCompatible,
}

#[derive(Deserialize)]
struct EventHubCompatible {
    name: String,
}

#[derive(Deserialize)]
struct Ports {
    mqtt: u16,
    amqp: u16,
    https: u16,
}

#[derive(Deserialize)]
struct ConnectionStrings {
    iothubowner: String,
}

impl Target {
    /// What `hub.json` says, and over it what the flags say.
    pub fn find(arguments: &TargetArguments) -> anyhow::Result<Self> {
        let hub = arguments.data_dir.as_deref().map(read_hub_json).transpose()?;
        let in_file = arguments.connection_string_file.as_deref().map(read_connection_string).transpose()?;
        let text = arguments
            .connection_string
            .as_deref()
            .or(in_file.as_deref())
            .or(hub.as_ref().map(|hub| hub.connection_strings.iothubowner.as_str()));
        let text = text.context("say which hub with --data-dir DIR or --connection-string TEXT; see --help")?;
        let parsed: ConnectionString = text.trim().parse().context("the connection string cannot be read")?;
        let host = parsed.host_name.clone();
        let mut addresses = arguments.address.clone();
        if addresses.is_empty() {
            let address = hub.as_ref().and_then(|hub| Some(hub.address?.to_string()));
            addresses.push(address.unwrap_or_else(|| host.clone()));
        }
        let port = |asked: Option<u16>, of: fn(&Ports) -> u16, usual| {
            let port = asked.or(hub.as_ref().map(|hub| of(&hub.ports))).unwrap_or(usual);
            let servers = addresses.iter().map(|address| resolve(address, port)).collect::<anyhow::Result<_>>()?;
            Endpoint::new(servers, arguments.source_address.clone())
        };
        let authority = arguments.certificate_authority_file.clone();
        let authority = authority.or(hub.as_ref().and_then(|hub| hub.certificate_authority_file.clone()));
        Ok(Self {
            mqtt: port(arguments.mqtt_port, |ports| ports.mqtt, 8883)?,
            amqp: port(arguments.amqp_port, |ports| ports.amqp, 5671)?,
            https: port(arguments.https_port, |ports| ports.https, 443)?,
            // The name that hubs give it unless told otherwise.
            event_hub: hub.as_ref().map_or("events", |hub| &hub.event_hub_compatible.name).to_owned(),
            certificate_authority_file: authority
                .context("name the hub's authority with --certificate-authority-file")?,
            policy: parsed.shared_access_key_name.context("the connection string names no policy")?,
            key: parsed.shared_access_key.context("the connection string has no key")?,
            host_name: host,
            server: server(arguments)?,
        })
    }
}

fn server(arguments: &TargetArguments) -> anyhow::Result<Option<ServerProcess>> {
    let of_lock = || {
        let lock = std::fs::read_to_string(arguments.data_dir.as_ref()?.join("lock")).ok()?;
        lock.trim().parse().ok()
    };
    arguments.server_pid.or_else(of_lock).map(ServerProcess::new).transpose()
}

fn read_hub_json(data_dir: &Path) -> anyhow::Result<HubJson> {
    let path = data_dir.join("hub.json");
    let text = std::fs::read_to_string(&path).with_context(|| {
        format!("cannot read {}; is `ironhub all --data-dir {}` running?", path.display(), data_dir.display())
    })?;
    serde_json::from_str(&text).with_context(|| format!("{} is no hub.json", path.display()))
}

fn read_connection_string(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn resolve(host: &str, port: u16) -> anyhow::Result<SocketAddr> {
    let mut addresses = (host, port).to_socket_addrs().with_context(|| format!("cannot resolve {host}"))?;
    addresses.next().with_context(|| format!("{host} has no address"))
}
