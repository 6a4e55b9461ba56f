//! Reading: find the segment, take entries from its index, read frames in few calls, check every one.

use std::io;

use bytes::Bytes;
use model::Timestamp;

use super::{
    Shared,
    disk::DiskFile,
    format::{FRAME_BYTES, Frame},
    index::Entry,
    journal::Located,
    segment::segment_name,
};
use crate::{Offset, ReadError, ReadLimit, Start, Stored};

/// Entries looked at in one step.
const STEP_RECORDS: usize = 4096;
/// Frames closer than this are read with one call …
const GAP_BYTES: u64 = 16 << 10;
/// … of at most about this size.
const CALL_BYTES: u64 = 256 << 10;

/// Durable records from `from` on. Blocks on the disk.
pub(super) fn read(shared: &Shared, number: u32, from: Offset, limit: ReadLimit) -> Result<Vec<Stored>, ReadError> {
    let mut found = Vec::new();
    let mut left = ReadLimit { records: limit.records.max(1), bytes: limit.bytes };
    loop {
        let next = from + found.len() as u64;
        let before = found.len();
        match step(shared, number, next, left, &mut found) {
            Err(_) if !found.is_empty() => return Ok(found), // the next read starts there and tells
            Err(error) => return Err(error),
            Ok(()) if found.len() == before => return Ok(found),
            Ok(()) => {}
        }
        let bytes: usize = found[before..].iter().map(|stored| stored.record.len()).sum();
        left.records -= found.len() - before;
        left.bytes = left.bytes.saturating_sub(bytes);
        if left.records == 0 || left.bytes == 0 {
            return Ok(found);
        }
    }
}

/// Reads on in the segment that holds the offset.
fn step(
    shared: &Shared,
    number: u32,
    offset: Offset,
    limit: ReadLimit,
    found: &mut Vec<Stored>,
) -> Result<(), ReadError> {
    let records = limit.records.min(STEP_RECORDS);
    let located = shared.journal.read().locate(number, offset, records)?;
    let read = match located {
        Located::Beyond => return Ok(()),
        Located::Active(file, entries) => fetch(&*file, number, offset, within(&entries, limit, found), found),
        Located::Sealed(sealed) => sealed
            .column(&*shared.disk, number)
            .and_then(|column| column.entries(offset - sealed.base(number).next, records))
            .and_then(|entries| {
                let file = shared.disk.open(&segment_name(sealed.sequence))?;
                fetch(&*file, number, offset, within(&entries, limit, found), found)
            }),
    };
    read.map_err(|error| trimmed_or(shared, number, offset, &error))
}

/// The entries that the limit lets through; at least one record is read.
fn within<'a>(entries: &'a [Entry], limit: ReadLimit, found: &[Stored]) -> &'a [Entry] {
    let mut bytes = 0_usize;
    let fits = entries.iter().take_while(|entry| {
        bytes += entry.length as usize;
        bytes <= limit.bytes
    });
    let least = usize::from(found.is_empty());
    &entries[..fits.count().max(least).min(entries.len())]
}

/// Retention may take a segment away while it is read.
fn trimmed_or(shared: &Shared, number: u32, wanted: Offset, error: &io::Error) -> ReadError {
    let earliest = shared.journal.read().earliest(number);
    if wanted < earliest {
        return ReadError::Trimmed { wanted, earliest };
    }
    ReadError::Unavailable(error.to_string())
}

/// Reads the frames; stops with an error at the first damaged one, keeping those before it.
fn fetch(
    file: &dyn DiskFile,
    number: u32,
    first: Offset,
    entries: &[Entry],
    found: &mut Vec<Stored>,
) -> io::Result<()> {
    let mut offset = first;
    let mut buffer = Vec::new();
    for run in entries.chunk_by(near) {
        let mut rest = run;
        while let Some(start) = rest.first() {
            let count = rest.iter().take_while(|entry| end(entry) - u64::from(start.position) <= CALL_BYTES).count();
            let (call, after) = rest.split_at(count.max(1));
            rest = after;
            let before = found.len();
            if fetch_call(file, number, &mut offset, call, &mut buffer, found).is_err() {
                // one by one, so that one unreadable place costs no other record
                for entry in &call[found.len() - before..] {
                    fetch_call(file, number, &mut offset, std::slice::from_ref(entry), &mut buffer, found)?;
                }
            }
        }
    }
    Ok(())
}

fn fetch_call(
    file: &dyn DiskFile,
    number: u32,
    offset: &mut Offset,
    call: &[Entry],
    buffer: &mut Vec<u8>,
    found: &mut Vec<Stored>,
) -> io::Result<()> {
    let (Some(start), Some(last)) = (call.first(), call.last()) else { return Ok(()) };
    if start.position == 0 {
        return Err(damaged(*offset));
    }
    buffer.resize((end(last) - u64::from(start.position)) as usize, 0);
    file.read_exact_at(buffer, u64::from(start.position))?;
    for entry in call {
        let frame = buffer.get((entry.position - start.position) as usize..).map(Frame::decode);
        match frame {
            Some(Ok(frame)) if frame.number == number && frame.offset == *offset => found.push(Stored {
                offset: *offset,
                time: Timestamp::from_unix_microseconds(frame.time),
                record: Bytes::copy_from_slice(frame.record),
            }),
            _ => return Err(damaged(*offset)),
        }
        *offset += 1;
    }
    Ok(())
}

fn end(entry: &Entry) -> u64 {
    u64::from(entry.position) + FRAME_BYTES as u64 + u64::from(entry.length)
}

/// Whether one call may read both; never across an unreadable record.
fn near(a: &Entry, b: &Entry) -> bool {
    a.position != 0 && b.position != 0 && end(a) <= u64::from(b.position) && u64::from(b.position) - end(a) <= GAP_BYTES
}

fn damaged(offset: Offset) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the record at offset {offset} is damaged"))
}

/// The offset at which a reader starts. Blocks on the disk.
pub(super) fn find(shared: &Shared, number: u32, start: Start) -> Result<Offset, ReadError> {
    let journal = shared.journal.read();
    let time = match start {
        Start::Earliest => return Ok(journal.earliest(number)),
        Start::Latest => return Ok(journal.tail(number).next),
        Start::Offset(offset) => return Ok(offset.max(journal.earliest(number))),
        Start::Time(time) => time.unix_microseconds(),
    };
    let sealed = match journal.locate_time(number, time) {
        Ok(sealed) => sealed,
        Err(offset) => return Ok(offset),
    };
    drop(journal);
    let base = sealed.base(number).next;
    match sealed.column(&*shared.disk, number).and_then(|column| column.first_at(time)) {
        Ok(place) => Ok(base + place),
        Err(error) => match trimmed_or(shared, number, base, &error) {
            ReadError::Trimmed { .. } => find(shared, number, start),
            error => Err(error),
        },
    }
}
