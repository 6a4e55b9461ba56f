//! The settings of `ironhub shard`.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::{
    AdminSection, Environment, LogConfig, RoleConfig, Words,
    documented::{ADMIN, LOG, PEER, SHARD, Section},
    load,
};

/// Everything that `ironhub shard` can be told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShardConfig {
    /// Where replicas are kept. One process at a time; it belongs to this node for ever.
    /// Default: $XDG_DATA_HOME/ironhub, else ~/.local/share/ironhub, else ./ironhub-data.
    pub data_dir: PathBuf,
    /// Address that gateways and other shards connect to; `0.0.0.0` or `::` for every one of the machine.
    pub listen_address: IpAddr,
    /// Port for it.
    pub port: u16,
    /// `host:port` under which the others reach this shard, such as a pod's stable name. Empty: address and port.
    pub advertised_address: String,
    /// `host:port` of the shards that a new hub begins with, as each of them advertises itself; the same list everywhere.
    /// The first one founds the hub once all of them answer and none of them belongs to one. A shard that is not named
    /// waits to be made a member.
    pub founders: Vec<String>,
    /// How long an orderly end may take, in seconds; afterwards what still runs is cut off.
    pub drain_timeout_seconds: u64,
    pub log: LogConfig,
    pub admin: AdminSection,
    /// Its folder is relative to `data_dir`, unless it is absolute. `node_id` is 0: drawn by the disk.
    pub shard: shard::group::Config,
    pub peer: peer::Files,
}

impl Default for ShardConfig {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::new(),
            listen_address: Ipv4Addr::LOCALHOST.into(),
            port: 7600,
            advertised_address: String::new(),
            founders: Vec::new(),
            drain_timeout_seconds: 15,
            log: LogConfig::default(),
            admin: AdminSection::default(),
            shard: shard::group::Config { node_id: 0, groups: 16, joins: true, ..shard::group::Config::default() },
            peer: peer::Files::default(),
        }
    }
}

impl ShardConfig {
    /// Puts file, environment and flags together and fills in what depends on other settings.
    pub fn load(words: &Words, environment: &Environment) -> anyhow::Result<Self> {
        let mut config: Self = load(words, environment)?;
        if config.data_dir.as_os_str().is_empty() {
            config.data_dir = environment.default_data_dir();
        }
        config.data_dir = std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
        config.admin.complete(config.listen_address);
        if config.advertised_address.is_empty() {
            config.advertised_address = config.socket_address().to_string();
        }
        // A node of a cluster is founded or made a member, never a hub of its own.
        config.shard.joins = true;
        config.shard.address = format!("http://{}", config.advertised_address);
        config.shard.seeds = config.founders.iter().map(|founder| format!("http://{founder}")).collect();
        if config.shard.name.is_empty() {
            let host = config.advertised_address.rsplit_once(':').map_or("", |(host, _)| host);
            config.shard.name = host.split('.').next().filter(|_| !is_address(host)).unwrap_or(host).to_owned();
        }
        Ok(config)
    }

    /// Whether a shard can start with it.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!((1..=256).contains(&self.shard.groups), "shard.groups must be 1 to 256");
        ensure!(self.shard.node_id == 0, "shard.node_id is not for this role: the disk draws it");
        ensure!(self.shard.initial_members.is_empty(), "shard.initial_members is not for this role; name `founders`");
        ensure!(self.port != 0, "port must not be 0: the others have to know it");
        let address = &self.advertised_address;
        let is_reachable = address.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && host != "0.0.0.0" && host != "[::]" && port.parse::<u16>().is_ok()
        });
        ensure!(is_reachable, "advertised_address must be host:port as the others reach it, not {address:?}");
        Ok(())
    }

    /// Where it listens for the others.
    pub fn socket_address(&self) -> SocketAddr {
        SocketAddr::new(self.listen_address, self.port)
    }

    /// Where the admin listener listens.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.socket_address(self.listen_address)
    }
}

/// Of an address no part is a name.
fn is_address(host: &str) -> bool {
    host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

impl RoleConfig for ShardConfig {
    const SECTIONS: &'static [&'static [Section]] = &[
        &[Section { name: "", structure: "ShardConfig", source: include_str!("cluster_shard.rs") }],
        &[LOG, ADMIN, SHARD, PEER],
    ];
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failure here is a failed test")]
mod tests {
    use super::*;

    fn load(settings: &[(&str, &str)]) -> ShardConfig {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        ShardConfig::load(&Words { config: None, settings }, &Environment::new(std::iter::empty())).unwrap()
    }

    #[test]
    fn a_section_that_is_there_in_part_keeps_the_defaults_of_the_role() {
        let config = load(&[("shard.name", "first"), ("listen_address", "127.0.7.1")]);
        assert_eq!((config.shard.node_id, config.shard.groups, config.shard.name.as_str()), (0, 16, "first"));
        assert_eq!(config.advertised_address, "127.0.7.1:7600");
        config.check().unwrap();
    }

    #[test]
    fn a_pod_is_called_by_the_first_part_of_its_name() {
        let name = |address| load(&[("advertised_address", address)]).shard.name;
        assert_eq!(name("shard-0.shard.hub.svc:7600"), "shard-0");
        assert_eq!(name("10.0.0.7:7600"), "10.0.0.7");
    }

    #[test]
    fn what_the_others_cannot_reach_is_refused() {
        for address in ["0.0.0.0:7600", ":7600", "shard-0", "shard-0:port"] {
            let error = load(&[("advertised_address", address)]).check().unwrap_err().to_string();
            assert!(error.contains(address), "{error}");
        }
        assert!(load(&[("shard.node_id", "7")]).check().is_err());
    }
}
