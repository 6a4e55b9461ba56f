//! How much of the active segment is known to be durable.
//!
//! After a failed sync a file shows what the disk never got, even to the next process, whose own sync would succeed
//! without writing it. So what is read at start is written again before it is believed; the mark says from where on.

use std::io;

use super::{
    disk::{Disk, DiskFile, Durability},
    format::checked,
};

/// File name of the mark. It is not synced: an old one costs time, a lost one more of it.
const MARK: &str = "durable";
/// A new mark is made after so many bytes: at most so many, and the last commit, are written again at start.
const EVERY_BYTES: u64 = 1 << 20;
/// Bytes written again at a time.
const CHUNK_BYTES: u64 = 1 << 20;

/// The last mark of the segment that is written to.
pub(super) struct DurableMark {
    position: u64,
}

impl DurableMark {
    /// For a segment whose first bytes, up to the position, need no mark.
    pub fn new(position: u64) -> Self {
        Self { position }
    }

    /// Notes, now and then, that a sync covered the segment up to there.
    pub fn advance(&mut self, disk: &dyn Disk, sequence: u64, position: u64) {
        if position >= self.position + EVERY_BYTES {
            self.set(disk, sequence, position);
        }
    }

    /// Notes it in any case, when it is news.
    pub fn finish(&mut self, disk: &dyn Disk, sequence: u64, position: u64) {
        if position > self.position {
            self.set(disk, sequence, position);
        }
    }

    fn set(&mut self, disk: &dyn Disk, sequence: u64, position: u64) {
        let mut bytes = [sequence.to_le_bytes(), position.to_le_bytes()].concat();
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        // Without a mark more is written again.
        let _ = disk.replace(MARK, &bytes, Durability::Unsynced);
        self.position = position;
    }
}

/// Forgets the mark of a journal that is not there any more.
pub(super) fn forget(disk: &dyn Disk) {
    let _ = disk.remove(MARK); // most often there is none
}

/// Writes what lies in `start..length` of the segment again, as far as no mark vouches for it; the caller syncs.
pub(super) fn write_again(
    disk: &dyn Disk,
    file: &dyn DiskFile,
    sequence: u64,
    start: u64,
    length: u64,
) -> io::Result<()> {
    let marked = load(disk).filter(|(of, position)| *of == sequence && *position <= length);
    let mut position = marked.map_or(start, |(_, position)| position.max(start));
    let mut chunk = Vec::new();
    while position < length {
        chunk.resize((length - position).min(CHUNK_BYTES) as usize, 0);
        file.read_exact_at(&mut chunk, position)?;
        file.write_all_at(&chunk, position)?;
        position += chunk.len() as u64;
    }
    Ok(())
}

/// Sequence number and position, when the mark is whole.
fn load(disk: &dyn Disk) -> Option<(u64, u64)> {
    let mut bytes = [0; 20];
    disk.open(MARK).ok()?.read_exact_at(&mut bytes, 0).ok()?;
    let (sequence, position) = checked(&bytes)?.split_at_checked(8)?;
    Some((u64::from_le_bytes(sequence.try_into().ok()?), u64::from_le_bytes(position.try_into().ok()?)))
}
