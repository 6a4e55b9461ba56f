use std::collections::VecDeque;

use openraft::EntryPayload;

use crate::raft::Entry;

/// What an entry costs in memory beside its payload.
const ENTRY_OVERHEAD_BYTES: usize = 128;

/// The newest entries of a log in memory, without gaps: replication and apply read them a moment after they were
/// appended. Bounded by bytes, except for entries that are not on disk yet.
pub(super) struct LogTail {
    entries: VecDeque<Entry>,
    bytes: usize,
    bytes_max: usize,
}

impl LogTail {
    pub fn new(bytes_max: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Index of the oldest entry that is here.
    pub fn first_index(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.log_id.index)
    }

    /// Appends an entry; one that does not follow the last one makes the older ones forgotten.
    pub fn push(&mut self, entry: Entry) {
        if self.entries.back().is_some_and(|last| last.log_id.index + 1 != entry.log_id.index) {
            self.entries.clear();
            self.bytes = 0;
        }
        self.bytes += size(&entry);
        self.entries.push_back(entry);
    }

    /// Forgets the oldest entries that are on disk (up to that index), until the rest fits.
    pub fn shrink(&mut self, durable_index: u64) {
        while self.bytes > self.bytes_max && self.first_index().is_some_and(|first| first <= durable_index) {
            self.pop_front();
        }
    }

    /// Forgets the entries up to the index.
    pub fn purge(&mut self, upto: u64) {
        while self.first_index().is_some_and(|first| first <= upto) {
            self.pop_front();
        }
    }

    /// Forgets the entries from the index on.
    pub fn truncate(&mut self, since: u64) {
        while let Some(last) = self.entries.pop_back_if(|last| last.log_id.index >= since) {
            self.bytes -= size(&last);
        }
    }

    /// The entry of that index, when it is here.
    pub fn get(&self, index: u64) -> Option<&Entry> {
        let offset = index.checked_sub(self.first_index()?)?;
        self.entries.get(usize::try_from(offset).ok()?)
    }

    fn pop_front(&mut self) {
        if let Some(first) = self.entries.pop_front() {
            self.bytes -= size(&first);
        }
    }
}

/// Bytes that an entry counts for.
pub(super) fn size(entry: &Entry) -> usize {
    let payload = match &entry.payload {
        EntryPayload::Normal(proposal) => proposal.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    };
    payload + ENTRY_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use openraft::CommittedLeaderId;

    use super::*;
    use crate::raft::LogId;

    fn entry(index: u64) -> Entry {
        let log_id = LogId::new(CommittedLeaderId::new(1, 1), index);
        Entry { log_id, payload: EntryPayload::Normal(Bytes::from(vec![0; 1000])) }
    }

    fn tail(indexes: std::ops::Range<u64>) -> LogTail {
        let mut tail = LogTail::new(3000);
        indexes.for_each(|index| tail.push(entry(index)));
        tail
    }

    fn indexes(tail: &LogTail) -> Vec<u64> {
        tail.entries.iter().map(|entry| entry.log_id.index).collect()
    }

    #[test]
    fn only_what_is_on_disk_is_forgotten() {
        let mut tail = tail(5..10);
        tail.shrink(5);
        assert_eq!(indexes(&tail), [6, 7, 8, 9]);
        tail.shrink(9);
        assert_eq!(indexes(&tail), [8, 9]);
        assert_eq!(tail.bytes, 2 * (1000 + ENTRY_OVERHEAD_BYTES));
        assert!(tail.get(7).is_none() && tail.get(10).is_none());
        assert_eq!(tail.get(8), Some(&entry(8)));
    }

    #[test]
    fn truncate_purge_and_gaps() {
        let mut tail = tail(5..10);
        tail.truncate(8);
        assert_eq!(indexes(&tail), [5, 6, 7]);
        tail.purge(5);
        assert_eq!(indexes(&tail), [6, 7]);
        tail.push(entry(20));
        assert_eq!(indexes(&tail), [20]);
        tail.purge(30);
        assert_eq!((indexes(&tail), tail.bytes), (vec![], 0));
    }
}
