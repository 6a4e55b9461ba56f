//! A real Kafka.

use std::{
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, bail};
use tempfile::TempDir;

/// Cargo runs tests in the package's folder.
const SCRIPT: &str = "../deploy/kafka/kafka";

/// Brokers, for as long as this value lives.
pub struct Kafka {
    folder: TempDir,
    /// Where clients begin.
    pub bootstrap_servers: String,
}

impl Kafka {
    /// So many of them, on free ports.
    pub fn start(brokers: u16) -> anyhow::Result<Self> {
        Self::start_with(brokers, "")
    }

    /// The same with these properties of brokers added.
    pub fn start_with(brokers: u16, properties: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("more.properties");
        std::fs::write(&file, properties)?;
        let file = file.to_str().context("a folder whose name is no text")?;
        let (port, count) = (free_ports(2 * brokers)?.to_string(), brokers.to_string());
        let said = run(folder.path(), &["start", "--port", &port, "--brokers", &count, "--properties", file])?;
        let line = said.lines().find_map(|line| line.strip_prefix("bootstrap.servers="));
        let bootstrap_servers = line.with_context(|| format!("no bootstrap line in {said}"))?.to_owned();
        Ok(Self { folder, bootstrap_servers })
    }

    /// As a crash would.
    pub fn kill(&self, broker: u16) -> anyhow::Result<()> {
        run(self.folder.path(), &["kill-broker", &broker.to_string()]).map(drop)
    }

    /// Returns when it serves.
    pub fn start_again(&self, broker: u16) -> anyhow::Result<()> {
        run(self.folder.path(), &["start-broker", &broker.to_string()]).map(drop)
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        if let Err(error) = run(self.folder.path(), &["stop"]) {
            eprintln!("{error}");
        }
    }
}

fn run(data: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new(SCRIPT);
    // What brokers inherit stays open: nothing may be read to its end but what the script itself prints.
    command.args(arguments).arg("--data").arg(data).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("{SCRIPT} cannot be run"))?;
    if !output.status.success() {
        bail!("kafka {arguments:?} ended with {}", output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The first of so many ports in a row that nobody has.
fn free_ports(count: u16) -> anyhow::Result<u16> {
    for first in (20_000..30_000).step_by(usize::from(count)) {
        let taken = (first..first + count).map(|port| TcpListener::bind(("127.0.0.1", port)));
        if taken.collect::<Result<Vec<_>, _>>().is_ok() {
            return Ok(first);
        }
    }
    bail!("no free ports")
}
