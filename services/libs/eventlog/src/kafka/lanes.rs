//! The records on their way to Kafka: a lane for each partition.
//!
//! The library sends one batch of a partition at a time, and while more waits behind it its thread spins (2.12). So it is
//! given one batch, whole, and the next one when the fate of that is known: the slower the broker, the larger the batches.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use model::EventPartition;
use slab::Slab;

use super::{producer::queued_bytes, topics::Partition};
use crate::{Append, Topic};

/// What the library is given of a partition at a time: one request's worth.
const BATCH_BYTES_MAX: u64 = 900_000;

/// A record that is not known to be durable.
pub(super) struct Record {
    /// The call that it belongs to, and its place there.
    pub call: usize,
    pub index: usize,
    pub lane: usize,
    /// Its wire form, until the library has it.
    pub wire: Bytes,
    pub queued_bytes: u64,
    pub since: Instant,
}

/// The records of one partition, in order.
pub(super) struct Lane {
    pub partition: Arc<Partition>,
    /// The number of its topic in the client.
    pub topic: usize,
    waiting: VecDeque<usize>,
    /// So many does the library have, since then.
    out: usize,
    out_since: Instant,
}

#[derive(Default)]
pub(super) struct Lanes {
    topics: Vec<(Topic, Range<usize>)>,
    lanes: Vec<Lane>,
    records: Slab<Record>,
}

impl Lanes {
    /// Whether all that came is settled.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Whether there are lanes for that topic.
    pub fn has(&self, topic: &Topic) -> bool {
        self.topics.iter().any(|(known, _)| known == topic)
    }

    /// Makes the lanes of a topic; `number` is what the client knows it by.
    pub fn add(&mut self, topic: Topic, number: usize, partitions: Vec<Arc<Partition>>, now: Instant) {
        let start = self.lanes.len();
        let lane = |partition| Lane { partition, topic: number, waiting: VecDeque::new(), out: 0, out_since: now };
        self.lanes.extend(partitions.into_iter().map(lane));
        self.topics.push((topic, start..self.lanes.len()));
    }

    /// The lane of a partition.
    pub fn find(&self, topic: &Topic, partition: EventPartition) -> Option<usize> {
        let (_, lanes) = self.topics.iter().find(|(known, _)| known == topic)?;
        lanes.clone().nth(partition as usize)
    }

    /// Lets a record wait in its lane.
    pub fn push(&mut self, lane: usize, append: Append, call: usize, index: usize, now: Instant) {
        let queued_bytes = queued_bytes(&append);
        let record = Record { call, index, lane, wire: append.record, queued_bytes, since: now };
        let id = self.records.insert(record);
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.waiting.push_back(id);
        }
    }

    /// Gives a batch of each lane to the library, unless it has one of it. `give` takes the id of a record, its lane and the
    /// record; what it refuses comes back with the reason.
    pub fn hand_over<E>(
        &mut self,
        now: Instant,
        mut give: impl FnMut(usize, &Lane, &Record) -> Result<(), E>,
    ) -> Vec<(usize, E)> {
        let mut refused = Vec::new();
        for lane in self.lanes.iter_mut().filter(|lane| lane.out == 0) {
            lane.out_since = now;
            let mut bytes = 0;
            while bytes < BATCH_BYTES_MAX
                && let Some(id) = lane.waiting.pop_front()
            {
                let Some(record) = self.records.get_mut(id) else { continue };
                bytes += record.queued_bytes;
                lane.out += 1;
                if let Err(error) = give(id, lane, record) {
                    refused.push((id, error));
                }
                record.wire = Bytes::new();
            }
        }
        refused
    }

    /// Whether a lane has a record for the library, which has none of that lane.
    pub fn is_ready(&self) -> bool {
        self.lanes.iter().any(|lane| lane.out == 0 && !lane.waiting.is_empty())
    }

    /// Whether the library has had a batch for longer than that.
    pub fn is_late(&self, now: Instant, patience: Duration) -> bool {
        self.lanes.iter().any(|lane| lane.out > 0 && now.saturating_duration_since(lane.out_since) > patience)
    }

    /// Takes a record out whose fate is known, after the library had it, with its partition.
    pub fn settle(&mut self, id: usize) -> Option<(Record, &Partition)> {
        let record = self.records.try_remove(id)?;
        let lane = self.lanes.get_mut(record.lane)?;
        lane.out = lane.out.saturating_sub(1);
        Some((record, &lane.partition))
    }

    /// Takes everything out, also what waits. The topics are forgotten, too.
    pub fn clear(&mut self) -> Vec<Record> {
        self.lanes.clear();
        self.topics.clear();
        std::mem::take(&mut self.records).into_iter().map(|(_, record)| record).collect()
    }
}
