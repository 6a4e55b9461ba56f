//! What a fleet's run found out: for programs as it is, for people as a text and as a page.

mod page;
#[cfg(test)]
mod tests;
mod text;

use std::{process::ExitCode, time::Duration};

use serde::Serialize;

use crate::histogram::Histogram;

/// One run. Times of the run count from its begin.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FleetReport {
    /// What was done, in words.
    pub title: String,
    /// What each device and all back ends did, in words.
    pub mix: String,
    /// RFC 3339.
    pub began_at: String,
    pub ramp_up_seconds: f64,
    pub steady_seconds: f64,
    pub operations: Vec<OperationTotals>,
    pub errors: Vec<ErrorCount>,
    pub without_service: WithoutService,
    pub found: Found,
    /// CPU time of this program in the steady phase, in cores.
    pub generator_cpu_cores: f64,
    /// Length of the slots.
    pub slot_seconds: f64,
    pub slots: Vec<Slot>,
}

/// A part of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Until all devices were served.
    RampUp,
    Steady,
}

impl Phase {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::RampUp => "ramp-up",
            Self::Steady => "steady",
        }
    }
}

/// What became of one kind of operation.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationTotals {
    pub operation: &'static str,
    pub ramp_up: PhaseTotals,
    pub steady: PhaseTotals,
}

/// The same in one phase; latencies are absent when nothing was done.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PhaseTotals {
    pub count: u64,
    pub per_second: f64,
    pub errors: u64,
    pub p50_milliseconds: Option<f64>,
    pub p99_milliseconds: Option<f64>,
    pub longest_milliseconds: Option<f64>,
}

/// Errors of one kind.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorCount {
    pub phase: Phase,
    pub operation: &'static str,
    pub what: String,
    pub count: u64,
}

/// The longest time without service of each device in the steady phase, over the devices.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WithoutService {
    /// Devices that were served at least once.
    pub devices: u32,
    pub never_served: u32,
    /// Devices that waited for service when the run was over.
    pub at_the_end: u32,
    pub p50_seconds: f64,
    pub p99_seconds: f64,
    pub longest_seconds: f64,
    /// Whose that was; absent when nobody was without service at all.
    pub longest_device: Option<String>,
    /// When it began.
    pub longest_began_seconds: Option<f64>,
    /// Each device's, sorted.
    #[serde(skip)]
    pub each_seconds: Vec<f64>,
}

/// What was acknowledged, and where it was found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// Absent without `--verify`.
    pub telemetry: Option<FoundTelemetry>,
    pub messages: FoundMessages,
    /// Devices that a desired property was written for.
    pub desired_devices: u32,
    /// Of them those that are served and have not heard of the last one.
    pub desired_missing: u32,
}

/// Telemetry at the built-in endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FoundTelemetry {
    pub acknowledged: u64,
    pub found: u64,
    /// Acknowledged, and not there, or behind a later one of the same device.
    pub missing: u64,
    /// There a second time: sent again because the first acknowledgement was lost.
    pub again: u64,
}

/// Messages that back ends sent, at the devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FoundMessages {
    pub acknowledged: u64,
    /// Not at the device, though that is served.
    pub missing: u64,
    /// Their devices are not there.
    pub waiting: u64,
    /// Came a second time, or were refused and came.
    pub again: u64,
}

/// A stretch of the run.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Slot {
    pub began_seconds: f64,
    pub phase: Phase,
    /// Devices that were connected at its end.
    pub connected: u32,
    /// Devices that had been without service for more than a second at its end.
    pub without_service: u32,
    pub errors: u64,
    /// In the order of [`FleetReport::operations`].
    pub operations: Vec<SlotOperation>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SlotOperation {
    pub per_second: f64,
    pub p50_milliseconds: Option<f64>,
    pub p99_milliseconds: Option<f64>,
}

impl SlotOperation {
    /// What was recorded in a slot of that length; the histogram is empty afterwards.
    pub fn take(latency: &mut Histogram, length: Duration) -> Self {
        let slot = Self {
            per_second: latency.count() as f64 / length.as_secs_f64(),
            p50_milliseconds: milliseconds(latency, 0.5),
            p99_milliseconds: milliseconds(latency, 0.99),
        };
        latency.clear();
        slot
    }
}

impl PhaseTotals {
    pub fn new(latency: &Histogram, errors: u64, length: Duration) -> Self {
        let count = latency.count();
        Self {
            count,
            per_second: if length.is_zero() { 0.0 } else { count as f64 / length.as_secs_f64() },
            errors,
            p50_milliseconds: milliseconds(latency, 0.5),
            p99_milliseconds: milliseconds(latency, 0.99),
            longest_milliseconds: milliseconds(latency, 1.0),
        }
    }
}

impl FleetReport {
    /// Errors of a phase.
    pub fn error_count(&self, phase: Phase) -> u64 {
        self.errors.iter().filter(|error| error.phase == phase).map(|error| error.count).sum()
    }

    /// Whether everything that was acknowledged was found; else an error that says what was not.
    pub fn check(&self) -> anyhow::Result<()> {
        let telemetry = self.found.telemetry.map_or(0, |telemetry| telemetry.missing);
        let (messages, desired) = (self.found.messages.missing, self.found.desired_missing);
        anyhow::ensure!(
            telemetry + messages + u64::from(desired) == 0,
            "acknowledged and not found: {telemetry} telemetry messages, {messages} messages to devices, desired \
             properties of {desired} devices"
        );
        Ok(())
    }

    /// How the run went, in one word.
    pub fn verdict(&self) -> Verdict {
        match (self.check(), self.error_count(Phase::Steady)) {
            (Err(_), _) => Verdict::Missing,
            (Ok(()), 0) => Verdict::Good,
            (Ok(()), _) => Verdict::Errors,
        }
    }
}

/// What decides the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No error after the ramp-up, and all that was acknowledged was found.
    Good,
    /// Errors after the ramp-up; all that was acknowledged was found.
    Errors,
    /// Something that was acknowledged was not found.
    Missing,
}

impl Verdict {
    /// 1 is also that of a run which came to no report, 2 that of a wrong command line.
    pub fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Good => 0,
            Self::Missing => 1,
            Self::Errors => 3,
        })
    }
}

fn milliseconds(latency: &Histogram, share: f64) -> Option<f64> {
    latency.quantile(share).map(|duration| duration.as_secs_f64() * 1e3)
}
