//! Where the events of a hub are kept: in its data folder, or in a Kafka.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use eventlog::{AppendError, EventLog, Topic, embedded::EmbeddedLog, kafka::KafkaLog};
use runtime::{Health, Metrics, State};

use super::event_log_metrics::EventLogMetrics;
use crate::{configuration::Config, files};

/// The topic of the built-in endpoint.
pub const EVENTS: &str = "events";

/// The one that the configuration asks for.
#[derive(Clone)]
pub enum HubEventLog {
    Embedded(Arc<EmbeddedLog>),
    Kafka(Arc<KafkaLog>),
}

impl HubEventLog {
    /// Opens it, makes the topic of the built-in endpoint, and registers counters and health.
    pub async fn open(config: &Config, data_dir: &Path, metrics: &Metrics, health: &Health) -> anyhow::Result<Self> {
        let opened = match config.kafka.bootstrap_servers.is_empty() {
            true => Self::open_embedded(config.event_log.clone(), data_dir).await?,
            false => Self::open_kafka(config.kafka.clone()).await?,
        };
        let log = opened.log();
        let wanted = config.event_partitions;
        let partitions =
            log.create_topic(&Topic::new(EVENTS), wanted).await.context("cannot make the topic `events`")?;
        if partitions != wanted {
            tracing::warn!(partitions, wanted, "the number of event partitions never changes");
        }
        metrics.registry().register(Box::new(match &opened {
            Self::Embedded(log) => EventLogMetrics::Embedded(log.statistics()),
            Self::Kafka(log) => EventLogMetrics::Kafka(log.statistics()),
        }))?;
        let probed = Arc::downgrade(&log);
        health.probe("event-log", move || match probed.upgrade().map(|log| log.health()) {
            Some(eventlog::Health::Writable) => State::Ready,
            Some(eventlog::Health::ReadOnly(reason)) => State::Degraded(reason),
            None => State::Failed("closed".to_owned()),
        });
        Ok(opened)
    }

    async fn open_embedded(mut config: eventlog::embedded::Config, data_dir: &Path) -> anyhow::Result<Self> {
        config.directory = data_dir.join(&config.directory);
        files::make_folder(&config.directory)?;
        let log = tokio::task::spawn_blocking(|| EmbeddedLog::open(config)).await??;
        Ok(Self::Embedded(Arc::new(log)))
    }

    async fn open_kafka(config: eventlog::kafka::Config) -> anyhow::Result<Self> {
        let log = tokio::task::spawn_blocking(move || KafkaLog::open(&config)).await??;
        Ok(Self::Kafka(Arc::new(log)))
    }

    /// What all parts of the hub see of it.
    pub fn log(&self) -> Arc<dyn EventLog> {
        match self {
            Self::Embedded(log) => log.clone(),
            Self::Kafka(log) => log.clone(),
        }
    }

    /// How long records are kept when the hub's settings say nothing.
    pub fn configured_retention(&self, config: &Config) -> Duration {
        Duration::from_secs(match self {
            Self::Embedded(_) => config.event_log.retention_seconds,
            Self::Kafka(_) => config.kafka.retention_seconds,
        })
    }

    /// Keeps records that long from now on. An error: they are kept as long as before, and it is to be tried again.
    pub async fn set_retention(&self, retention: Duration) -> Result<(), AppendError> {
        match self {
            Self::Embedded(log) => {
                log.set_retention(retention);
                Ok(())
            }
            Self::Kafka(log) => log.set_retention(retention).await,
        }
    }
}
