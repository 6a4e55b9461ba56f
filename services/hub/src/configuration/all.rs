//! The settings of `ironhub all`.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use model::DeviceId;
use serde::{Deserialize, Serialize};

use super::{
    AdminSection, Environment, GatewaySection, LogConfig, RoleConfig, check_hub, complete_host_names,
    documented::{ADMIN, CERTIFICATES, EMBEDDED_LOG, GATEWAY, KAFKA, LOG, SHARD, Section},
    load,
};
use crate::{arguments::AllArguments, certificates::CertificatesConfig};

/// Everything that `ironhub all` can be told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AllConfig {
    /// Where everything is kept: event log, registry, certificates, `hub.json`. One process at a time.
    /// Default: $XDG_DATA_HOME/ironhub, else ~/.local/share/ironhub, else ./ironhub-data.
    pub data_dir: PathBuf,
    /// Address that MQTT and HTTPS listen on; `0.0.0.0` or `::` for every one of the machine.
    pub listen_address: IpAddr,
    /// Names and addresses under which clients reach the hub. The first one stands in connection strings; all of them,
    /// `localhost`, `127.0.0.1` and `::1` stand in the server certificate. Empty: the listen address.
    pub host_names: Vec<String>,
    /// MQTT 3.1.1 over TLS. SDKs have 8883 compiled in; 0 takes a free one.
    pub mqtt_port: u16,
    /// AMQP 1.0 over TLS. SDKs have 5671 compiled in; 0 takes a free one.
    pub amqp_port: u16,
    /// HTTPS. SDKs have 443 compiled in; 0 takes a free one.
    pub https_port: u16,
    /// AMQP 1.0 without TLS, for Event Hubs clients with `UseDevelopmentEmulator=true`, which have 5672 compiled in. Off
    /// unless set, and only on a loopback address.
    pub emulator_port: Option<u16>,
    /// Devices that are created at the start unless they are there.
    #[serde(with = "device_ids")]
    pub with_devices: Vec<DeviceId>,
    /// How long an orderly end may take, in seconds; afterwards what still runs is cut off.
    pub drain_timeout_seconds: u64,
    /// Number of partitions of the built-in endpoint `events`. Counts at the first start only.
    pub event_partitions: u32,
    pub log: LogConfig,
    pub admin: AdminSection,
    pub certificates: CertificatesConfig,
    /// Its folder is relative to `data_dir`, unless it is absolute.
    pub gateway: GatewaySection,
    /// Events stay here unless `kafka` says where else.
    pub event_log: eventlog::embedded::Config,
    pub kafka: eventlog::kafka::Config,
    /// Its folder is relative to `data_dir`, unless it is absolute.
    pub shard: shard::group::Config,
}

/// Device ids as a list of strings.
mod device_ids {
    use model::DeviceId;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(ids: &[DeviceId], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(ids.iter().map(DeviceId::as_str))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<DeviceId>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
    }
}

impl Default for AllConfig {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::new(),
            listen_address: Ipv4Addr::LOCALHOST.into(),
            host_names: Vec::new(),
            mqtt_port: 8883,
            amqp_port: 5671,
            https_port: 443,
            emulator_port: None,
            with_devices: Vec::new(),
            drain_timeout_seconds: 15,
            event_partitions: 4,
            log: LogConfig::default(),
            admin: AdminSection::default(),
            certificates: CertificatesConfig::default(),
            gateway: GatewaySection::default(),
            event_log: eventlog::embedded::Config::default(),
            kafka: eventlog::kafka::Config::default(),
            shard: shard::group::Config::default(),
        }
    }
}

impl AllConfig {
    /// Puts file, environment and flags together and fills in what depends on other settings.
    pub fn load(arguments: AllArguments, environment: &Environment) -> anyhow::Result<Self> {
        let mut config: Self = load(&arguments.words, environment)?;
        config.apply(arguments);
        config.complete(environment);
        config.check()?;
        Ok(config)
    }

    fn apply(&mut self, arguments: AllArguments) {
        let AllArguments {
            data_dir,
            listen_address,
            host_names,
            mqtt_port,
            amqp_port,
            https_port,
            emulator_port,
            admin_port,
            kafka_bootstrap_servers,
            with_devices,
            ..
        } = arguments;
        self.data_dir = data_dir.unwrap_or_else(|| std::mem::take(&mut self.data_dir));
        self.listen_address = listen_address.unwrap_or(self.listen_address);
        self.mqtt_port = mqtt_port.unwrap_or(self.mqtt_port);
        self.amqp_port = amqp_port.unwrap_or(self.amqp_port);
        self.https_port = https_port.unwrap_or(self.https_port);
        self.emulator_port = emulator_port.or(self.emulator_port);
        self.admin.port = admin_port.unwrap_or(self.admin.port);
        if let Some(servers) = kafka_bootstrap_servers {
            self.kafka.bootstrap_servers = servers;
        }
        if !host_names.is_empty() {
            self.host_names = host_names;
        }
        if !with_devices.is_empty() {
            self.with_devices = with_devices;
        }
    }

    fn complete(&mut self, environment: &Environment) {
        if self.data_dir.as_os_str().is_empty() {
            self.data_dir = environment.default_data_dir();
        }
        self.data_dir = std::path::absolute(&self.data_dir).unwrap_or_else(|_| self.data_dir.clone());
        self.admin.complete(self.listen_address);
        complete_host_names(&mut self.host_names, self.listen_address);
    }

    fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!((1..=256).contains(&self.shard.groups), "shard.groups must be 1 to 256");
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
            emulator_port: self.emulator_port,
            host_names: self.host_names.clone(),
            ..self.gateway.config()
        }
    }
}

impl RoleConfig for AllConfig {
    const SECTIONS: &'static [&'static [Section]] = &[
        &[Section { name: "", structure: "AllConfig", source: include_str!("all.rs") }],
        &[LOG, ADMIN, CERTIFICATES, EMBEDDED_LOG, KAFKA, SHARD],
        &GATEWAY,
    ];
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failure here is a failed test")]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::configuration::Words;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::new(variables.iter().map(|(name, value)| (name.into(), value.into())))
    }

    fn load(file: Option<&str>, variables: &[(&str, &str)], arguments: AllArguments) -> Result<AllConfig, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.toml");
        let config = file.map(|text| {
            std::fs::write(&path, text).unwrap();
            path.clone()
        });
        let arguments = AllArguments { words: Words { config, ..Words::default() }, ..arguments };
        AllConfig::load(arguments, &environment(variables)).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let file = "mqtt_port = 1\nhttps_port = 1\nhost_names = ['file']\n[log]\nfilter = 'debug'";
        let variables = [("IRONHUB_MQTT_PORT", "2"), ("IRONHUB_HTTPS_PORT", "2"), ("IRONHUB_LOG__FILTER", "warn")];
        let arguments = AllArguments { mqtt_port: Some(3), ..AllArguments::default() };
        let config = load(Some(file), &variables, arguments).unwrap();
        assert_eq!((config.mqtt_port, config.https_port), (3, 2));
        assert_eq!((config.host_names, config.log.filter), (vec!["file".to_owned()], "warn".to_owned()));
    }

    #[test]
    fn unknown_fields_are_refused_with_file_and_line() {
        let error = load(Some("mqtt_port = 1\n[log]\ncolour = 'red'"), &[], AllArguments::default()).unwrap_err();
        assert!(error.contains("hub.toml") && error.contains("line 3") && error.contains("colour"), "{error}");
        let error = load(None, &[("IRONHUB_LOG__COLOUR", "red")], AllArguments::default()).unwrap_err();
        assert!(error.contains("IRONHUB_LOG__COLOUR") && error.contains("colour"), "{error}");
    }

    #[test]
    fn wrong_values_name_where_they_stand() {
        let error = load(None, &[("IRONHUB_MQTT_PORT", "eight")], AllArguments::default()).unwrap_err();
        assert!(error.contains("IRONHUB_MQTT_PORT"), "{error}");
        let error = load(Some("\nmqtt_port = 99999"), &[], AllArguments::default()).unwrap_err();
        assert!(error.contains("line 2"), "{error}");
    }

    #[test]
    fn connections_are_not_spread_over_more_than_there_is() {
        let error = load(Some("[gateway]\ndrain_spread_seconds = 16"), &[], AllArguments::default()).unwrap_err();
        assert!(error.contains("drain_spread_seconds is 16") && error.contains("which is 15"), "{error}");
        let file = "drain_timeout_seconds = 16\n[gateway]\ndrain_spread_seconds = 16";
        assert_eq!(load(Some(file), &[], AllArguments::default()).unwrap().gateway().drain_spread_seconds, 16);
    }

    #[test]
    fn trusted_sources_are_addresses_or_networks() {
        let sources = |text: &str| {
            let file = format!("[gateway.proxy_protocol]\ntrusted_sources = ['{text}']");
            load(Some(&file), &[], AllArguments::default())
        };
        assert!(sources("10.1.0.0/16").unwrap().gateway().proxy_protocol.trusts([10, 1, 2, 3].into()));
        let error = sources("10.1.2.3/16").unwrap_err();
        assert!(error.contains("line 2") && error.contains("expected 10.1.0.0/16"), "{error}");
    }

    #[test]
    fn variables_of_others_are_left_alone() {
        let variables = [("IRONHUB_SERVICE_HOST", "10.0.0.1"), ("IRONHUB_PORT", "tcp://10.0.0.1:443"), ("HOME", "/h")];
        assert_eq!(
            load(None, &variables, AllArguments::default()).unwrap().data_dir,
            Path::new("/h/.local/share/ironhub")
        );
    }

    #[test]
    fn lists_and_texts_may_be_written_plainly() {
        let variables =
            [("IRONHUB_HOST_NAMES", "a, b"), ("IRONHUB_DATA_DIR", "123"), ("IRONHUB_WITH_DEVICES", "['x,y']")];
        let config = load(None, &variables, AllArguments::default()).unwrap();
        assert_eq!(config.host_names, ["a", "b"]);
        assert!(config.data_dir.is_absolute() && config.data_dir.ends_with("123"));
        assert_eq!(config.with_devices.first().map(DeviceId::as_str), Some("x,y"));
    }

    #[test]
    fn what_is_printed_can_be_read_back() {
        let config = load(None, &[("HOME", "/h")], AllArguments::default()).unwrap();
        let printed = config.to_toml().unwrap();
        assert_eq!(load(Some(&printed), &[], AllArguments::default()).unwrap().to_toml().unwrap(), printed);
    }

    #[test]
    fn host_name_and_admin_address_follow_the_listen_address() {
        let with = |address: &str| {
            let listen_address = Some(address.parse().unwrap());
            let config = load(None, &[], AllArguments { listen_address, ..AllArguments::default() }).unwrap();
            (config.host_names.join(","), config.admin.address.map(|address| address.to_string()).unwrap())
        };
        assert_eq!(with("127.0.7.1"), ("127.0.7.1".to_owned(), "127.0.7.1".to_owned()));
        assert_eq!(with("0.0.0.0"), ("127.0.0.1".to_owned(), "127.0.0.1".to_owned()));
        assert_eq!(with("::1"), ("::1".to_owned(), "::1".to_owned()));
        assert_eq!(with("192.0.2.7"), ("192.0.2.7".to_owned(), "127.0.0.1".to_owned()));
    }
}
