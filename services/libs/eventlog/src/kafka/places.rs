//! How far consumers of the hub itself came: the offsets of a consumer group each.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use rdkafka::{
    Offset as KafkaOffset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::KafkaResult,
};

use super::{Config, REQUEST_TIMEOUT, topics::Partition};
use crate::Offset;

/// Consumers of the hub itself, such as routers: there are a few.
const CONSUMERS_MAX: usize = 64;

pub(super) struct Places {
    config: Config,
    consumers: Mutex<HashMap<String, Arc<BaseConsumer>>>,
}

impl Places {
    pub fn new(config: Config) -> Self {
        Self { config, consumers: Mutex::default() }
    }

    /// Remembers where a consumer is. Blocks.
    pub fn commit(&self, consumer: &str, partition: &Partition, offset: Offset) -> KafkaResult<()> {
        let offset = KafkaOffset::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
        self.consumer(consumer)?.commit(&place(partition, offset)?, CommitMode::Sync)
    }

    /// Where the consumer was last; `None` if it never said. Blocks.
    pub fn committed(&self, consumer: &str, partition: &Partition) -> KafkaResult<Option<Offset>> {
        let asked = place(partition, KafkaOffset::Invalid)?;
        let committed = self.consumer(consumer)?.committed_offsets(asked, REQUEST_TIMEOUT)?;
        let offset = committed.elements().first().map(|element| element.offset());
        Ok(match offset {
            Some(KafkaOffset::Offset(offset)) => offset.try_into().ok(),
            _ => None,
        })
    }

    fn consumer(&self, name: &str) -> KafkaResult<Arc<BaseConsumer>> {
        if let Some(consumer) = self.consumers.lock().get(name) {
            return Ok(consumer.clone());
        }
        let group = format!("{}{name}", self.config.name_prefix);
        let consumer: Arc<BaseConsumer> = Arc::new(self.config.consumer().set("group.id", group).create()?);
        let mut consumers = self.consumers.lock();
        if consumers.len() >= CONSUMERS_MAX {
            consumers.clear();
        }
        consumers.insert(name.to_owned(), consumer.clone());
        Ok(consumer)
    }
}

fn place(partition: &Partition, offset: KafkaOffset) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&partition.topic, partition.number, offset)?;
    Ok(list)
}
