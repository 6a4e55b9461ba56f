//! What a process is started with.

use std::{net::IpAddr, path::PathBuf};

use clap::Args;
use model::DeviceId;

use crate::configuration::Words;

/// Flags that stand for settings; each wins over the environment and the configuration file.
#[derive(Debug, Default, Args)]
pub struct AllArguments {
    /// Where everything is kept [default: $XDG_DATA_HOME/ironhub, that is ~/.local/share/ironhub]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address to listen on; 0.0.0.0 or :: for every one of the machine [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    pub listen_address: Option<IpAddr>,
    /// Name or address under which clients reach the hub; the first one stands in connection strings
    /// [default: the listen address]
    #[arg(long = "host-name", value_name = "NAME")]
    pub host_names: Vec<String>,
    /// Port for MQTT over TLS; 0 takes a free one [default: 8883]
    #[arg(long, value_name = "PORT")]
    pub mqtt_port: Option<u16>,
    /// Port for AMQP over TLS; 0 takes a free one [default: 5671]
    #[arg(long, value_name = "PORT")]
    pub amqp_port: Option<u16>,
    /// Port for HTTPS; 0 takes a free one [default: 443]
    #[arg(long, value_name = "PORT")]
    pub https_port: Option<u16>,
    /// Port for AMQP without TLS, on a loopback address only, for Event Hubs clients with UseDevelopmentEmulator=true,
    /// which have 5672 compiled in; 0 takes a free one [default: off]
    #[arg(long, value_name = "PORT")]
    pub emulator_port: Option<u16>,
    /// Port for /metrics, /healthz and /readyz; 0 takes a free one [default: 9600]
    #[arg(long, value_name = "PORT")]
    pub admin_port: Option<u16>,
    /// Keep events in this Kafka, not in the data folder: `host:port`, several with commas
    #[arg(long, value_name = "SERVERS")]
    pub kafka_bootstrap_servers: Option<String>,
    /// Create this device unless it is there, and print how to connect it; may be repeated
    #[arg(long = "with-device", value_name = "ID")]
    pub with_devices: Vec<DeviceId>,
    #[command(flatten)]
    pub words: Words,
}

/// What a role of a cluster is started with.
#[derive(Debug, Default, Args)]
pub struct RoleArguments {
    #[command(flatten)]
    pub words: Words,
    /// Print the settings in effect as TOML, explained, and end
    #[arg(long)]
    pub print_config: bool,
}

/// What the operator is started with.
#[derive(Debug, Default, Args)]
pub struct OperatorArguments {
    #[command(flatten)]
    pub role: RoleArguments,
    /// Print the definition of the custom resource IotHub for `kubectl apply -f -`, and end
    #[arg(long)]
    pub print_crd: bool,
}

/// What `ironhub prepare-cluster` makes, and where.
#[derive(Debug, Args)]
pub struct PrepareClusterArguments {
    /// Folder to make it in; what is there and still good stays
    pub directory: PathBuf,
    /// Name or address under which clients reach the hub, for the server certificate; may be repeated
    #[arg(long = "host-name", value_name = "NAME")]
    pub host_names: Vec<String>,
    /// In a pod of Kubernetes: keep it all in Secrets of its namespace, whose names begin with PREFIX, and use the folder
    /// for as long as it takes. Needs leave to get, create and update them
    #[arg(long, value_name = "PREFIX")]
    pub kubernetes_secrets: Option<String>,
}
