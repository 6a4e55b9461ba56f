//! The settings of `ironhub operator`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::{
    AdminSection, Environment, LogConfig, RoleConfig, Words,
    documented::{ADMIN, LOG, Section},
    load,
};

/// Everything that `ironhub operator` can be told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OperatorConfig {
    /// How long an orderly end may take, in seconds: a look that has begun comes to its end.
    pub drain_timeout_seconds: u64,
    pub log: LogConfig,
    pub admin: AdminSection,
    pub operator: operator::Config,
}

impl Default for OperatorConfig {
    fn default() -> Self {
        Self {
            drain_timeout_seconds: 15,
            log: LogConfig::default(),
            admin: AdminSection::default(),
            operator: operator::Config::default(),
        }
    }
}

impl OperatorConfig {
    /// Puts file, environment and flags together and fills in what depends on other settings.
    pub fn load(words: &Words, environment: &Environment) -> anyhow::Result<Self> {
        let mut config: Self = load(words, environment)?;
        config.admin.complete(Self::LISTEN_ADDRESS);
        Ok(config)
    }

    /// Whether an operator can start with it.
    pub fn check(&self) -> anyhow::Result<()> {
        self.operator.check().map_err(anyhow::Error::msg)
    }

    /// Where the admin listener listens.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.socket_address(Self::LISTEN_ADDRESS)
    }

    /// It serves nothing but the admin pages.
    const LISTEN_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
}

impl RoleConfig for OperatorConfig {
    const SECTIONS: &'static [&'static [Section]] = &[
        &[
            Section { name: "", structure: "OperatorConfig", source: include_str!("operator.rs") },
            Section { name: "operator", structure: "Config", source: include_str!("../../../operator/src/config.rs") },
            Section {
                name: "operator.hub",
                structure: "HubConfig",
                source: include_str!("../../../operator/src/hub/config.rs"),
            },
        ],
        &[LOG, ADMIN],
    ];
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failure here is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let mut settings = Vec::new();
        for (name, value) in [
            ("operator.name", "hub"),
            ("operator.stateful_set", "hub-shard"),
            ("operator.hub.address", "hub-gateway.iot.svc:443"),
            ("operator.hub.owner_keys_directory", "/owner"),
        ] {
            let words = Words { config: None, settings: settings.clone() };
            let config = OperatorConfig::load(&words, &Environment::new(std::iter::empty())).unwrap();
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
            settings.push((name.to_owned(), value.to_owned()));
        }
        let words = Words { config: None, settings };
        OperatorConfig::load(&words, &Environment::new(std::iter::empty())).unwrap().check().unwrap();
    }
}
