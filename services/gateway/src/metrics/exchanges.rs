//! What is counted of twins, methods and messages for devices. A `result` is `ok` or the name of an error (rest §21.3).

use std::time::Duration;

use model::Timestamp;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, exponential_buckets,
};
use shard_client::ReceivedMessage;

use super::register;

/// Requests that read or write a twin, and what devices are told.
#[derive(Debug, Clone)]
pub struct TwinMetrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
    /// Updates of desired properties that were sent to devices.
    pub desired_updates: IntCounter,
}

impl TwinMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let requests =
            Opts::new("ironhub_twin_requests_total", "Requests for twins, those in bulk requests not counted.");
        let seconds = HistogramOpts::new("ironhub_twin_request_seconds", "From a request for a twin to its answer.")
            .buckets(exponential_buckets(0.000_25, 2.0, 14)?);
        let updates = "Updates of desired properties that were sent to devices.";
        Ok(Self {
            requests: register(registry, IntCounterVec::new(requests, &["operation", "result"])?)?,
            seconds: register(registry, HistogramVec::new(seconds, &["operation"])?)?,
            desired_updates: register(registry, IntCounter::new("ironhub_twin_desired_updates_total", updates)?)?,
        })
    }

    /// One request that was answered.
    pub fn answered(&self, operation: TwinOperation, result: &str, duration: Duration) {
        let operation = operation.name();
        self.requests.with_label_values(&[operation, result]).inc();
        self.seconds.with_label_values(&[operation]).observe(duration.as_secs_f64());
    }
}

/// What a request does to a twin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TwinOperation {
    Get,
    /// Reported properties, by the device.
    Report,
    /// Tags and desired properties, by a back end.
    Write,
}

impl TwinOperation {
    fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Report => "report",
            Self::Write => "write",
        }
    }
}

/// Methods that back ends invoke.
#[derive(Debug, Clone)]
pub struct MethodMetrics {
    invocations: IntCounterVec,
    seconds: Histogram,
}

impl MethodMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let invocations = Opts::new("ironhub_methods_total", "Invocations of methods.");
        let help = "From the invocation of a method to the device's answer; only of those that were answered.";
        let seconds = HistogramOpts::new("ironhub_method_seconds", help).buckets(exponential_buckets(0.001, 2.0, 19)?);
        Ok(Self {
            invocations: register(registry, IntCounterVec::new(invocations, &["result"])?)?,
            seconds: register(registry, Histogram::with_opts(seconds)?)?,
        })
    }

    /// One invocation that ended.
    pub fn ended(&self, result: &str) {
        self.invocations.with_label_values(&[result]).inc();
    }

    /// How long a device took to answer.
    pub fn answered(&self, duration: Duration) {
        self.seconds.observe(duration.as_secs_f64());
    }
}

/// Messages for devices on their way in and out; what became of them is counted by the shard.
#[derive(Debug, Clone)]
pub struct DeviceBoundMetrics {
    sends: IntCounterVec,
    deliveries: IntCounterVec,
    seconds: Histogram,
    /// Outcomes of messages that were handed to back ends.
    pub feedback: IntCounter,
}

impl DeviceBoundMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let sends = Opts::new("ironhub_device_bound_sends_total", "Messages for devices that back ends sent.");
        let deliveries = Opts::new(
            "ironhub_device_bound_deliveries_total",
            "Messages handed to devices; delivery says whether it was the first time.",
        );
        let help = "How long messages waited before they were handed to their device for the first time.";
        let seconds = HistogramOpts::new("ironhub_device_bound_wait_seconds", help);
        let seconds = seconds.buckets(exponential_buckets(0.001, 4.0, 13)?);
        let feedback = "Outcomes of messages for devices that were handed to back ends.";
        Ok(Self {
            sends: register(registry, IntCounterVec::new(sends, &["result"])?)?,
            deliveries: register(registry, IntCounterVec::new(deliveries, &["protocol", "delivery"])?)?,
            seconds: register(registry, Histogram::with_opts(seconds)?)?,
            feedback: register(registry, IntCounter::new("ironhub_device_bound_feedback_total", feedback)?)?,
        })
    }

    /// A back end's request to send a message was answered.
    pub fn sent(&self, result: &str) {
        self.sends.with_label_values(&[result]).inc();
    }

    /// A message was handed to its device at that time.
    pub fn delivered(&self, protocol: &str, message: &ReceivedMessage, now: Timestamp) {
        let is_first = !message.was_delivered;
        self.deliveries.with_label_values(&[protocol, if is_first { "first" } else { "again" }]).inc();
        if is_first {
            // Two clocks: the gateway's may be behind the shard's.
            let microseconds = now.unix_microseconds().saturating_sub(message.enqueued.unix_microseconds()).max(0);
            self.seconds.observe(Duration::from_micros(microseconds.unsigned_abs()).as_secs_f64());
        }
    }
}
