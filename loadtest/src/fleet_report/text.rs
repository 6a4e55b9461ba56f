//! The report as a text for the console.

use super::{FleetReport, Found, OperationTotals, Phase};
use crate::console;

impl FleetReport {
    /// Prints it.
    pub fn print(&self) {
        console::result(&format!("\n{}", self.text()));
    }

    pub(super) fn text(&self) -> String {
        let mut lines = vec![
            self.title.clone(),
            self.mix.clone(),
            format!("Ramp-up {:.0} s, steady {:.0} s.", self.ramp_up_seconds, self.steady_seconds),
            String::new(),
            format!(
                "{:<16}{:>10}{:>12}{:>10}{:>10}{:>10}{:>9}{:>17}",
                "steady phase", "done", "per second", "p50, ms", "p99, ms", "max, ms", "errors", "ramp-up errors"
            ),
        ];
        lines.extend(self.operations.iter().map(line));
        lines.push(String::new());
        lines.extend(self.without_service_lines());
        lines.extend(self.found.lines());
        let of = |phase| self.error_count(phase);
        lines.push(format!("errors: {} in the ramp-up, {} after it", of(Phase::RampUp), of(Phase::Steady)));
        lines.extend(
            self.errors.iter().map(|error| {
                format!("  {} x {}, {}: {}", error.count, error.phase.name(), error.operation, error.what)
            }),
        );
        lines.push(format!("CPU of this program: {:.2} cores", self.generator_cpu_cores));
        lines.extend(self.check().err().map(|error| error.to_string()));
        lines.join("\n")
    }

    fn without_service_lines(&self) -> Vec<String> {
        let without = &self.without_service;
        let mut lines = vec![format!(
            "time without service, over {} devices: p50 {:.3} s, p99 {:.3} s, longest {:.3} s{}",
            without.devices,
            without.p50_seconds,
            without.p99_seconds,
            without.longest_seconds,
            self.longest(),
        )];
        if without.never_served + without.at_the_end > 0 {
            lines.push(format!(
                "{} devices were never served, {} others waited for service at the end",
                without.never_served, without.at_the_end
            ));
        }
        lines
    }

    /// Whose time was the longest, and when.
    fn longest(&self) -> String {
        let without = &self.without_service;
        match (&without.longest_device, without.longest_began_seconds) {
            (Some(device), Some(began)) => format!(" ({device}, {began:.1} s after the begin)"),
            _ => String::new(),
        }
    }
}

fn line(totals: &OperationTotals) -> String {
    let steady = &totals.steady;
    let latency = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
    format!(
        "{:<16}{:>10}{:>12.1}{:>10}{:>10}{:>10}{:>9}{:>17}",
        totals.operation,
        steady.count,
        steady.per_second,
        latency(steady.p50_milliseconds),
        latency(steady.p99_milliseconds),
        latency(steady.longest_milliseconds),
        steady.errors,
        totals.ramp_up.errors
    )
}

impl Found {
    /// A sentence for each kind of thing that was acknowledged.
    pub(super) fn lines(&self) -> Vec<String> {
        let Self { messages, desired_devices, desired_missing, .. } = self;
        let telemetry = self.telemetry.map(|telemetry| {
            let super::FoundTelemetry { acknowledged, missing, again, .. } = telemetry;
            format!("telemetry acknowledged: {acknowledged}; missing in the event log: {missing}; there twice: {again}")
        });
        let super::FoundMessages { acknowledged, missing, waiting, again } = messages;
        let mut messages = format!("messages to devices acknowledged: {acknowledged}; missing: {missing}");
        messages.push_str(&format!("; waiting for their device: {waiting}; arrived again: {again}"));
        let desired =
            format!("devices with desired writes: {desired_devices}; not told of the last: {desired_missing}");
        telemetry.into_iter().chain([messages, desired]).collect()
    }
}
