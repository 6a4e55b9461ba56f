//! CPU time and memory of the server, from /proc.

use std::{fs, time::Duration};

use anyhow::Context;

/// A process on this machine.
#[derive(Clone, Copy, Debug)]
pub struct ServerProcess {
    id: u32,
}

/// What a process holds in memory, bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Resident set size.
    pub resident: u64,
    /// Resident and shared with nobody.
    pub private: u64,
}

impl ServerProcess {
    /// Fails when there is no such process.
    pub fn new(id: u32) -> anyhow::Result<Self> {
        let process = Self { id };
        process.cpu_time().with_context(|| format!("there is no process {id} whose CPU time can be read"))?;
        Ok(process)
    }

    /// The generator itself.
    pub fn this() -> Self {
        Self { id: std::process::id() }
    }

    /// User and system time so far; steps of 10 ms.
    pub fn cpu_time(self) -> anyhow::Result<Duration> {
        let stat = self.read("stat")?;
        // The second field, the name, may contain anything but ends with the last parenthesis.
        let fields = stat.rsplit_once(')').context("unknown format of /proc/PID/stat")?.1.split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap_or(0)).sum();
        Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
    }

    /// Resident and private memory now.
    pub fn memory(self) -> anyhow::Result<Memory> {
        let rollup = self.read("smaps_rollup")?;
        let kilobytes = |name: &str| {
            let lines = rollup
                .lines()
                .filter_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse::<u64>().ok());
            lines.sum::<u64>() * 1024
        };
        Ok(Memory { resident: kilobytes("Rss:"), private: kilobytes("Private_Clean:") + kilobytes("Private_Dirty:") })
    }

    fn read(self, file: &str) -> anyhow::Result<String> {
        let path = format!("/proc/{}/{file}", self.id);
        fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_this_process() -> anyhow::Result<()> {
        let process = ServerProcess::this();
        let memory = process.memory()?;
        assert!(memory.resident >= memory.private && memory.private > 0);
        assert!(process.cpu_time()? < Duration::from_secs(3600));
        assert!(ServerProcess::new(u32::MAX).is_err());
        Ok(())
    }
}
