//! Where the events of a hub are kept: in its data folder, or in a Kafka.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use eventlog::{AppendError, EventLog, Topic, embedded::EmbeddedLog, kafka::KafkaLog};
use runtime::{Health, Metrics, State};

use super::event_log_metrics::EventLogMetrics;
use crate::files;

/// The topic of the built-in endpoint.
pub const EVENTS: &str = "events";

/// Where they are, and how long the configuration has them kept when the hub's settings say nothing.
#[derive(Clone)]
pub struct HubEventLog {
    backend: Backend,
    pub configured_retention: Duration,
}

#[derive(Clone)]
enum Backend {
    Embedded(Arc<EmbeddedLog>),
    Kafka(Arc<KafkaLog>),
}

impl HubEventLog {
    /// Opens the one in the data folder.
    pub async fn open_embedded(mut config: eventlog::embedded::Config, data_dir: &Path) -> anyhow::Result<Self> {
        config.directory = data_dir.join(&config.directory);
        files::make_folder(&config.directory)?;
        let configured_retention = Duration::from_secs(config.retention_seconds);
        let log = tokio::task::spawn_blocking(|| EmbeddedLog::open(config)).await??;
        Ok(Self { backend: Backend::Embedded(Arc::new(log)), configured_retention })
    }

    /// Opens the one in a Kafka, which need not be there yet.
    pub async fn open_kafka(config: eventlog::kafka::Config) -> anyhow::Result<Self> {
        let configured_retention = Duration::from_secs(config.retention_seconds);
        let log = tokio::task::spawn_blocking(move || KafkaLog::open(&config)).await??;
        Ok(Self { backend: Backend::Kafka(Arc::new(log)), configured_retention })
    }

    /// Makes the topic of the built-in endpoint, and registers counters and health.
    pub async fn begin(&self, wanted: u32, metrics: &Metrics, health: &Health) -> anyhow::Result<()> {
        let log = self.log();
        let partitions =
            log.create_topic(&Topic::new(EVENTS), wanted).await.context("cannot make the topic `events`")?;
        if partitions != wanted {
            tracing::warn!(partitions, wanted, "the number of event partitions never changes");
        }
        metrics.registry().register(Box::new(match &self.backend {
            Backend::Embedded(log) => EventLogMetrics::Embedded(log.statistics()),
            Backend::Kafka(log) => EventLogMetrics::Kafka(log.statistics()),
        }))?;
        let probed = Arc::downgrade(&log);
        health.probe("event-log", move || match probed.upgrade().map(|log| log.health()) {
            Some(eventlog::Health::Writable) => State::Ready,
            Some(eventlog::Health::ReadOnly(reason)) => State::Degraded(reason),
            None => State::Failed("closed".to_owned()),
        });
        Ok(())
    }

    /// What all parts of the hub see of it.
    pub fn log(&self) -> Arc<dyn EventLog> {
        match &self.backend {
            Backend::Embedded(log) => log.clone(),
            Backend::Kafka(log) => log.clone(),
        }
    }

    /// Keeps records that long from now on. An error: they are kept as long as before, and it is to be tried again.
    pub async fn set_retention(&self, retention: Duration) -> Result<(), AppendError> {
        match &self.backend {
            Backend::Embedded(log) => {
                log.set_retention(retention);
                Ok(())
            }
            Backend::Kafka(log) => log.set_retention(retention).await,
        }
    }
}
