//! How the operator reaches the hub, and what it reads from files for that.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::HubError;

/// How the operator reaches the hub, and as whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HubConfig {
    /// `host:port` of the gateways' HTTPS, such as that of their Service.
    pub address: String,
    /// Name of the hub that its server certificate has. Empty: the host of `address`.
    pub host_name: String,
    /// The authority of the server certificate, PEM. Read again at every look.
    pub authority_file: PathBuf,
    /// A policy of the hub with all four rights.
    pub owner_policy: String,
    /// Folder with the keys of the policy in base64: `primaryKey`, `secondaryKey`, or both; one that opens is enough. A mounted
    /// Secret; read again at every look.
    pub owner_keys_directory: PathBuf,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            address: String::new(),
            host_name: String::new(),
            authority_file: "/etc/ssl/certs/ca-certificates.crt".into(),
            owner_policy: "iothubowner".to_owned(),
            owner_keys_directory: PathBuf::new(),
        }
    }
}

impl HubConfig {
    /// The name in the certificate and in tokens.
    pub(super) fn name(&self) -> &str {
        let host = || self.address.rsplit_once(':').map_or(self.address.as_str(), |(host, _)| host);
        if self.host_name.is_empty() { host().trim_matches(['[', ']']) } else { &self.host_name }
    }
}

/// What was read.
#[derive(PartialEq, Eq)]
pub(super) struct Files {
    pub authority: Vec<u8>,
    /// As they stand there.
    pub keys: Vec<String>,
}

impl Files {
    /// All of them as they are now.
    pub fn read(config: &HubConfig) -> Result<Self, HubError> {
        let authority = fs::read(&config.authority_file);
        let authority =
            authority.map_err(|error| unreadable("the authority of the hub", &config.authority_file, &error))?;
        let key = |name| fs::read_to_string(config.owner_keys_directory.join(name)).ok();
        let keys = ["primaryKey", "secondaryKey"].into_iter().filter_map(key).map(|key| key.trim().to_owned());
        Ok(Self { authority, keys: keys.collect() })
    }
}

pub(super) fn unreadable(what: &str, file: &Path, error: &dyn std::fmt::Display) -> HubError {
    HubError::Files(format!("cannot read {what} from {}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_that_of_the_address_unless_it_is_given() {
        let name = |address: &str, host_name: &str| {
            let (address, host_name) = (address.to_owned(), host_name.to_owned());
            HubConfig { address, host_name, ..HubConfig::default() }.name().to_owned()
        };
        assert_eq!(name("hub-gateway.iot.svc:443", ""), "hub-gateway.iot.svc");
        assert_eq!(name("hub-gateway.iot.svc:443", "hub.example.test"), "hub.example.test");
        assert_eq!(name("[::1]:8443", ""), "::1");
    }
}
