//! `ironhub twin ...` and `ironhub method ...`

use clap::{Args, Subcommand};
use model::{DeviceId, ModuleId};
use serde_json::Value;

pub const TWIN_EXAMPLES: &str = "\
Examples:
  ironhub twin show thermostat-1
  ironhub twin update thermostat-1 --desired '{\"fan\": {\"speed\": 3}}' --tags '{\"floor\": 2}'
  ironhub twin update thermostat-1 --desired '{\"fan\": null}'             null removes
  ironhub twin replace thermostat-1 --desired '{\"fan\": {\"speed\": 3}}'   tags, which are not named, are emptied
  ironhub twin show gateway-1 --module camera --json";

pub const METHOD_EXAMPLES: &str = "\
Examples:
  ironhub method invoke thermostat-1 reboot '{\"delaySeconds\": 5}'
  ironhub method invoke thermostat-1 ping --connect-timeout 60            wait for a device that is offline
  ironhub method invoke gateway-1 capture --module camera --json

The exit code is 0 when the device answered with a status below 400.";

#[derive(Debug, Subcommand)]
pub enum TwinCommand {
    /// Show a twin as back ends see it
    Show(TwinArguments),
    /// Merge into tags and desired properties; a connected device is told
    Update(TwinWrite),
    /// Put these tags and desired properties in the place of all that are there
    Replace(TwinWrite),
}

/// Whose twin.
#[derive(Debug, Args)]
pub struct TwinArguments {
    pub id: DeviceId,
    /// One of its modules
    #[arg(long, value_name = "ID")]
    pub module: Option<ModuleId>,
}

#[derive(Debug, Args)]
pub struct TwinWrite {
    #[command(flatten)]
    pub twin: TwinArguments,
    /// Desired properties
    #[arg(long, value_name = "JSON", value_parser = parse_json, required_unless_present = "tags")]
    pub desired: Option<Value>,
    /// Tags
    #[arg(long, value_name = "JSON", value_parser = parse_json)]
    pub tags: Option<Value>,
    /// Write only over this version of the twin
    #[arg(long, value_name = "ETAG")]
    pub etag: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum MethodCommand {
    /// Run a method on a connected device and print what it answers
    Invoke(InvokeArguments),
}

#[derive(Debug, Args)]
pub struct InvokeArguments {
    pub id: DeviceId,
    /// Name of the method
    pub name: String,
    /// What it is given
    #[arg(value_name = "JSON", value_parser = parse_json, default_value = "null")]
    pub payload: Value,
    /// One of its modules
    #[arg(long, value_name = "ID")]
    pub module: Option<ModuleId>,
    /// How long it may take to answer, 5 to 300
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub response_timeout: u32,
    /// How long to wait for it to connect and subscribe, up to 300
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub connect_timeout: u32,
}

fn parse_json(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(text)
}
