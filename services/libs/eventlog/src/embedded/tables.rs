//! Two small files that are replaced as a whole: the topics with their numbers, and how far consumers came.
//!
//! ```text
//! topics      magic 8 | version u32 | count u32 | count x (partitions u32, name length u32, name) | crc32c u32
//! consumers   magic 8 | version u32 | count u32 | count x (number u32, offset u64, name length u32, name) | crc32c u32
//! ```
//!
//! The partitions of the first topic have the numbers 0, 1, 2 …, those of the next topic follow. Topics are only added,
//! so numbers never change.

use std::{
    collections::{BTreeMap, HashMap},
    io,
};

use model::EventPartition;

use super::{
    OpenError,
    disk::{Disk, Durability},
    format::{Reader, checked},
};
use crate::{Offset, Topic};

const TOPICS: &str = "topics";
const TOPICS_MAGIC: &[u8; 8] = b"IHTOPICS";
const CONSUMERS: &str = "consumers";
const CONSUMERS_MAGIC: &[u8; 8] = b"IHCONSUM";
const VERSION: u32 = 1;

/// Most partitions of all topics together.
pub(super) const PARTITIONS_MAX: u32 = 4096;
/// Most bytes of a topic's or consumer's name.
pub(super) const NAME_BYTES_MAX: usize = 249;
/// Most remembered places of consumers.
pub(super) const CONSUMERS_MAX: usize = 10_000;

/// The topics, and the numbers of their partitions.
#[derive(Clone, Debug, Default)]
pub(super) struct Topics {
    /// First number, and how many.
    numbers: HashMap<Topic, (u32, u32)>,
    order: Vec<Topic>,
    total: u32,
}

impl Topics {
    pub fn partitions(&self, topic: &Topic) -> u32 {
        self.numbers.get(topic).map_or(0, |(_, partitions)| *partitions)
    }

    /// The number of a topic's partition.
    pub fn number(&self, topic: &Topic, partition: EventPartition) -> Option<u32> {
        let (first, partitions) = self.numbers.get(topic)?;
        (partition < *partitions).then(|| first + partition)
    }

    /// Partitions of all topics; all numbers are smaller.
    pub fn total(&self) -> u32 {
        self.total
    }

    /// Adds a topic that is not there yet.
    pub fn add(&mut self, topic: Topic, partitions: u32) {
        self.numbers.insert(topic.clone(), (self.total, partitions));
        self.order.push(topic);
        self.total += partitions;
    }

    pub fn store(&self, disk: &dyn Disk) -> io::Result<()> {
        let mut bytes = start(TOPICS_MAGIC, self.order.len());
        for topic in &self.order {
            bytes.extend_from_slice(&self.partitions(topic).to_le_bytes());
            put_name(topic.as_str(), &mut bytes);
        }
        finish(disk, TOPICS, bytes)
    }

    pub fn load(disk: &dyn Disk, names: &[String]) -> Result<Self, OpenError> {
        let mut topics = Self::default();
        read_table(disk, names, TOPICS, TOPICS_MAGIC, |reader| {
            let partitions = reader.u32()?;
            topics.add(Topic::new(take_name(reader)?), partitions);
            Some(())
        })?;
        Ok(topics)
    }
}

/// The next offset that a consumer of the hub itself wants, per topic-partition.
#[derive(Debug, Default)]
pub(super) struct Consumers(BTreeMap<(String, u32), Offset>);

impl Consumers {
    pub fn get(&self, consumer: &str, number: u32) -> Option<Offset> {
        self.0.get(&(consumer.to_owned(), number)).copied()
    }

    pub fn has_room(&self) -> bool {
        self.0.len() < CONSUMERS_MAX
    }

    /// Remembers durably, or leaves everything as it was.
    pub fn set(&mut self, disk: &dyn Disk, consumer: &str, number: u32, offset: Offset) -> io::Result<()> {
        let key = (consumer.to_owned(), number);
        let before = self.0.insert(key.clone(), offset);
        self.store(disk).inspect_err(|_| {
            match before {
                Some(before) => self.0.insert(key, before),
                None => self.0.remove(&key),
            };
        })
    }

    fn store(&self, disk: &dyn Disk) -> io::Result<()> {
        let mut bytes = start(CONSUMERS_MAGIC, self.0.len());
        for ((consumer, number), offset) in &self.0 {
            bytes.extend_from_slice(&number.to_le_bytes());
            bytes.extend_from_slice(&offset.to_le_bytes());
            put_name(consumer, &mut bytes);
        }
        finish(disk, CONSUMERS, bytes)
    }

    pub fn load(disk: &dyn Disk, names: &[String]) -> Result<Self, OpenError> {
        let mut consumers = BTreeMap::new();
        read_table(disk, names, CONSUMERS, CONSUMERS_MAGIC, |reader| {
            let (number, offset) = (reader.u32()?, reader.u64()?);
            consumers.insert((take_name(reader)?.to_owned(), number), offset);
            Some(())
        })?;
        Ok(Self(consumers))
    }
}

fn start(magic: &[u8; 8], count: usize) -> Vec<u8> {
    [&magic[..], &VERSION.to_le_bytes(), &(count as u32).to_le_bytes()].concat()
}

fn finish(disk: &dyn Disk, name: &str, mut bytes: Vec<u8>) -> io::Result<()> {
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    disk.replace(name, &bytes, Durability::Synced)
}

fn put_name(name: &str, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&(name.len() as u32).to_le_bytes());
    bytes.extend_from_slice(name.as_bytes());
}

fn take_name<'a>(reader: &mut Reader<'a>) -> Option<&'a str> {
    let length = reader.u32()? as usize;
    std::str::from_utf8(reader.take(length)?).ok()
}

/// Reads a table row by row; one that is not there is empty.
fn read_table(
    disk: &dyn Disk,
    names: &[String],
    name: &str,
    magic: &[u8; 8],
    mut row: impl FnMut(&mut Reader<'_>) -> Option<()>,
) -> Result<(), OpenError> {
    if !names.iter().any(|there| there == name) {
        return Ok(());
    }
    let failed = |error| OpenError::Disk(name.to_owned(), error);
    let file = disk.open(name).map_err(failed)?;
    let mut bytes = vec![0; file.length().map_err(failed)? as usize];
    file.read_exact_at(&mut bytes, 0).map_err(failed)?;
    let mut read = || {
        let mut reader = Reader(checked(&bytes)?);
        (reader.take(8)? == magic && reader.u32()? == VERSION).then_some(())?;
        for _ in 0..reader.u32()? {
            row(&mut reader)?;
        }
        reader.0.is_empty().then_some(())
    };
    read().ok_or_else(|| OpenError::Damaged(name.to_owned(), "its checksum or version is wrong"))
}
