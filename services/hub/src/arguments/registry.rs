//! `ironhub device ...` and `ironhub module ...`

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use model::{DeviceId, ModuleId, SymmetricKey};

pub const DEVICE_EXAMPLES: &str = "\
Examples:
  ironhub device create thermostat-1
  ironhub device create gateway-1 --edge
  ironhub device create sensor-1 --parent gateway-1 --x509-thumbprint 9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B
  ironhub device list
  ironhub device connection-string thermostat-1
  ironhub device sas-token thermostat-1 --valid-for 1day
  ironhub device update thermostat-1 --status disabled --status-reason 'sent to repair'
  ironhub device regenerate-key thermostat-1 --key both
  ironhub device import devices.csv --result failed.jsonl
  ironhub device simulate thermostat-1 --every 1s";

pub const MODULE_EXAMPLES: &str = "\
Examples:
  ironhub module create gateway-1 camera
  ironhub module list gateway-1
  ironhub module connection-string gateway-1 camera";

const IMPORT_HELP: &str = "\
FILE has one device or module per line, as CSV with a header or as JSON lines; - is the standard input.

CSV columns, of which only id is needed: id, moduleId, importMode, eTag, status, statusReason, managedBy, type
(sas, selfSigned, certificateAuthority), primaryKey, secondaryKey, primaryThumbprint, secondaryThumbprint, iotEdge,
deviceScope. An empty cell is as if the column was not there. JSON lines have the members of ExportImportDevice, as an
export of a hub writes them, tags and desired properties included.

The hub makes keys for lines without any. Its answer does not contain them: read them afterwards with
`ironhub device show ID`, or put keys of your own into the file.

Lines of one device keep their order, others are imported at the same time. A line that fails does not stop the others;
the exit code says whether all went well. When an answer is lost the call is made again, so a line with the mode create
may be reported as a device that exists although this import made it.

Examples:
  ironhub device import devices.csv --mode create --result failed.jsonl
  generate-devices | ironhub device import - --clients 16";

#[derive(Debug, Subcommand)]
pub enum DeviceCommand {
    /// Create a device and print its connection string
    Create(Box<CreateArguments>),
    /// List up to 1000 devices
    List,
    /// Show one device as the registry has it, keys included
    Show { id: DeviceId },
    /// Change a device; what is not named stays
    Update(UpdateArguments),
    /// Give a device new keys; connections that use an old one end
    RegenerateKey {
        id: DeviceId,
        /// Which of the two keys
        #[arg(long, value_enum, default_value_t = Key::Primary)]
        key: Key,
    },
    /// Create, change or delete many devices and modules from a file
    #[command(after_help = IMPORT_HELP)]
    Import(ImportArguments),
    /// Be a device: send telemetry, follow the twin, answer methods, take messages
    Simulate(SimulateArguments),
    /// Delete a device with everything that belongs to it
    Delete { id: DeviceId },
    /// Print the connection string of a device
    ConnectionString { id: DeviceId },
    /// Print a token for clients that take one instead of a key
    SasToken {
        id: DeviceId,
        /// How long it is valid, such as 30min, 12h or 7days
        #[arg(long, value_name = "DURATION", default_value = "1h")]
        valid_for: jiff::SignedDuration,
    },
}

#[derive(Debug, Args)]
pub struct CreateArguments {
    pub id: DeviceId,
    /// Make it an IoT Edge device
    #[arg(long)]
    pub edge: bool,
    /// IoT Edge device that it stands behind
    #[arg(long, value_name = "ID")]
    pub parent: Option<DeviceId>,
    /// Whether it may connect
    #[arg(long, value_enum, default_value_t = Status::Enabled)]
    pub status: Status,
    /// SHA-1 or SHA-256 of its self-signed certificate, hexadecimal
    #[arg(long, value_name = "DIGITS", conflicts_with_all = ["x509_ca", "primary_key"])]
    pub x509_thumbprint: Option<String>,
    /// The same of the certificate that comes next
    #[arg(long, value_name = "DIGITS", requires = "x509_thumbprint")]
    pub x509_secondary_thumbprint: Option<String>,
    /// It proves itself with a certificate of a registered authority
    #[arg(long, conflicts_with = "primary_key")]
    pub x509_ca: bool,
    /// Key of your own, base64 of 16 to 64 bytes [default: the hub makes both]
    #[arg(long, value_name = "KEY", requires = "secondary_key", value_parser = parse_key)]
    pub primary_key: Option<SymmetricKey>,
    /// The other key of your own
    #[arg(long, value_name = "KEY", requires = "primary_key", value_parser = parse_key)]
    pub secondary_key: Option<SymmetricKey>,
}

#[derive(Debug, Args)]
pub struct SimulateArguments {
    pub id: DeviceId,
    /// Be one of its modules instead
    #[arg(long, value_name = "ID")]
    pub module: Option<ModuleId>,
    /// Pause between messages
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    pub every: jiff::SignedDuration,
    /// Leave after so many messages [default: with Ctrl-C]
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
}

fn parse_key(text: &str) -> Result<SymmetricKey, model::InvalidAuthentication> {
    text.parse()
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true, id = "changes", args = ["status", "status_reason", "edge", "parent", "no_parent"])]
pub struct UpdateArguments {
    pub id: DeviceId,
    /// Whether it may connect; disabling ends its connections
    #[arg(long, value_enum)]
    pub status: Option<Status>,
    /// Why it has that status, up to 128 characters; empty forgets it
    #[arg(long, value_name = "TEXT")]
    pub status_reason: Option<String>,
    /// Make it an IoT Edge device, or an ordinary one without its runtime modules
    #[arg(long, value_name = "true|false")]
    pub edge: Option<bool>,
    /// IoT Edge device that it stands behind
    #[arg(long, value_name = "ID", conflicts_with = "no_parent")]
    pub parent: Option<DeviceId>,
    /// It stands behind no other device
    #[arg(long)]
    pub no_parent: bool,
}

#[derive(Debug, Args)]
pub struct ImportArguments {
    /// CSV or JSON lines; - for the standard input
    pub file: PathBuf,
    /// What is done with every line [default: what its importMode says, else createOrUpdate]
    #[arg(long, value_enum)]
    pub mode: Option<ImportMode>,
    /// Write one JSON line for each line that failed to this file, and why
    #[arg(long, value_name = "FILE")]
    pub result: Option<PathBuf>,
    /// Calls of up to 100 lines in flight, each over a connection that is kept
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub clients: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Status {
    Enabled,
    Disabled,
}

impl Status {
    /// As it stands in the registry.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Key {
    Primary,
    Secondary,
    Both,
}

/// rest §4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "camelCase")]
pub enum ImportMode {
    Create,
    CreateOrUpdate,
    #[value(name = "createOrUpdateIfMatchETag")]
    CreateOrUpdateIfMatchETag,
    Update,
    #[value(name = "updateIfMatchETag")]
    UpdateIfMatchETag,
    Delete,
    #[value(name = "deleteIfMatchETag")]
    DeleteIfMatchETag,
}

impl ImportMode {
    /// As it stands in a bulk request.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::CreateOrUpdate => "createOrUpdate",
            Self::CreateOrUpdateIfMatchETag => "createOrUpdateIfMatchETag",
            Self::Update => "update",
            Self::UpdateIfMatchETag => "updateIfMatchETag",
            Self::Delete => "delete",
            Self::DeleteIfMatchETag => "deleteIfMatchETag",
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum ModuleCommand {
    /// Create a module with fresh keys and print its connection string
    Create {
        device: DeviceId,
        module: ModuleId,
        /// Who manages it; `iotEdge` is the runtime of IoT Edge
        #[arg(long, value_name = "NAME")]
        managed_by: Option<String>,
    },
    /// List the modules of a device
    List { device: DeviceId },
    /// Show one module as the registry has it, keys included
    Show { device: DeviceId, module: ModuleId },
    /// Delete a module with everything that belongs to it
    Delete { device: DeviceId, module: ModuleId },
    /// Print the connection string of a module
    ConnectionString { device: DeviceId, module: ModuleId },
    /// Print a token for clients that take one instead of a key
    SasToken {
        device: DeviceId,
        module: ModuleId,
        /// How long it is valid, such as 30min, 12h or 7days
        #[arg(long, value_name = "DURATION", default_value = "1h")]
        valid_for: jiff::SignedDuration,
    },
}
