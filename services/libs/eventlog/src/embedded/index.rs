//! Where the records of a segment lie. Offsets are gap-free, so per topic-partition a dense array suffices: an offset is
//! an array index, and since times never decrease a time is a binary search.
//!
//! The active segment's index is in memory. A sealed segment's index is a file beside it, the *sidecar*, read entry by
//! entry; it can always be made again from the segment, so it is written without a sync and carries a checksum.
//!
//! ```text
//! magic 8 | version u32 | sequence u64 | segment length u64
//! | per topic-partition number, per record: position u32, record length u32, time i64 | crc32c u32
//! ```

use std::{io, sync::Arc};

use super::{
    disk::DiskFile,
    format::{self, Reader},
};

const MAGIC: &[u8; 8] = b"IHEVINDX";
const VERSION: u32 = 1;
const HEADER_BYTES: u64 = 28;
const ENTRY_BYTES: u64 = 16;

/// Where one record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Of its frame in the segment; 0 for a record that cannot be read any more.
    pub position: u32,
    /// Of the record, without the frame.
    pub length: u32,
    pub time: i64,
}

/// The entries of one segment, by topic-partition number, then in the order of offsets.
#[derive(Debug, Default)]
pub(super) struct Index {
    columns: Vec<Vec<Entry>>,
}

impl Index {
    /// An index with that many unreadable records per topic-partition, to be filled in.
    pub fn unreadable(counts: impl Iterator<Item = u64>) -> Self {
        let entry = Entry { position: 0, length: 0, time: i64::MIN };
        Self { columns: counts.map(|count| vec![entry; count as usize]).collect() }
    }

    pub fn push(&mut self, number: u32, entry: Entry) {
        let index = number as usize;
        if self.columns.len() <= index {
            self.columns.resize_with(index + 1, Vec::new);
        }
        self.columns[index].push(entry);
    }

    pub fn column(&self, number: u32) -> &[Entry] {
        self.columns.get(number as usize).map_or(&[], Vec::as_slice)
    }

    /// Puts an entry at its place; false when there is no such place.
    pub fn set(&mut self, number: u32, index: u64, entry: Entry) -> bool {
        let column = self.columns.get_mut(number as usize);
        let place = column.and_then(|column| column.get_mut(usize::try_from(index).ok()?));
        place.map(|place| *place = entry).is_some()
    }

    /// Gives records without a time the time of the one before, so that times still never decrease.
    pub fn carry_times(&mut self) {
        for column in &mut self.columns {
            let mut last = i64::MIN;
            for entry in column {
                last = last.max(entry.time);
                entry.time = last;
            }
        }
    }

    /// The content of the sidecar of that segment.
    pub fn encode(&self, sequence: u64, segment_length: u64) -> Vec<u8> {
        let count: usize = self.columns.iter().map(Vec::len).sum();
        let mut bytes = Vec::with_capacity(HEADER_BYTES as usize + count * ENTRY_BYTES as usize + 4);
        bytes.extend_from_slice(&sidecar_header(sequence, segment_length));
        for entry in self.columns.iter().flatten() {
            bytes.extend_from_slice(&entry.position.to_le_bytes());
            bytes.extend_from_slice(&entry.length.to_le_bytes());
            bytes.extend_from_slice(&entry.time.to_le_bytes());
        }
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }
}

fn sidecar_header(sequence: u64, segment_length: u64) -> Vec<u8> {
    [&MAGIC[..], &VERSION.to_le_bytes(), &sequence.to_le_bytes(), &segment_length.to_le_bytes()].concat()
}

/// Whether the file is the undamaged sidecar of that segment with that many records. Reads all of it.
pub(super) fn verify_sidecar(
    file: &dyn DiskFile,
    sequence: u64,
    segment_length: u64,
    records: u64,
) -> io::Result<bool> {
    let length = HEADER_BYTES + records * ENTRY_BYTES + 4;
    if file.length()? != length {
        return Ok(false);
    }
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes.starts_with(&sidecar_header(sequence, segment_length)) && format::checked(&bytes).is_some())
}

/// The entries of one topic-partition in one segment, wherever they are.
pub(super) enum Column {
    Memory { index: Arc<Index>, number: u32 },
    Sidecar { file: Arc<dyn DiskFile>, entries_before: u64, count: u64 },
}

impl Column {
    /// Up to `count` entries from that one on.
    pub fn entries(&self, from: u64, count: usize) -> io::Result<Vec<Entry>> {
        match self {
            Self::Memory { index, number } => {
                let column = index.column(*number);
                Ok(column.iter().skip(from as usize).take(count).copied().collect())
            }
            Self::Sidecar { file, entries_before, count: there } => {
                let count = there.saturating_sub(from).min(count as u64);
                let mut bytes = vec![0; (count * ENTRY_BYTES) as usize];
                file.read_exact_at(&mut bytes, HEADER_BYTES + (entries_before + from) * ENTRY_BYTES)?;
                Ok(bytes.chunks_exact(ENTRY_BYTES as usize).filter_map(decode_entry).collect())
            }
        }
    }

    /// The first entry with that time or a later one; the number of entries when there is none.
    pub fn first_at(&self, time: i64) -> io::Result<u64> {
        match self {
            Self::Memory { index, number } => Ok(first_at(index.column(*number), time)),
            Self::Sidecar { count, .. } => {
                let (mut low, mut high) = (0, *count);
                while low < high {
                    let middle = low + (high - low) / 2;
                    let early = self.entries(middle, 1)?.first().is_some_and(|entry| entry.time < time);
                    (low, high) = if early { (middle + 1, high) } else { (low, middle) };
                }
                Ok(low)
            }
        }
    }
}

/// The first entry with that time or a later one.
pub(super) fn first_at(column: &[Entry], time: i64) -> u64 {
    column.partition_point(|entry| entry.time < time) as u64
}

fn decode_entry(bytes: &[u8]) -> Option<Entry> {
    let mut reader = Reader(bytes);
    Some(Entry { position: reader.u32()?, length: reader.u32()?, time: reader.i64()? })
}
