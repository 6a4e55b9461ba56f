//! What readers see: sealed segments, the active one, and how far each topic-partition has come. Only durable records.

use std::{collections::VecDeque, sync::Arc};

use super::{
    disk::DiskFile,
    format::{Tail, tail, tail_mut},
    index::{Entry, first_at},
    segment::{Active, Sealed},
};
use crate::{Offset, ReadError};

#[derive(Debug)]
pub(super) struct Journal {
    /// Oldest first.
    pub sealed: VecDeque<Arc<Sealed>>,
    pub active: Active,
    /// By topic-partition number.
    pub tails: Vec<Tail>,
}

/// A durable record that is not in the index yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub number: u32,
    pub offset: Offset,
    pub entry: Entry,
}

/// Where an offset lies.
pub(super) enum Located {
    Sealed(Arc<Sealed>),
    Active(Arc<dyn DiskFile>, Vec<Entry>),
    /// There is no such record yet.
    Beyond,
}

impl Journal {
    /// The oldest offset that retention has left.
    pub fn earliest(&self, number: u32) -> Offset {
        let base = self.sealed.front().map(|sealed| sealed.base(number));
        base.unwrap_or_else(|| tail(&self.active.base, number)).next
    }

    pub fn tail(&self, number: u32) -> Tail {
        tail(&self.tails, number)
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.active.length + self.sealed.iter().map(|sealed| sealed.length).sum::<u64>()
    }

    /// Where the record is; of the active segment up to that many entries.
    pub fn locate(&self, number: u32, offset: Offset, records: usize) -> Result<Located, ReadError> {
        let earliest = self.earliest(number);
        if offset < earliest {
            return Err(ReadError::Trimmed { wanted: offset, earliest });
        }
        if offset >= self.tail(number).next {
            return Ok(Located::Beyond);
        }
        let position = self.sealed.partition_point(|sealed| sealed.end(number).next <= offset);
        if let Some(sealed) = self.sealed.get(position) {
            return Ok(Located::Sealed(sealed.clone()));
        }
        let from = (offset - tail(&self.active.base, number).next) as usize;
        let entries = self.active.index.column(number).iter().skip(from).take(records).copied().collect();
        Ok(Located::Active(self.active.file.clone(), entries))
    }

    /// The sealed segment that holds the topic-partition's first record of that time or later; else its offset in the
    /// active segment, or the next offset.
    pub fn locate_time(&self, number: u32, time: i64) -> Result<Arc<Sealed>, Offset> {
        let holds = |sealed: &&Arc<Sealed>| {
            let (base, end) = (sealed.base(number), sealed.end(number));
            end.next > base.next && end.last_time >= time
        };
        match self.sealed.iter().find(holds) {
            Some(sealed) => Ok(sealed.clone()),
            None => Err(tail(&self.active.base, number).next + first_at(self.active.index.column(number), time)),
        }
    }

    /// Makes durable records visible.
    pub fn publish(&mut self, places: &[Place], bytes: u64) {
        self.active.length += bytes;
        for place in places {
            self.active.index.push(place.number, place.entry);
            *tail_mut(&mut self.tails, place.number) = Tail { next: place.offset + 1, last_time: place.entry.time };
        }
        if let (None, Some(first)) = (self.active.first_time, places.first()) {
            self.active.first_time = Some(first.entry.time);
        }
    }

    /// Seals the active segment and goes on with a new one.
    pub fn roll(&mut self, new: Active) -> Arc<Sealed> {
        let sealed = Arc::new(std::mem::replace(&mut self.active, new).seal(self.tails.clone()));
        self.sealed.push_back(sealed.clone());
        sealed
    }
}
