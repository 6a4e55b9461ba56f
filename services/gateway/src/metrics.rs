//! What the gateway counts. No label names a device.

mod exchanges;

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

pub use exchanges::{DeviceBoundMetrics, MethodMetrics, TwinMetrics, TwinOperation};

/// Counters and gauges of one gateway.
#[derive(Debug, Clone)]
pub struct GatewayMetrics {
    pub mqtt_connections: IntGauge,
    pub mqtt_websocket_connections: IntGauge,
    pub amqp_connections: IntGauge,
    pub amqp_websocket_connections: IntGauge,
    pub https_connections: IntGauge,
    pub handshakes: IntCounter,
    pub handshake_failures: IntCounter,
    /// Connections turned away or ended before they said who they are, by reason.
    pub refused_connections: IntCounterVec,
    pub messages: IntCounter,
    pub message_bytes: IntCounter,
    /// Seconds from the read of a message to its acknowledgement.
    pub acknowledge_seconds: Histogram,
    /// Refused devices, by cause.
    pub refusals: IntCounterVec,
    /// Ended MQTT connections, by reason.
    pub closes: IntCounterVec,
    /// Ended AMQP connections, by reason.
    pub amqp_closes: IntCounterVec,
    /// Answers over HTTPS, by status.
    pub https_responses: IntCounterVec,
    pub unacknowledged_bytes: IntGauge,
    pub twins: TwinMetrics,
    pub methods: MethodMetrics,
    pub device_bound: DeviceBoundMetrics,
}

impl GatewayMetrics {
    /// Registers all of them.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| register(registry, IntCounter::new(name, help)?);
        let gauge = |name: &str, help: &str| register(registry, IntGauge::new(name, help)?);
        let by = |name: &str, help: &str, label: &str| {
            register(registry, IntCounterVec::new(Opts::new(name, help), &[label])?)
        };
        let latency = HistogramOpts::new("ironhub_acknowledge_seconds", "From read to acknowledgement of telemetry.")
            .buckets(prometheus::exponential_buckets(0.000_25, 2.0, 14)?);
        Ok(Self {
            mqtt_connections: gauge("ironhub_mqtt_connections", "Live MQTT connections.")?,
            mqtt_websocket_connections: gauge(
                "ironhub_mqtt_websocket_connections",
                "Those of the live MQTT connections that run over WebSocket.",
            )?,
            amqp_connections: gauge("ironhub_amqp_connections", "Live AMQP connections.")?,
            amqp_websocket_connections: gauge(
                "ironhub_amqp_websocket_connections",
                "Those of the live AMQP connections that run over WebSocket.",
            )?,
            https_connections: gauge("ironhub_https_connections", "Live HTTPS connections.")?,
            handshakes: counter("ironhub_tls_handshakes_total", "Completed TLS handshakes.")?,
            handshake_failures: counter("ironhub_tls_handshake_failures_total", "TLS handshakes that failed.")?,
            refused_connections: by("ironhub_refused_connections_total", "Connections turned away early.", "reason")?,
            messages: counter("ironhub_telemetry_messages_total", "Durable device-to-cloud messages.")?,
            message_bytes: counter("ironhub_telemetry_bytes_total", "Their bytes as they lie in the event log.")?,
            acknowledge_seconds: register(registry, Histogram::with_opts(latency)?)?,
            refusals: by("ironhub_refusals_total", "Refused credentials.", "cause")?,
            closes: by("ironhub_mqtt_closes_total", "Ended MQTT connections.", "reason")?,
            amqp_closes: by("ironhub_amqp_closes_total", "Ended AMQP connections.", "reason")?,
            https_responses: by("ironhub_https_responses_total", "HTTPS responses.", "status")?,
            unacknowledged_bytes: gauge("ironhub_unacknowledged_bytes", "Bytes read but not yet durable.")?,
            twins: TwinMetrics::new(registry)?,
            methods: MethodMetrics::new(registry)?,
            device_bound: DeviceBoundMetrics::new(registry)?,
        })
    }

    /// Counts messages that have become durable.
    pub fn acknowledged(&self, messages: usize, bytes: usize, duration: Duration) {
        self.messages.inc_by(messages as u64);
        self.message_bytes.inc_by(bytes as u64);
        self.acknowledge_seconds.observe(duration.as_secs_f64());
    }
}

fn register<C: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}
