//! The options of `fleet`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;

/// The default mix of 5,000 devices comes to 250 messages, 56 reports, 20 methods, 10 messages to devices and 10 desired
/// writes a second.
#[derive(Clone, Debug, Args)]
pub struct FleetArguments {
    /// Devices, one MQTT connection each, with stored sessions as SDKs have them
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    pub devices: u32,
    /// Over how long the devices connect, evenly; it ends once all are served
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub ramp_up_seconds: u64,
    /// The steady phase after it; what it counts is reported apart
    #[arg(long, value_name = "MINUTES", default_value_t = 5.0, value_parser = minutes)]
    pub minutes: f64,
    /// How often each device sends telemetry, QoS 1; 0 for never
    #[arg(long, value_name = "SECONDS", default_value_t = 20.0, value_parser = period)]
    pub telemetry_seconds: f64,
    /// Bytes of payload per telemetry message, at least 64
    #[arg(long, value_name = "BYTES", default_value_t = 256, value_parser = clap::value_parser!(u16).range(64..))]
    pub payload_bytes: u16,
    /// How often each device reports a property of its twin; 0 for never
    #[arg(long, value_name = "SECONDS", default_value_t = 90.0, value_parser = period)]
    pub report_seconds: f64,
    /// Direct methods per second, of all back ends together, each on a random device
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub methods_per_second: u32,
    /// Cloud-to-device messages per second
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub messages_per_second: u32,
    /// Writes of desired properties per second
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub desired_per_second: u32,
    /// Back ends for each of the three, with one HTTPS connection and one request at a time
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    pub back_ends: u32,
    /// When a device gives an unanswered operation up and connects anew
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    pub operation_timeout_seconds: u64,
    /// Let each device resume its TLS session when it comes back
    #[arg(long)]
    pub resume: bool,
    /// Read the built-in endpoint beside it: is every acknowledged message there, in order, and how often?
    #[arg(long)]
    pub verify: bool,
    /// Use the devices that this file names. When it is missing they are made and it is written. They are not deleted
    #[arg(long, value_name = "FILE")]
    pub devices_file: Option<PathBuf>,
    /// Write the report as a page with plots, too: one file, which needs nothing else. `-`: to standard output, where
    /// everything else becomes comments of the page
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

impl FleetArguments {
    pub fn ramp_up(&self) -> Duration {
        Duration::from_secs(self.ramp_up_seconds)
    }

    pub fn steady(&self) -> Duration {
        Duration::from_secs_f64(self.minutes * 60.0)
    }

    pub fn operation_timeout(&self) -> Duration {
        Duration::from_secs(self.operation_timeout_seconds)
    }

    pub fn html_to_standard_output(&self) -> bool {
        self.html.as_deref() == Some(Path::new("-"))
    }

    /// `None`: never.
    pub fn telemetry_period(&self) -> Option<Duration> {
        (self.telemetry_seconds > 0.0).then(|| Duration::from_secs_f64(self.telemetry_seconds))
    }

    /// `None`: never.
    pub fn report_period(&self) -> Option<Duration> {
        (self.report_seconds > 0.0).then(|| Duration::from_secs_f64(self.report_seconds))
    }
}

fn minutes(text: &str) -> Result<f64, String> {
    number(text, 0.01, 60.0 * 24.0 * 7.0)
}

fn period(text: &str) -> Result<f64, String> {
    if text == "0" { Ok(0.0) } else { number(text, 0.1, 24.0 * 3600.0) }
}

fn number(text: &str, least: f64, most: f64) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("expected a number from {least} to {most}"))
}
