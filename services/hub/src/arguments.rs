//! The command line.

mod cluster;
mod messages;
mod registry;
mod roles;
mod twin;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use model::DeviceId;

pub use cluster::{ClusterCommand, WaitArguments};
pub use messages::{MessageCommand, SendArguments};
pub use registry::{
    CreateArguments, DeviceCommand, ImportArguments, ImportMode, Key, ModuleCommand, SimulateArguments, UpdateArguments,
};
pub use roles::{AllArguments, OperatorArguments, PrepareClusterArguments, RoleArguments};
pub use twin::{InvokeArguments, MethodCommand, TwinCommand, TwinWrite};

const EXAMPLES: &str = "\
Examples:
  ironhub all --with-device demo             a hub on 127.0.0.1 with a device; prints what to paste where
  ironhub all --listen-address 0.0.0.0 --host-name hub.example.test
                                             a hub that other machines reach under that name
  ironhub device create thermostat-1         in another terminal: a device and its connection string
  ironhub events tail --follow               watch what devices send
  ironhub config > ironhub.toml              every setting with its value now, to start a configuration file from

Settings come from the configuration file, then the environment (IRONHUB_MQTT_PORT=18883,
IRONHUB_GATEWAY__CONNECTIONS_MAX=100), then the command line; the later one wins.";

/// An IoT hub that unmodified Azure IoT SDKs can use.
#[derive(Debug, Parser)]
#[command(name = "ironhub", version, after_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a whole hub in this process: every protocol, the registry, the event log
    #[command(after_help = "\
The first start makes a certificate authority, a server certificate and the five built-in policies in the data folder;
later starts keep them. DIR/hub.json has all addresses and connection strings. SIGTERM and Ctrl-C end it in an orderly way.

Ports 443, 5671 and 8883 are compiled into most SDKs. Without the right to bind 443, either
  sudo setcap cap_net_bind_service=+ep $(command -v ironhub)
  sudo sysctl net.ipv4.ip_unprivileged_port_start=443
or use --https-port 8443 and clients that accept a port.")]
    All(AllArguments),

    /// Print the settings in effect of `ironhub all` as TOML: file, environment and flags put together
    Config(AllArguments),

    /// Run a gateway of a cluster: MQTT, AMQP and HTTPS for devices and back ends, shards and Kafka behind it
    #[command(after_help = "\
It keeps nothing; run as many as the load asks for, behind a load balancer that passes TCP on. --print-config explains every
setting. The certificates come from `ironhub prepare-cluster` or from elsewhere. `make cluster` is a worked example.")]
    Gateway(RoleArguments),

    /// Run a shard of a cluster: replicas of registry, twins, queues and settings
    #[command(after_help = "\
Three or more of them make a hub that outlives the loss of one. --print-config explains every setting. The shards that
`founders` names begin the hub together, once; later ones join it.")]
    Shard(RoleArguments),

    /// Keep a hub on Kubernetes as its custom resource IotHub says: settings, and how many shards there are
    #[command(after_help = "\
It runs in the namespace of the hub, one for each hub; the chart does that with operator.enabled. It acts as the owner of the
hub, over HTTPS, and on nothing but the IotHub, the StatefulSet and the Secrets that are named to it. --print-config explains
every setting. `kubectl explain iothub.spec` explains the resource.")]
    Operator(OperatorArguments),

    /// Make what the processes of a cluster need: an authority, a certificate for each role, a server certificate, secrets
    #[command(after_help = "\
Makes these, and renews what ends soon when it is run again:
  DIR/peer/authority.pem, gateway.pem, gateway-key.pem, shard.pem, shard-key.pem    between the processes (mutual TLS)
  DIR/server/authority.pem, server.pem, server-key.pem                              what devices and back ends see
  DIR/server/ticket-secret                                                          the same for every gateway
  DIR/owner/primaryKey                                                              what the owner of a new hub begins with")]
    PrepareCluster(PrepareClusterArguments),

    /// Create, look at, change, import and delete devices of a running hub
    #[command(after_help = registry::DEVICE_EXAMPLES)]
    Device {
        #[command(flatten)]
        target: TargetArguments,
        #[command(subcommand)]
        command: DeviceCommand,
    },

    /// Create, look at and delete modules of a device
    #[command(after_help = registry::MODULE_EXAMPLES)]
    Module {
        #[command(flatten)]
        target: TargetArguments,
        #[command(subcommand)]
        command: ModuleCommand,
    },

    /// Look at and write the twins of devices and modules
    #[command(after_help = twin::TWIN_EXAMPLES)]
    Twin {
        #[command(flatten)]
        target: TargetArguments,
        #[command(subcommand)]
        command: TwinCommand,
    },

    /// Run methods on connected devices and modules
    #[command(after_help = twin::METHOD_EXAMPLES)]
    Method {
        #[command(flatten)]
        target: TargetArguments,
        #[command(subcommand)]
        command: MethodCommand,
    },

    /// Send messages to devices, and hear what became of them
    #[command(name = "c2d", after_help = messages::EXAMPLES)]
    Messages {
        #[command(flatten)]
        target: TargetArguments,
        #[command(subcommand)]
        command: MessageCommand,
    },

    /// Say why a device was last refused or disconnected, when, from where, and what to do
    Explain {
        #[command(flatten)]
        target: TargetArguments,
        #[command(flatten)]
        arguments: ExplainArguments,
    },

    /// Count the devices of a running hub
    Statistics {
        #[command(flatten)]
        target: TargetArguments,
    },

    /// Look at and change the shared access policies of a running hub
    #[command(after_help = "\
Examples:
  ironhub policy create dashboard --rights RegistryRead,ServiceConnect    a policy with fresh keys; prints its connection string
  ironhub policy regenerate-key dashboard primary                        clients that use the key are disconnected at once
  ironhub policy regenerate-key dashboard swap                           both keys change places, nobody is disconnected

To rotate without interruption: move clients to the secondary key, regenerate the primary one, move back. Rights are
RegistryRead, RegistryWrite, ServiceConnect (back ends) and DeviceConnect (acting for devices).")]
    Policy {
        #[command(flatten)]
        target: TargetArguments,
        #[command(subcommand)]
        command: PolicyCommand,
    },

    /// Register the certificate authorities that devices may be signed by
    #[command(after_help = "\
Examples:
  ironhub certificate add factory-root.pem --verified                     on your word that its private key is yours
  ironhub certificate add factory-root.pem --name factory                 or with a proof:
  ironhub certificate verification-code factory                           1. prints a code
  openssl req -new -key any.key -subj /CN=CODE -out proof.csr             2. a certificate with the code as common name,
  openssl x509 -req -in proof.csr -CA factory-root.pem -CAkey factory-root.key -CAcreateserial -out proof.pem
  ironhub certificate verify factory proof.pem                            3. signed by the authority

A device authenticates by authority when its identity has the authentication type certificateAuthority and its
certificate has the device id as common name (modules: DEVICE/MODULE). It must send the intermediates along. Removing a
certificate disconnects the devices that it vouched for.")]
    Certificate {
        #[command(flatten)]
        target: TargetArguments,
        #[command(subcommand)]
        command: CertificateCommand,
    },

    /// Name the consumer groups of the events of a running hub; $Default is always there
    ConsumerGroup {
        #[command(flatten)]
        target: TargetArguments,
        #[command(subcommand)]
        command: ConsumerGroupCommand,
    },

    /// Look at and change what a running hub can change without a restart
    #[command(after_help = "\
Examples:
  ironhub settings show
  ironhub settings set retentionTimeInDays=3 messageBytesMax=65536
  ironhub settings set cloudToDevice.defaultTtlAsIso8601=PT12H cloudToDevice.maxDeliveryCount=3
  ironhub settings set retentionTimeInDays=default        what the configuration of each process says

Keys:
  retentionTimeInHours  how long events are kept, or retentionTimeInDays
  messageBytesMax       body and properties of a message; only lowers what the processes allow
  subscriptionsMax      topic filters of one MQTT session; only lowers what the processes allow
  connectionsMax        connections of one gateway; those that are there stay
  tokenGraceSeconds     how long a connection outlives its token; a silent one is looked at when its time was over before
  cloudToDevice.        messages for devices, durations as PT1H:
    defaultTtlAsIso8601             how long a message waits when its sender does not say, PT1M to P2D
    maxDeliveryCount                how often it may be given back, 1 to 100; then it is dropped
    feedback.ttlAsIso8601           how long feedback is kept for back ends, PT1M to P2D
    feedback.lockDurationAsIso8601  how long a back end may have feedback in hand, PT5S to PT5M
    feedback.maxDeliveryCount       how often it may be given back, 1 to 100; then it is dropped
A message keeps what was set when it was sent: its life and count, and how long its feedback is kept. The rest holds at once")]
    Settings {
        #[command(flatten)]
        target: TargetArguments,
        #[command(subcommand)]
        command: SettingsCommand,
    },

    /// Write the settings, identities, twins and queues of a running hub into a file
    #[command(after_help = "\
Each group of devices is kept as of one moment while the hub goes on. The file holds keys, so only you can read it. Events are
not in it: they are in the event log. `ironhub restore` reads it into an empty hub of any size, also from one process into a
cluster.")]
    Backup {
        #[command(flatten)]
        target: TargetArguments,
        /// File to write; one that exists is replaced once the backup is whole
        file: PathBuf,
    },

    /// Read a backup into a running hub that has no devices
    #[command(after_help = "\
What is already there stays, so a restore that was interrupted is repeated with --again. The settings come last and replace those
of the hub, policies and keys included: afterwards clients of the old hub work against this one.")]
    Restore {
        #[command(flatten)]
        target: TargetArguments,
        /// File that `ironhub backup` wrote
        file: PathBuf,
        /// Go on although the hub has devices: from an earlier try
        #[arg(long)]
        again: bool,
    },

    /// Look at the shard nodes of a running hub, drain and remove them, and change the replication
    #[command(after_help = cluster::EXAMPLES)]
    Cluster {
        #[command(flatten)]
        target: TargetArguments,
        #[command(subcommand)]
        command: ClusterCommand,
    },

    /// Read what devices sent to a running hub
    Events {
        #[command(flatten)]
        target: TargetArguments,
        #[command(subcommand)]
        command: EventsCommand,
    },
}

/// Which identity to explain.
#[derive(Debug, Args)]
pub struct ExplainArguments {
    /// The device, as the client names itself; it need not exist
    pub id: DeviceId,
    /// One of its modules
    #[arg(long, value_name = "ID")]
    pub module: Option<model::ModuleId>,
}

/// Which hub a client command talks to.
#[derive(Debug, Default, Args)]
pub struct TargetArguments {
    /// Data folder of a hub on this machine, whose hub.json says the rest
    /// [default: $IRONHUB_DATA_DIR, else as for `ironhub all`]
    #[arg(long, value_name = "DIR", global = true, conflicts_with = "connection_string")]
    pub data_dir: Option<PathBuf>,
    /// Connection string of a policy, for a hub elsewhere [default: $IRONHUB_CONNECTION_STRING]
    #[arg(long, value_name = "TEXT", global = true)]
    pub connection_string: Option<String>,
    /// Certificate to trust with a connection string, PEM
    /// [default: $IRONHUB_CERTIFICATE_AUTHORITY_FILE, else the system's]
    #[arg(long, value_name = "FILE", global = true)]
    pub certificate_authority_file: Option<PathBuf>,
    /// Print JSON instead of text for people
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// List the policies, without keys
    List,
    /// Show one policy with its keys and its connection string
    Show { name: String },
    /// Make a policy with fresh keys and print its connection string
    Create {
        name: String,
        /// Some of RegistryRead, RegistryWrite, ServiceConnect, DeviceConnect
        #[arg(long, value_name = "RIGHTS")]
        rights: String,
    },
    /// Change the rights of a policy; its keys stay
    Update {
        name: String,
        /// Some of RegistryRead, RegistryWrite, ServiceConnect, DeviceConnect
        #[arg(long, value_name = "RIGHTS")]
        rights: String,
    },
    /// Delete a policy; who uses its keys is disconnected. The last policy with all rights stays
    Delete { name: String },
    /// Draw a new key, or let the two keys change places
    RegenerateKey { name: String, key: KeyName },
}

/// Which key of a policy.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum KeyName {
    Primary,
    Secondary,
    Swap,
}

#[derive(Debug, Subcommand)]
pub enum CertificateCommand {
    /// Register the certificate of an authority, root or intermediate
    Add {
        /// PEM or DER
        file: PathBuf,
        /// Name within the hub [default: the file's name without its extension]
        #[arg(long)]
        name: Option<String>,
        /// Trust it at once, on your word that its private key is yours
        #[arg(long)]
        verified: bool,
    },
    /// List the registered certificates
    List,
    /// Show one certificate
    Show { name: String },
    /// Print a code to prove possession of the private key with; the code before is void
    VerificationCode { name: String },
    /// Hand in the certificate that has the code as common name and was signed by the registered one
    Verify {
        name: String,
        /// PEM or DER
        file: PathBuf,
    },
    /// Remove a certificate; devices that it vouched for are disconnected
    Remove { name: String },
}

#[derive(Debug, Subcommand)]
pub enum ConsumerGroupCommand {
    /// List the consumer groups
    List,
    /// Make a consumer group
    Create { name: String },
    /// Delete a consumer group
    Delete { name: String },
}

#[derive(Debug, Subcommand)]
pub enum SettingsCommand {
    /// Show what is set for the whole hub
    Show,
    /// Change some of it, in one step
    Set {
        /// A number, a duration such as PT1H, or `default` for what the configuration of each process says
        #[arg(required = true, value_name = "KEY=VALUE")]
        changes: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// Print events in the order they were stored
    #[command(after_help = "\
Examples:
  ironhub events tail                                   all that is there
  ironhub events tail --follow --since latest           only what comes from now on
  ironhub events tail --device demo --since 2026-01-31T08:00:00Z --json")]
    Tail(TailArguments),
}

#[derive(Debug, Args)]
pub struct TailArguments {
    /// Only events of this device
    #[arg(long, value_name = "ID")]
    pub device: Option<DeviceId>,
    /// Where to begin: earliest, latest, or a time such as 2026-01-31T08:00:00Z [default: earliest; latest with --follow]
    #[arg(long, value_name = "TIME")]
    pub since: Option<Since>,
    /// Go on with what comes, until Ctrl-C
    #[arg(long)]
    pub follow: bool,
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    Earliest,
    Latest,
    Time(jiff::Timestamp),
}

impl std::str::FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            _ => text.parse().map(Self::Time).map_err(|_| {
                "expected `earliest`, `latest` or a time with a zone such as 2026-01-31T08:00:00Z".to_owned()
            }),
        }
    }
}

impl std::fmt::Display for Since {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::Time(time) => time.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn since_takes_words_and_times() {
        assert_eq!("latest".parse(), Ok(Since::Latest));
        let time = "2026-01-31T08:00:00Z".parse::<Since>();
        assert_eq!(time.map(|since| since.to_string()), Ok("2026-01-31T08:00:00Z".to_owned()));
        assert!("yesterday".parse::<Since>().is_err());
    }
}
