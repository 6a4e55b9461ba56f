//! Segments: the active one, which grows, and sealed ones, which only retention touches again.

use std::{io, sync::Arc};

use parking_lot::Mutex;

use super::{
    disk::{Disk, DiskFile, Durability},
    format::{FRAME_BYTES, Frame, FrameError, SegmentHeader, Tail, tail},
    index::{self, Column, Entry, Index},
};

/// Bytes read at once when a segment is read through.
const SCAN_BYTES: usize = 1 << 20;

/// File name of a segment.
pub(super) fn segment_name(sequence: u64) -> String {
    format!("{sequence:020}.segment")
}

/// File name of the sidecar of a segment.
pub(super) fn sidecar_name(sequence: u64) -> String {
    format!("{sequence:020}.index")
}

/// The segment that takes appends.
#[derive(Debug)]
pub(super) struct Active {
    pub sequence: u64,
    pub file: Arc<dyn DiskFile>,
    /// Tails of all topic-partitions at its start.
    pub base: Vec<Tail>,
    /// Durable bytes.
    pub length: u64,
    pub index: Index,
    /// Time of its first record.
    pub first_time: Option<i64>,
}

impl Active {
    /// Makes an empty segment; it is there, durably, when this returns.
    pub fn create(disk: &dyn Disk, header: SegmentHeader) -> io::Result<Self> {
        let name = segment_name(header.sequence);
        let bytes = header.encode();
        disk.replace(&name, &bytes, Durability::Synced)?;
        let (file, length) = (disk.open(&name)?, bytes.len() as u64);
        let SegmentHeader { sequence, tails: base, .. } = header;
        Ok(Self { sequence, file, base, length, index: Index::default(), first_time: None })
    }

    /// Becomes sealed; `end` is where all topic-partitions are now.
    pub fn seal(self, end: Vec<Tail>) -> Sealed {
        let index = Mutex::new(IndexPlace::Memory(Arc::new(self.index)));
        Sealed { sequence: self.sequence, length: self.length, base: self.base, end, index }
    }
}

/// A segment that does not change any more.
#[derive(Debug)]
pub(super) struct Sealed {
    pub sequence: u64,
    /// Bytes of it that count; the file may be longer when its last write failed.
    pub length: u64,
    base: Vec<Tail>,
    end: Vec<Tail>,
    index: Mutex<IndexPlace>,
}

#[derive(Debug)]
enum IndexPlace {
    Memory(Arc<Index>),
    /// In the sidecar, if that is there and undamaged.
    Unverified,
    Sidecar,
}

impl Sealed {
    /// A segment found at start; its sidecar is looked at when it is needed.
    pub fn found(header: SegmentHeader, next: &SegmentHeader) -> Self {
        let index = Mutex::new(IndexPlace::Unverified);
        let (length, end) = (next.previous_length, next.tails.clone());
        Self { sequence: header.sequence, length, base: header.tails, end, index }
    }

    /// Of a topic-partition, before this segment.
    pub fn base(&self, number: u32) -> Tail {
        tail(&self.base, number)
    }

    /// Of a topic-partition, behind this segment.
    pub fn end(&self, number: u32) -> Tail {
        tail(&self.end, number)
    }

    /// Time of its newest record; None when it has no record at all.
    pub fn newest_time(&self) -> Option<i64> {
        let grown = (0..self.end.len() as u32).filter(|number| self.count(*number) > 0);
        grown.map(|number| self.end(number).last_time).max()
    }

    fn count(&self, number: u32) -> u64 {
        self.end(number).next.saturating_sub(self.base(number).next)
    }

    fn records(&self) -> u64 {
        (0..self.end.len() as u32).map(|number| self.count(number)).sum()
    }

    /// The entries of a topic-partition; makes the sidecar again when it is missing or damaged.
    pub fn column(&self, disk: &dyn Disk, number: u32) -> io::Result<Column> {
        let mut place = self.index.lock();
        let sidecar = match &*place {
            IndexPlace::Memory(_) => None,
            IndexPlace::Sidecar => disk.open(&sidecar_name(self.sequence)).ok(),
            IndexPlace::Unverified => self.verified_sidecar(disk),
        };
        if let Some(file) = sidecar {
            *place = IndexPlace::Sidecar;
            let entries_before = (0..number).map(|number| self.count(number)).sum();
            return Ok(Column::Sidecar { file, entries_before, count: self.count(number) });
        }
        let index = match &*place {
            IndexPlace::Memory(index) => index.clone(),
            _ => Arc::new(self.rebuild(disk)?),
        };
        *place = self.write_sidecar(disk, &index);
        Ok(Column::Memory { index, number })
    }

    /// Moves the index out of memory.
    pub fn store_sidecar(&self, disk: &dyn Disk) {
        let mut place = self.index.lock();
        if let IndexPlace::Memory(index) = &*place {
            *place = self.write_sidecar(disk, &index.clone());
        }
    }

    /// When the sidecar cannot be written the index stays in memory.
    fn write_sidecar(&self, disk: &dyn Disk, index: &Arc<Index>) -> IndexPlace {
        let content = index.encode(self.sequence, self.length);
        match disk.replace(&sidecar_name(self.sequence), &content, Durability::Unsynced) {
            Ok(()) => IndexPlace::Sidecar,
            Err(_) => IndexPlace::Memory(index.clone()),
        }
    }

    fn verified_sidecar(&self, disk: &dyn Disk) -> Option<Arc<dyn DiskFile>> {
        let file = disk.open(&sidecar_name(self.sequence)).ok()?;
        let good = index::verify_sidecar(&*file, self.sequence, self.length, self.records());
        good.is_ok_and(|good| good).then_some(file)
    }

    /// Reads the segment through. Records whose frames are damaged stay unreadable.
    fn rebuild(&self, disk: &dyn Disk) -> io::Result<Index> {
        tracing::info!(segment = self.sequence, "making the index of a sealed event log segment again");
        let file = disk.open(&segment_name(self.sequence))?;
        let mut index = Index::unreadable((0..self.end.len() as u32).map(|number| self.count(number)));
        let mut found = 0;
        let (start, end) = (self.header_length(), self.length.min(file.length()?));
        scan(&*file, start, end, Damage::Skip, |position, frame| {
            let entry = entry_of(position, &frame);
            let base = self.base(frame.number).next;
            let place = frame.offset.checked_sub(base);
            found += u64::from(place.is_some_and(|place| index.set(frame.number, place, entry)));
            true
        })?;
        if found < self.records() {
            let lost = self.records() - found;
            tracing::error!(segment = self.sequence, lost, "records of a sealed event log segment are damaged");
        }
        index.carry_times();
        Ok(index)
    }

    fn header_length(&self) -> u64 {
        let (sequence, tails) = (self.sequence, self.base.clone());
        SegmentHeader { sequence, previous_length: 0, last_time: 0, tails }.encode().len() as u64
    }
}

/// The index entry of a frame at that position.
pub(super) fn entry_of(position: u64, frame: &Frame<'_>) -> Entry {
    Entry { position: position as u32, length: frame.record.len() as u32, time: frame.time }
}

/// What to do about a frame with a wrong checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// End there.
    Stop,
    /// Trust its length and go on behind it.
    Skip,
}

/// Visits the frames in `start..end` with their positions until one is damaged, or cut short, or `visit` says false.
/// Returns where it stopped.
pub(super) fn scan(
    file: &dyn DiskFile,
    start: u64,
    end: u64,
    damage: Damage,
    mut visit: impl FnMut(u64, Frame<'_>) -> bool,
) -> io::Result<u64> {
    let mut window = vec![0; SCAN_BYTES];
    let mut position = start;
    let (mut first, mut filled) = (start, 0); // the window holds first..first + filled
    while position < end {
        let bytes = &window[(position - first) as usize..filled];
        match Frame::decode(bytes) {
            Ok(frame) if visit(position, frame) => position += (FRAME_BYTES + frame.record.len()) as u64,
            Ok(_) => return Ok(position),
            Err(FrameError::Corrupt(length)) if damage == Damage::Skip => position += length as u64,
            Err(FrameError::Corrupt(_)) => return Ok(position),
            Err(FrameError::Incomplete(length)) => {
                let available = end - position;
                if length as u64 > available {
                    return Ok(position);
                }
                let wanted = available.min(length.max(SCAN_BYTES) as u64) as usize;
                window.resize(wanted.max(SCAN_BYTES), 0);
                file.read_exact_at(&mut window[..wanted], position)?;
                (first, filled) = (position, wanted);
            }
        }
    }
    Ok(position)
}
