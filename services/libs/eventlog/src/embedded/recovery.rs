//! Opening: read the headers of all segments, read the last segment through, cut what is torn, sync, serve.
//!
//! Only the last segment can have a torn tail: a segment is followed by another only once it is complete, and the one
//! that follows says where it ends.

use std::{collections::VecDeque, io, sync::Arc};

use super::{
    OpenError,
    disk::{Disk, DiskFile},
    durable_mark,
    format::{FRAME_BYTES, Frame, HEADER_PROBE_BYTES, SegmentHeader, Tail, tail, tail_mut},
    index::Index,
    journal::Journal,
    segment::{Active, Damage, Sealed, entry_of, scan, segment_name},
};

/// The journal as it lies on the disk, and the newest time in it. `partitions`: of all topics.
pub(super) fn recover(disk: &dyn Disk, names: &[String], partitions: u32) -> Result<(Journal, i64), OpenError> {
    let sequences = sequences(names)?;
    remove_orphans(disk, names, &sequences);
    let mut headers = VecDeque::new();
    for sequence in sequences {
        headers.push_back(read_header(disk, sequence)?);
    }
    let mut sealed = VecDeque::new();
    let last = loop {
        match (headers.pop_front(), headers.front()) {
            (Some(header), Some(next)) => sealed.push_back(Arc::new(Sealed::found(header, next))),
            (last, _) => break last,
        }
    };
    let Some(header) = last else {
        durable_mark::forget(disk);
        let header = SegmentHeader { sequence: 1, previous_length: 0, last_time: i64::MIN, tails: Vec::new() };
        let active = Active::create(disk, header).map_err(|error| failed(1, error))?;
        return Ok((Journal { sealed, active, tails: Vec::new() }, i64::MIN));
    };
    let (active, tails, last_time) = recover_last(disk, header, partitions)?;
    Ok((Journal { sealed, active, tails }, last_time))
}

/// Reads the last segment through and cuts its torn tail.
fn recover_last(
    disk: &dyn Disk,
    header: SegmentHeader,
    partitions: u32,
) -> Result<(Active, Vec<Tail>, i64), OpenError> {
    let sequence = header.sequence;
    let failed = |error| failed(sequence, error);
    let file = disk.open(&segment_name(sequence)).map_err(failed)?;
    let start = header.encode().len() as u64;
    let (mut tails, mut last_time) = (header.tails.clone(), header.last_time);
    let (mut index, mut first_time) = (Index::default(), None);
    let end = file.length().map_err(failed)?;
    let accept = |position, frame: Frame<'_>| {
        let fits = frame.number < partitions
            && frame.offset == tail(&tails, frame.number).next
            && frame.time >= last_time
            && u32::try_from(position + FRAME_BYTES as u64).is_ok();
        if fits {
            index.push(frame.number, entry_of(position, &frame));
            *tail_mut(&mut tails, frame.number) = Tail { next: frame.offset + 1, last_time: frame.time };
            last_time = frame.time;
            first_time.get_or_insert(frame.time);
        }
        fits
    };
    let length = scan(&*file, start, end, Damage::Stop, accept).map_err(failed)?;
    durable_mark::write_again(disk, &*file, sequence, start, length).map_err(failed)?;
    cut(&*file, sequence, length, end).map_err(failed)?;
    let active = Active { sequence, file, base: header.tails, length, index, first_time };
    Ok((active, tails, last_time))
}

/// What is there becomes durable before anyone reads it: a killed process may have left records that were never synced,
/// or whose sync failed.
fn cut(file: &dyn DiskFile, sequence: u64, length: u64, end: u64) -> io::Result<()> {
    if length < end {
        tracing::warn!(segment = sequence, length, cut_bytes = end - length, "cutting the torn tail of the event log");
        file.set_length(length)?;
    }
    file.sync()
}

/// The sequence numbers there are, oldest first, without a hole.
fn sequences(names: &[String]) -> Result<Vec<u64>, OpenError> {
    let number = |name: &String| name.strip_suffix(".segment").and_then(|number| number.parse::<u64>().ok());
    let mut sequences: Vec<u64> = names.iter().filter_map(number).collect();
    sequences.sort_unstable();
    match sequences.windows(2).find(|pair| pair[0] + 1 != pair[1]) {
        Some(hole) => Err(OpenError::Damaged(segment_name(hole[0] + 1), "it is missing")),
        None => Ok(sequences),
    }
}

/// Sidecars whose segment retention has removed, and what a probe left.
fn remove_orphans(disk: &dyn Disk, names: &[String], sequences: &[u64]) {
    for name in names {
        let sidecar = name.strip_suffix(".index").map(|number| number.parse::<u64>());
        let orphan = sidecar.is_some_and(|number| number.is_ok_and(|number| !sequences.contains(&number)));
        if orphan || name == super::writer::PROBE {
            let _ = disk.remove(name); // it is in nobody's way
        }
    }
}

fn read_header(disk: &dyn Disk, sequence: u64) -> Result<SegmentHeader, OpenError> {
    let name = segment_name(sequence);
    let failed = |error| failed(sequence, error);
    let file = disk.open(&name).map_err(failed)?;
    let available = file.length().map_err(failed)?;
    let mut bytes = vec![0; HEADER_PROBE_BYTES.min(available as usize)];
    file.read_exact_at(&mut bytes, 0).map_err(failed)?;
    let length = SegmentHeader::length(&bytes).filter(|length| *length as u64 <= available);
    let Some(length) = length else {
        return Err(OpenError::Damaged(name, "it does not begin with the header of a segment of this version"));
    };
    bytes.resize(length, 0);
    file.read_exact_at(&mut bytes, 0).map_err(failed)?;
    let header = SegmentHeader::decode(&bytes).filter(|header| header.sequence == sequence);
    header.ok_or(OpenError::Damaged(name, "its header is damaged"))
}

fn failed(sequence: u64, error: io::Error) -> OpenError {
    OpenError::Disk(segment_name(sequence), error)
}
