//! The topics of a hub in Kafka.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use parking_lot::RwLock;
use rdkafka::{
    admin::{
        AdminClient, AdminOptions, AlterConfig, ConfigEntry, ConfigSource, NewTopic, ResourceSpecifier,
        TopicReplication,
    },
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};

use super::{Config, REQUEST_TIMEOUT};
use crate::{AppendError, Offset, Topic};

/// Until every broker knows of a topic that was made.
const VISIBLE_MAX: Duration = Duration::from_secs(10);

/// A partition of a topic.
#[derive(Debug)]
pub(super) struct Partition {
    /// The name in Kafka.
    pub topic: Arc<str>,
    pub number: i32,
    /// Behind the last record of this process that was acknowledged: what readers here must find.
    next: AtomicU64,
}

impl Partition {
    pub fn acknowledged(&self, next: Offset) {
        self.next.fetch_max(next, Relaxed);
    }

    pub fn next_acknowledged(&self) -> Offset {
        self.next.load(Relaxed)
    }
}

/// What is known of topics. Their partitions never change, so what is known stays true.
pub(super) struct Topics {
    config: Config,
    /// For topics that are made.
    retention_seconds: AtomicU64,
    /// What the topics were last told; 0 before that.
    told_seconds: AtomicU64,
    known: RwLock<HashMap<Topic, Vec<Arc<Partition>>>>,
}

impl Topics {
    pub fn new(config: Config) -> Self {
        let retention_seconds = config.retention_seconds.into();
        Self { config, retention_seconds, told_seconds: AtomicU64::new(0), known: RwLock::default() }
    }

    pub fn count(&self, topic: &Topic) -> u32 {
        self.known.read().get(topic).map_or(0, |partitions| partitions.len() as u32)
    }

    pub fn partition(&self, topic: &Topic, number: u32) -> Option<Arc<Partition>> {
        self.known.read().get(topic)?.get(number as usize).cloned()
    }

    /// All partitions of a topic in order; none when there is no such topic.
    pub fn all_partitions(&self, topic: &Topic) -> Vec<Arc<Partition>> {
        self.known.read().get(topic).cloned().unwrap_or_default()
    }

    /// Learns which topics of this hub there are. Blocks.
    pub fn refresh(&self, consumer: &BaseConsumer) -> KafkaResult<()> {
        let metadata = consumer.fetch_metadata(None, REQUEST_TIMEOUT)?;
        let mut known = self.known.write();
        for topic in metadata.topics() {
            let Some(name) = topic.name().strip_prefix(&self.config.name_prefix) else { continue };
            let in_kafka: Arc<str> = topic.name().into();
            known.entry(Topic::new(name)).or_insert_with(|| {
                let partition =
                    |number| Arc::new(Partition { topic: in_kafka.clone(), number, next: AtomicU64::new(0) });
                (0..topic.partitions().len() as i32).map(partition).collect()
            });
        }
        // One that is being made has no partitions yet.
        known.retain(|_, partitions| !partitions.is_empty());
        Ok(())
    }

    /// Asks Kafka for a topic; it may be there already, made by somebody else.
    pub async fn make(&self, topic: &Topic, partitions: u32) -> Result<(), AppendError> {
        let name = self.name(topic);
        let retention = self.retention_milliseconds();
        let new = NewTopic::new(&name, partitions as i32, TopicReplication::Fixed(self.config.replication_factor))
            .set("retention.ms", &retention)
            .set("message.timestamp.type", "LogAppendTime");
        let (admin, options) = self.admin()?;
        let results = admin.create_topics(&[new], &options).await.map_err(unavailable)?;
        match results.into_iter().next() {
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) | Some(Ok(_)) => Ok(()),
            Some(Err((name, code))) => Err(AppendError::Unavailable(format!("topic {name} is not made: {code}"))),
            None => Err(AppendError::Unavailable("Kafka does not say whether the topic is made".to_owned())),
        }
    }

    /// Keeps the records of all topics that are known, and of those that are made later, for that long.
    pub async fn set_retention(&self, retention: Duration) -> Result<(), AppendError> {
        let seconds = retention.as_secs().max(1);
        self.retention_seconds.store(seconds, Relaxed);
        if self.told_seconds.load(Relaxed) == seconds {
            return Ok(());
        }
        let (admin, options) = self.admin()?;
        let names: Vec<_> = self.known.read().keys().map(|topic| self.name(topic)).collect();
        for name in names {
            self.retain(&admin, &options, &name).await?;
        }
        self.told_seconds.store(seconds, Relaxed);
        Ok(())
    }

    /// Tells one topic. What else was set on it is said again: Kafka takes back what is not.
    async fn retain(
        &self,
        admin: &AdminClient<DefaultClientContext>,
        options: &AdminOptions,
        name: &str,
    ) -> Result<(), AppendError> {
        let topic = ResourceSpecifier::Topic(name);
        let refused = |code| AppendError::Unavailable(format!("the retention of {name} is not changed: {code}"));
        let described = admin.describe_configs(&[topic], options).await.map_err(unavailable)?;
        let described = described.into_iter().next().unwrap_or(Err(RDKafkaErrorCode::UnknownTopic)).map_err(refused)?;
        let is_own = |entry: &&ConfigEntry| entry.source == ConfigSource::DynamicTopic;
        let mut wanted: BTreeMap<&str, &str> = BTreeMap::new();
        for entry in described.entries.iter().filter(is_own) {
            wanted.extend(entry.value.as_deref().map(|value| (entry.name.as_str(), value)));
        }
        let retention = self.retention_milliseconds();
        if wanted.insert("retention.ms", &retention) == Some(&retention) {
            return Ok(());
        }
        let change = wanted.iter().fold(AlterConfig::new(topic), |change, (name, value)| change.set(name, value));
        let results = admin.alter_configs(&[change], options).await.map_err(unavailable)?;
        results.into_iter().try_for_each(|result| result.map(drop).map_err(|(_, code)| refused(code)))
    }

    fn name(&self, topic: &Topic) -> String {
        format!("{}{}", self.config.name_prefix, topic.as_str())
    }

    fn retention_milliseconds(&self) -> String {
        self.retention_seconds.load(Relaxed).saturating_mul(1000).to_string()
    }

    fn admin(&self) -> Result<(AdminClient<DefaultClientContext>, AdminOptions), AppendError> {
        let admin = self.config.admin().create().map_err(unavailable)?;
        let timeout = Some(REQUEST_TIMEOUT);
        Ok((admin, AdminOptions::new().request_timeout(timeout).operation_timeout(timeout)))
    }

    /// Waits until the topic is known; its number of partitions. Blocks.
    pub fn wait_for(&self, topic: &Topic, consumer: &BaseConsumer) -> Result<u32, AppendError> {
        let deadline = Instant::now() + VISIBLE_MAX;
        loop {
            self.refresh(consumer).map_err(unavailable)?;
            match self.count(topic) {
                0 if Instant::now() < deadline => {
                    #[expect(clippy::disallowed_methods, reason = "on a thread for what blocks")]
                    std::thread::sleep(Duration::from_millis(50));
                }
                0 => return Err(AppendError::Unavailable("the topic does not appear".to_owned())),
                count => return Ok(count),
            }
        }
    }
}

pub(super) fn unavailable(error: KafkaError) -> AppendError {
    AppendError::Unavailable(error.to_string())
}
