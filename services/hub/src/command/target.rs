//! Which hub a client command talks to, and as whom.

use std::path::{Path, PathBuf};

use anyhow::Context;
use auth::ConnectionString;
use model::SymmetricKey;

use crate::{
    arguments::TargetArguments,
    configuration::Environment,
    role::{data_dir, hub_json::HubJson},
};

const HTTPS_PORT: u16 = 443;
const MQTT_PORT: u16 = 8883;

/// A hub and a policy of it.
pub struct Target {
    /// The name in tokens and in the server's certificate, as the connection string has it.
    pub host_name: String,
    /// Where to connect to.
    pub address: String,
    pub port: u16,
    /// MQTT over TLS.
    pub mqtt_port: u16,
    /// PEM file of the certificates to trust; the system's when absent.
    pub certificate_authority_file: Option<PathBuf>,
    pub policy: String,
    pub key: SymmetricKey,
}

impl Target {
    /// What flags say wins, then the environment, then the default data folder.
    pub fn find(arguments: &TargetArguments, environment: &Environment) -> anyhow::Result<Self> {
        let variable = |name| environment.variable(name);
        let authority = || variable("IRONHUB_CERTIFICATE_AUTHORITY_FILE").map(PathBuf::from);
        let authority = arguments.certificate_authority_file.clone().or_else(authority);
        if let Some(data_dir) = &arguments.data_dir {
            return Self::of_data_dir(data_dir);
        }
        let connection_string = arguments.connection_string.as_deref().or(variable("IRONHUB_CONNECTION_STRING"));
        if let Some(text) = connection_string {
            return Self::of_connection_string(text, authority);
        }
        let data_dir = variable("IRONHUB_DATA_DIR").map_or_else(|| environment.default_data_dir(), PathBuf::from);
        Self::of_data_dir(&data_dir)
    }

    fn of_data_dir(data_dir: &Path) -> anyhow::Result<Self> {
        let path = data_dir::hub_json(data_dir);
        anyhow::ensure!(
            path.exists(),
            "no hub was started in {}. Start one with `ironhub all`, or say which one you mean with --data-dir or \
             --connection-string",
            data_dir.display()
        );
        let hub = HubJson::read(&path)?;
        let owner = hub.connection_strings.iothubowner.context("the hub has no policy `iothubowner` any more")?;
        let target = Self::of_connection_string(&owner, hub.certificate_authority_file)?;
        let (address, port, mqtt_port) = (hub.address.to_string(), hub.ports.https, hub.ports.mqtt);
        Ok(Self { address, port, mqtt_port, ..target })
    }

    fn of_connection_string(text: &str, authority: Option<PathBuf>) -> anyhow::Result<Self> {
        const FORM: &str = "a connection string of a policy has the form \
                            HostName=HOST;SharedAccessKeyName=POLICY;SharedAccessKey=KEY";
        let parsed: ConnectionString = text.parse().context(FORM)?;
        let (address, port) = split_port(&parsed.host_name);
        Ok(Self {
            address,
            port,
            mqtt_port: MQTT_PORT,
            certificate_authority_file: authority,
            policy: parsed.shared_access_key_name.context(FORM)?,
            key: parsed.shared_access_key.context(FORM)?,
            host_name: parsed.host_name,
        })
    }

    /// The name that the server's certificate must have.
    pub fn server_name(&self) -> String {
        split_port(&self.host_name).0
    }
}

/// `host`, `host:port`, `::1` or `[::1]:port`.
fn split_port(host: &str) -> (String, u16) {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if name.ends_with(']') || !name.contains(':') => (name, port.parse().ok()),
        _ => (host, None),
    };
    (name.trim_start_matches('[').trim_end_matches(']').to_owned(), port.unwrap_or(HTTPS_PORT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_may_stand_in_the_host_name() {
        for (text, name, port) in [
            ("hub.example.test", "hub.example.test", 443),
            ("127.0.0.1:8443", "127.0.0.1", 8443),
            ("::1", "::1", 443),
            ("[::1]:8443", "::1", 8443),
        ] {
            assert_eq!(split_port(text), (name.to_owned(), port));
        }
    }
}
