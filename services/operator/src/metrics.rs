//! What the operator counts.

use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::resource::IotHubStatus;

/// Counters and gauges of the process. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct OperatorMetrics {
    looks: IntCounterVec,
    look_seconds: Histogram,
    actions: IntCounterVec,
    conditions: IntGaugeVec,
    groups_moving: prometheus::IntGauge,
}

impl OperatorMetrics {
    /// Shows all of them in the registry.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, label: &str| IntCounterVec::new(Opts::new(name, help), &[label]);
        let seconds = HistogramOpts::new("ironhub_operator_look_seconds", "How long a look and what it led to took.");
        let conditions =
            Opts::new("ironhub_operator_condition", "1: the condition of the IotHub is True, 0: False, -1: Unknown.");
        let metrics = Self {
            looks: counter("ironhub_operator_looks_total", "Looks at hub and cluster, by how they ended.", "result")?,
            look_seconds: Histogram::with_opts(seconds)?,
            actions: counter("ironhub_operator_actions_total", "Steps that were taken, by what they did.", "action")?,
            conditions: IntGaugeVec::new(conditions, &["type"])?,
            groups_moving: prometheus::IntGauge::new(
                "ironhub_operator_groups_moving",
                "Groups that are not where they are wanted.",
            )?,
        };
        registry.register(Box::new(metrics.looks.clone()))?;
        registry.register(Box::new(metrics.look_seconds.clone()))?;
        registry.register(Box::new(metrics.actions.clone()))?;
        registry.register(Box::new(metrics.conditions.clone()))?;
        registry.register(Box::new(metrics.groups_moving.clone()))?;
        Ok(metrics)
    }

    /// A look has ended; `result` is `ok`, `problem` or `error`.
    pub fn looked(&self, result: &'static str, seconds: f64) {
        self.looks.with_label_values(&[result]).inc();
        self.look_seconds.observe(seconds);
    }

    /// A step was taken.
    pub fn acted(&self, action: &'static str) {
        self.actions.with_label_values(&[action]).inc();
    }

    /// What the status says now.
    pub fn show(&self, status: &IotHubStatus) {
        for condition in &status.conditions {
            let value = match condition.status.as_str() {
                "True" => 1,
                "False" => 0,
                _ => -1,
            };
            self.conditions.with_label_values(&[&condition.type_]).set(value);
        }
        self.groups_moving.set(status.groups.moving.into());
    }
}
