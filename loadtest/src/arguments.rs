//! The command line.

mod fleet;

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
pub use fleet::FleetArguments;

const EXAMPLES: &str = "\
Examples, against a hub that `ironhub all --data-dir /tmp/hub` runs on this machine:
  ironhub-loadtest --data-dir /tmp/hub telemetry
      200 devices, QoS 1, 256 bytes, one message in flight each, as fast as they are acknowledged
  ironhub-loadtest --data-dir /tmp/hub telemetry --in-flight 32 --compare mosquitto
      the same load in turns against the hub and a mosquitto of its own; prints the ratios
  ironhub-loadtest --data-dir /tmp/hub telemetry --protocol amqp --in-flight 100 --compare mqtt
      the same over AMQP in turns with MQTT and 32 in flight
  ironhub-loadtest --data-dir /tmp/hub telemetry --rate 5000
      5,000 messages per second, evenly spread: latency and CPU at a known load
  ironhub-loadtest --data-dir /tmp/hub telemetry --connections 100 --rate 1000 --silent-connections 10000 --compare quiet
      what 10,000 connections that say nothing cost 100 devices
  ironhub-loadtest --data-dir /tmp/hub connect          connects per second (TLS 1.3, SAS token, CONNACK)
  ironhub-loadtest --data-dir /tmp/hub idle --connections 10000         memory per idle device
  ironhub-loadtest --data-dir /tmp/hub idle --protocol amqp             the same over AMQP: a token and two links
  ironhub-loadtest --data-dir /tmp/hub events           one Event Hubs reader that catches up: events per second
  ironhub-loadtest --data-dir /tmp/hub events --rate 1000               how old events are when a waiting reader gets them
  ironhub-loadtest --data-dir /tmp/hub registry --clients 64            device creates per second
  ironhub-loadtest --data-dir /tmp/hub registry --clients 8 --bulk 100  creates, 100 devices a call
  ironhub-loadtest --data-dir /tmp/hub registry --read                  reads by id
  ironhub-loadtest --data-dir /tmp/hub twins            reported patches per second
  ironhub-loadtest --data-dir /tmp/hub methods --rate 1000              direct methods there and back
  ironhub-loadtest --data-dir /tmp/hub c2d --rate 1000                  messages to devices
  ironhub-loadtest --data-dir /tmp/hub reconnect        waits for you to restart the hub
  ironhub-loadtest --data-dir /tmp/hub fleet --verify --html report.html
      5,000 devices that do everything for five minutes: errors, and how long any device was without service
  ironhub-loadtest --connection-string \"$STRING\" --certificate-authority-file authority.pem \\
      --address 10.0.0.1 --address 10.0.0.2 --source-address 10.0.1.1 --source-address 10.0.1.2 \\
      fleet --devices 100000 --ramp-up-seconds 600 --devices-file fleet.json --json report.json
      100,000 devices over two nodes of a cluster, from two addresses of this machine; the devices stay for the next run
  ironhub-loadtest --connection-string-file string --certificate-authority-file ca.crt fleet --html - >report.html
      the page on standard output, with all that is said meanwhile as comments: for the log of a container

Build the hub and this program with `make release`; figures of other builds say nothing. The server's CPU time and
memory are read from /proc, so server and generator must run on one machine for those. Devices that are made for a run
are deleted after it.";

/// Puts load on an IoT hub and reports throughput, latency, and what it costs the server.
#[derive(Debug, Parser)]
#[command(name = "ironhub-loadtest", version, after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    pub target: TargetArguments,
    /// Also write the report to this file as JSON
    #[arg(long, value_name = "FILE", global = true)]
    pub json: Option<PathBuf>,
    #[command(subcommand)]
    pub scenario: Scenario,
}

/// Which hub: a data folder on this machine, or a connection string.
#[derive(Debug, Default, Args)]
pub struct TargetArguments {
    /// Data folder of a hub on this machine; its hub.json says everything else
    #[arg(long, value_name = "DIR", global = true)]
    pub data_dir: Option<PathBuf>,
    /// Connection string of a policy that may write the registry, such as iothubowner
    #[arg(long, value_name = "TEXT", global = true, conflicts_with = "data_dir")]
    pub connection_string: Option<String>,
    /// The same in a file, so that it does not stand in the list of processes
    #[arg(long, value_name = "FILE", global = true, conflicts_with_all = ["data_dir", "connection_string"])]
    pub connection_string_file: Option<PathBuf>,
    /// Certificate authority of the hub, PEM; needed with a connection string
    #[arg(long, value_name = "FILE", global = true)]
    pub certificate_authority_file: Option<PathBuf>,
    /// Address to connect to, when the host name of the connection string does not resolve to it: a load balancer, or
    /// nodes in turn when it is given several times
    #[arg(long, value_name = "ADDRESS", global = true)]
    pub address: Vec<String>,
    /// Address of this machine that connections leave from; several times for several in turn, since one has ports for
    /// 28,000 connections only [default: the system's choice; 16 of loopback when the hub is there]
    #[arg(long, value_name = "ADDRESS", global = true)]
    pub source_address: Vec<IpAddr>,
    /// Port of MQTT over TLS [default: from hub.json, else 8883]
    #[arg(long, value_name = "PORT", global = true)]
    pub mqtt_port: Option<u16>,
    /// Port of AMQP over TLS [default: from hub.json, else 5671]
    #[arg(long, value_name = "PORT", global = true)]
    pub amqp_port: Option<u16>,
    /// Port of HTTPS [default: from hub.json, else 443]
    #[arg(long, value_name = "PORT", global = true)]
    pub https_port: Option<u16>,
    /// Process of the server, for CPU time and memory [default: the one that holds the lock of --data-dir]
    #[arg(long, value_name = "PID", global = true)]
    pub server_pid: Option<u32>,
}

#[derive(Debug, Subcommand)]
pub enum Scenario {
    /// Devices send telemetry: messages per second, latency until the acknowledgement, server CPU per message
    Telemetry(TelemetryArguments),
    /// Devices connect and leave, over and over: connects per second, latency from TCP to CONNACK
    Connect(ConnectArguments),
    /// Devices connect and stay silent: server memory per connection
    Idle(IdleArguments),
    /// An Event Hubs reader reads all partitions: events per second, or their age when they arrive
    Events(EventsArguments),
    /// Service clients create or read devices: devices per second, latency of a call
    Registry(RegistryArguments),
    /// Devices report properties of their twins: durable patches per second, latency until the answer
    Twins(TwinsArguments),
    /// The same against three replicas without gateways, in turns with an etcd of three (apt-get install etcd-server);
    /// both are started for it
    ReplicatedTwins(ReplicatedTwinsArguments),
    /// Back ends invoke methods on devices that answer at once: latency of the call
    Methods(CallsArguments),
    /// Back ends send messages to devices: latency from the request to the device
    #[command(name = "c2d")]
    Messages(CallsArguments),
    /// Devices come back after the hub was restarted: seconds until all are served
    Reconnect(ReconnectArguments),
    /// Many devices and back ends do everything at once, for minutes: errors, latencies, and how long any device was
    /// without service. Restart parts of the hub meanwhile.
    ///
    /// Exit status: 0 when there was no error after the ramp-up, 3 when there were some, 1 when something that was
    /// acknowledged was not found, or when there is no report
    Fleet(FleetArguments),
}

#[derive(Clone, Debug, Args)]
pub struct TwinsArguments {
    /// Devices, one connection and one patch at a time each
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub connections: u32,
    /// How long to measure
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub duration_seconds: u64,
}

#[derive(Clone, Debug, Args)]
pub struct ReplicatedTwinsArguments {
    /// Writers, one device and one patch at a time each
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    pub writers: u32,
    /// How long to measure, per round
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pub duration_seconds: u64,
    /// How many turns each side gets; the medians are reported
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
}

#[derive(Clone, Debug, Args)]
pub struct CallsArguments {
    /// Devices, one connection each
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub connections: u32,
    /// Back ends, each with one keep-alive connection and one request at a time
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    pub clients: u32,
    /// Calls per second of all of them together, evenly spread
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: u32,
    /// How long to measure
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub duration_seconds: u64,
}

#[derive(Clone, Debug, Args)]
pub struct ReconnectArguments {
    /// Devices, one connection each, with stored sessions
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    pub connections: u32,
}

#[derive(Clone, Debug, Args)]
pub struct TelemetryArguments {
    /// Devices, one connection each
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub connections: u32,
    /// 0: sent and forgotten; 1: acknowledged. MQTT only
    #[arg(long, value_name = "0|1", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
    pub quality_of_service: u8,
    /// Bytes of payload per message
    #[arg(long, value_name = "BYTES", default_value_t = 256)]
    pub payload_bytes: usize,
    /// Messages a connection sends before it waits for an acknowledgement; HTTPS always has one
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub in_flight: u16,
    /// Messages per second of all connections together, evenly spread [default: as fast as they are acknowledged]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// How long to measure, per round
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub duration_seconds: u64,
    /// How long to run before measuring, per round
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    pub warm_up_seconds: u64,
    /// TCP connections beside them that say nothing, opened anew when the server closes them: what do they cost the others?
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub silent_connections: u32,
    /// What the devices speak
    #[arg(long, value_enum, default_value_t = Protocol::Mqtt)]
    pub protocol: Protocol,
    /// Run the same load in turns against a mosquitto (TLS, one subscriber, so in and out; MQTT only), against the hub
    /// without the silent connections, or against the hub over MQTT
    #[arg(long, value_enum)]
    pub compare: Option<Comparison>,
    /// How many turns each side gets with --compare; the medians are reported
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
}

impl TelemetryArguments {
    pub fn duration(&self) -> Duration {
        Duration::from_secs(self.duration_seconds)
    }

    pub fn warm_up(&self) -> Duration {
        Duration::from_secs(self.warm_up_seconds)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    Mqtt,
    Amqp,
    Https,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Comparison {
    /// A mosquitto started for it
    Mosquitto,
    /// The hub itself without the silent connections
    Quiet,
    /// The hub itself over MQTT with 32 messages in flight
    Mqtt,
}

#[derive(Clone, Debug, Args)]
pub struct ConnectArguments {
    /// Connections being opened at the same time, each by a device of its own
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub concurrency: u32,
    /// Let TLS resume the device's earlier session instead of a full handshake
    #[arg(long)]
    pub resume: bool,
    /// Mutual TLS: each device has a certificate of an authority that is registered for the run, instead of a token
    #[arg(long)]
    pub certificate_authority: bool,
    /// How long to measure
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub duration_seconds: u64,
}

#[derive(Clone, Debug, Args)]
pub struct IdleArguments {
    /// Devices, one connection each; above 25,000 they come from several loopback addresses
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub connections: u32,
    /// Connections being opened at the same time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub concurrency: u32,
    /// Use the devices that this file names. When it is missing, only make them and write it: a hub that is restarted
    /// before the next run has no memory left over from making devices, which connections would use again unseen
    #[arg(long, value_name = "FILE")]
    pub devices_file: Option<PathBuf>,
    /// Subscribe to methods, twin answers, desired properties and messages first; MQTT only
    #[arg(long)]
    pub subscribe: bool,
    /// What the devices speak: over AMQP each has one session, its token, a link to send and one to receive on
    #[arg(long, value_enum, default_value_t = Protocol::Mqtt)]
    pub protocol: Protocol,
    /// How long to wait after the last connect before memory is read
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    pub settle_seconds: u64,
}

#[derive(Clone, Debug, Args)]
pub struct EventsArguments {
    /// Devices that send what is read
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub connections: u32,
    /// Bytes of payload per event
    #[arg(long, value_name = "BYTES", default_value_t = 256)]
    pub payload_bytes: usize,
    /// Events per second while the reader waits for them [default: they are all there before it begins, and it reads
    /// them over and over]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// How many are there before it begins
    #[arg(long, value_name = "N", default_value_t = 500_000, conflicts_with = "rate", value_parser = clap::value_parser!(u64).range(1..))]
    pub events: u64,
    /// What the reader takes in advance on each of its links, one a partition
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub credit: u32,
    /// How long to measure
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub duration_seconds: u64,
}

#[derive(Clone, Debug, Args)]
pub struct RegistryArguments {
    /// Clients, each with one keep-alive connection and one request at a time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub clients: u32,
    /// Devices per call; with 1 each is created by a PUT of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub bulk: u32,
    /// Read devices by id instead of creating them
    #[arg(long, conflicts_with = "bulk")]
    pub read: bool,
    /// How long to measure
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub duration_seconds: u64,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
