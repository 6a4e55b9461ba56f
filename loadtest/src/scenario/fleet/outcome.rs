//! Turns what was counted into the report.

use std::time::{Duration, Instant};

use super::{clock::Clock, event_log::EventLog, operation::Operation, service_time::Gap, shared::Fleet};
use crate::{
    arguments::FleetArguments,
    fleet_report::{FleetReport, Found, FoundTelemetry, OperationTotals, Phase, WithoutService},
};

/// The report of a run that is over.
pub fn report(fleet: &Fleet, clock: &Clock, event_log: Option<&EventLog>, cpu: Duration) -> FleetReport {
    let (options, recorder) = (&fleet.options, &fleet.recorder);
    let totals = |operation: &Operation| OperationTotals {
        operation: operation.name(),
        ramp_up: recorder.totals(Phase::RampUp, *operation, clock.ramp_up()),
        steady: recorder.totals(Phase::Steady, *operation, clock.steady()),
    };
    FleetReport {
        title: format!("fleet: {} devices for {} minutes", options.devices, options.minutes),
        mix: mix(options),
        began_at: clock.began_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        ramp_up_seconds: clock.ramp_up().as_secs_f64(),
        steady_seconds: clock.steady().as_secs_f64(),
        operations: Operation::ALL.iter().map(totals).collect(),
        errors: recorder.errors(),
        without_service: without_service(fleet, clock),
        found: found(fleet, event_log),
        generator_cpu_cores: cpu.as_secs_f64() / clock.steady().as_secs_f64(),
        slot_seconds: clock.slot.as_secs_f64(),
        slots: recorder.slots(),
    }
}

fn mix(options: &FleetArguments) -> String {
    let every = |what: &str, seconds: f64| match seconds {
        0.0 => format!("no {what}"),
        seconds => format!("{what} every {seconds} s"),
    };
    let FleetArguments { methods_per_second, messages_per_second, desired_per_second, .. } = options;
    format!(
        "Each device: {} ({} bytes), {}. All together, per second: {methods_per_second} methods, {messages_per_second} \
         messages to devices, {desired_per_second} desired writes.",
        every("telemetry", options.telemetry_seconds),
        options.payload_bytes,
        every("a twin report", options.report_seconds),
    )
}

fn without_service(fleet: &Fleet, clock: &Clock) -> WithoutService {
    let now = Instant::now();
    let accounts = fleet.each(|account| (account.service.was_served(), account.service.longest(now)));
    let seconds = |gap: &Option<Gap>| gap.map_or(0.0, |gap| gap.length.as_secs_f64());
    let served = accounts.iter().filter(|(was_served, _)| *was_served);
    let mut each_seconds: Vec<f64> = served.map(|(_, gap)| seconds(gap)).collect();
    each_seconds.sort_by(f64::total_cmp);
    let share = |share: f64| {
        let place = (each_seconds.len() as f64 * share).ceil() as usize;
        each_seconds.get(place.saturating_sub(1)).copied().unwrap_or_default()
    };
    let gaps = (0..).zip(&accounts).filter_map(|(index, (_, gap))| Some((index, (*gap)?)));
    let longest = gaps.max_by_key(|(_, gap)| gap.length);
    WithoutService {
        devices: each_seconds.len() as u32,
        never_served: (accounts.len() - each_seconds.len()) as u32,
        at_the_end: fleet.count(|account| account.service.current(now).is_some()),
        p50_seconds: share(0.5),
        p99_seconds: share(0.99),
        longest_seconds: share(1.0),
        longest_device: longest.map(|(index, _)| fleet.devices.id(index)),
        longest_began_seconds: longest.map(|(_, gap)| clock.since_begin(gap.from).as_secs_f64()),
        each_seconds,
    }
}

/// Telemetry that was found of what was acknowledged so far.
pub fn found_telemetry(fleet: &Fleet, event_log: &EventLog) -> FoundTelemetry {
    event_log.found(&fleet.each(|account| account.acknowledged))
}

fn found(fleet: &Fleet, event_log: Option<&EventLog>) -> Found {
    Found {
        telemetry: event_log.map(|event_log| found_telemetry(fleet, event_log)),
        messages: fleet.messages.borrow().found(|device| fleet.is_served(device)),
        desired_devices: fleet.count(|account| account.desired_written > 0),
        desired_missing: fleet.count(|account| account.is_served() && account.misses_desired()),
    }
}
