//! `DIR/hub.json`: how to reach the hub, for programs of its owner. Holds keys, so only the owner can read it.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::Context;
use auth::ConnectionString;
use model::HubSettings;
use serde::{Deserialize, Serialize};

use crate::files;

/// The names of the built-in policies, and of the members that hold their connection strings.
pub const POLICIES: [&str; 5] = ["iothubowner", "service", "device", "registryRead", "registryReadWrite"];

/// What readers of the events call the built-in endpoint.
pub const EVENT_HUB_NAME: &str = "events";

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HubJson {
    /// The name in connection strings.
    pub host_name: String,
    /// What clients must trust; absent when the owner brought certificates without naming their authority.
    pub certificate_authority_file: Option<PathBuf>,
    /// An address at which the hub can be reached from this machine, whatever its names resolve to.
    pub address: IpAddr,
    pub ports: Ports,
    pub connection_strings: ConnectionStrings,
    pub event_hub_compatible: EventHubCompatible,
}

/// How Event Hubs clients read what devices send (amqp §8.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventHubCompatible {
    /// Of the policy `service`; absent when that is gone.
    pub connection_string: Option<String>,
    /// Of the event hub; the connection string names it too.
    pub name: String,
}

impl EventHubCompatible {
    /// How the event hub is reached under that host name.
    pub fn new(host_name: &str, name: &str, settings: &HubSettings) -> Self {
        let connection_string = settings.policy("service").map(|policy| {
            let (policy_name, key) = (&policy.name, policy.keys.primary.as_base64());
            format!(
                "Endpoint=sb://{host_name}/;SharedAccessKeyName={policy_name};SharedAccessKey={key};EntityPath={name}"
            )
        });
        Self { connection_string, name: name.to_owned() }
    }
}

/// The ports that are really in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    pub mqtt: u16,
    pub amqp: u16,
    pub https: u16,
    /// AMQP without TLS; absent unless it was asked for.
    pub emulator: Option<u16>,
    pub admin: u16,
}

/// One for each built-in policy that still exists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionStrings {
    pub iothubowner: Option<String>,
    pub service: Option<String>,
    pub device: Option<String>,
    pub registry_read: Option<String>,
    pub registry_read_write: Option<String>,
}

impl ConnectionStrings {
    /// The strings of the built-in policies under that host name.
    pub fn new(host_name: &str, settings: &HubSettings) -> Self {
        let [iothubowner, service, device, registry_read, registry_read_write] = POLICIES.map(|name| {
            let policy = settings.policy(name)?;
            let connection_string = ConnectionString {
                host_name: host_name.to_owned(),
                device_id: None,
                module_id: None,
                shared_access_key_name: Some(policy.name.clone()),
                shared_access_key: Some(policy.keys.primary.clone()),
            };
            Some(connection_string.to_string())
        });
        Self { iothubowner, service, device, registry_read, registry_read_write }
    }
}

impl HubJson {
    /// Replaces the file.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        files::write_secret(path, &(serde_json::to_string_pretty(self)? + "\n"))
    }

    /// Reads the file.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        serde_json::from_str(&files::read_text(path)?).with_context(|| format!("{} is damaged", path.display()))
    }
}
