//! The report of a small run, and what becomes of it.

use super::*;

/// Two devices, two seconds, some trouble.
pub(super) fn report() -> FleetReport {
    let phase_totals = |count, errors| PhaseTotals {
        count,
        per_second: count as f64,
        errors,
        p50_milliseconds: Some(2.0),
        p99_milliseconds: Some(1500.0),
        longest_milliseconds: Some(2000.0),
    };
    let operation = SlotOperation { per_second: 1.0, p50_milliseconds: Some(2.0), p99_milliseconds: None };
    let slot = |began_seconds, phase| Slot {
        began_seconds,
        phase,
        connected: 2,
        without_service: 1,
        errors: 1,
        operations: vec![operation.clone()],
    };
    FleetReport {
        title: "fleet: 2 devices".to_owned(),
        mix: "Each device: telemetry".to_owned(),
        began_at: "2026-01-02T03:04:05Z".to_owned(),
        ramp_up_seconds: 1.0,
        steady_seconds: 1.0,
        operations: vec![OperationTotals {
            operation: "telemetry",
            ramp_up: phase_totals(1, 0),
            steady: phase_totals(9, 3),
        }],
        errors: vec![ErrorCount {
            phase: Phase::Steady,
            operation: "connect",
            what: "refused <b> & \"q\"".to_owned(),
            count: 3,
        }],
        without_service: WithoutService {
            devices: 2,
            never_served: 0,
            at_the_end: 1,
            p50_seconds: 0.1,
            p99_seconds: 4.2,
            longest_seconds: 4.2,
            longest_device: Some("device-1".to_owned()),
            longest_began_seconds: Some(1.5),
            each_seconds: vec![0.1, 4.2],
        },
        found: Found {
            telemetry: Some(FoundTelemetry { acknowledged: 10, found: 9, missing: 1, again: 0 }),
            messages: FoundMessages::default(),
            desired_devices: 1,
            desired_missing: 0,
        },
        generator_cpu_cores: 0.1,
        slot_seconds: 1.0,
        slots: vec![slot(0.0, Phase::RampUp), slot(1.0, Phase::Steady)],
    }
}

#[test]
fn what_is_missing_fails_the_run() {
    let mut report = report();
    let error = report.check().err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("1 telemetry messages, 0 messages to devices"), "{error}");
    report.found.telemetry = None;
    assert!(report.check().is_ok());
    report.found.desired_missing = 1;
    assert!(report.check().is_err());
}

#[test]
fn the_verdict_is_the_worst_that_happened() {
    let mut report = report();
    assert_eq!(report.verdict(), Verdict::Missing);
    report.found.telemetry = None;
    assert_eq!(report.verdict(), Verdict::Errors);
    report.errors.iter_mut().for_each(|error| error.phase = Phase::RampUp);
    assert_eq!(report.verdict(), Verdict::Good);
}

#[test]
fn programs_get_it_as_json() -> anyhow::Result<()> {
    let json = serde_json::to_value(report())?;
    for (pointer, expected) in [
        ("/withoutService/longestSeconds", serde_json::json!(4.2)),
        ("/operations/0/steady/p99Milliseconds", serde_json::json!(1500.0)),
        ("/errors/0/phase", serde_json::json!("steady")),
        ("/slots/0/phase", serde_json::json!("rampUp")),
        ("/slots/1/operations/0/p99Milliseconds", serde_json::Value::Null),
        ("/found/telemetry/missing", serde_json::json!(1)),
    ] {
        assert_eq!(json.pointer(pointer), Some(&expected), "{pointer}");
    }
    Ok(())
}

#[test]
fn people_get_the_gist() {
    let text = report().text();
    for line in [
        "time without service, over 2 devices: p50 0.100 s, p99 4.200 s, longest 4.200 s (device-1, 1.5 s after the begin)",
        "0 devices were never served, 1 others waited for service at the end",
        "telemetry acknowledged: 10; missing in the event log: 1; there twice: 0",
        "errors: 0 in the ramp-up, 3 after it",
        "  3 x steady, connect: refused <b> & \"q\"",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
}
