//! The bytes of a segment: its header and its frames. All numbers are little-endian.
//!
//! ```text
//! header   magic 8 | version u32 | header length u32 | sequence u64 | length of the segment before u64 | last time i64
//!          | count u32 | count x (next offset u64, last time i64), by topic-partition number | crc32c u32
//! frame    record length u32 | crc32c u32 of everything else | topic-partition number u32 | offset u64 | time i64
//!          | record
//! ```
//!
//! A change of meaning gets a new version; a reader refuses versions it does not know.

use crate::Offset;

const MAGIC: &[u8; 8] = b"IHEVENTS";
const VERSION: u32 = 1;
const FIXED_BYTES: usize = 44;
const TAIL_BYTES: usize = 16;

/// Bytes of a frame in front of its record.
pub(super) const FRAME_BYTES: usize = 28;
/// Enough of a segment's start to know the length of its header.
pub(super) const HEADER_PROBE_BYTES: usize = 16;

/// How far a topic-partition has come: the offset its next record gets, and the time of its last one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tail {
    pub next: Offset,
    /// Microseconds since 1970; meaningless while `next` is 0.
    pub last_time: i64,
}

/// The tail of a topic-partition; those beyond the end have no record yet.
pub(super) fn tail(tails: &[Tail], number: u32) -> Tail {
    tails.get(number as usize).copied().unwrap_or_default()
}

/// The tail of a topic-partition, to be moved on.
pub(super) fn tail_mut(tails: &mut Vec<Tail>, number: u32) -> &mut Tail {
    let index = number as usize;
    if tails.len() <= index {
        tails.resize(index + 1, Tail::default());
    }
    &mut tails[index]
}

/// What a segment says about everything before it; so the newest segment alone tells all offsets, even when retention
/// has removed every record of a topic-partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// 1, 2, 3 …; also in the file's name.
    pub sequence: u64,
    /// Where the segment before ends. What lies behind that was never acknowledged.
    pub previous_length: u64,
    /// Newest time in the log before this segment.
    pub last_time: i64,
    /// By topic-partition number.
    pub tails: Vec<Tail>,
}

impl SegmentHeader {
    pub fn encode(&self) -> Vec<u8> {
        let length = FIXED_BYTES + self.tails.len() * TAIL_BYTES + 4;
        let mut bytes = Vec::with_capacity(length);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&(length as u32).to_le_bytes());
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.extend_from_slice(&self.previous_length.to_le_bytes());
        bytes.extend_from_slice(&self.last_time.to_le_bytes());
        bytes.extend_from_slice(&(self.tails.len() as u32).to_le_bytes());
        for tail in &self.tails {
            bytes.extend_from_slice(&tail.next.to_le_bytes());
            bytes.extend_from_slice(&tail.last_time.to_le_bytes());
        }
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Length of the header, from its first [`HEADER_PROBE_BYTES`] bytes. None: not a segment of this version.
    pub fn length(probe: &[u8]) -> Option<usize> {
        let mut reader = Reader(probe);
        (reader.take(8)? == MAGIC && reader.u32()? == VERSION).then_some(())?;
        let length = reader.u32()? as usize;
        (length >= FIXED_BYTES + 4).then_some(length)
    }

    /// Reads a whole header. None: damaged.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(checked(bytes)?);
        reader.take(HEADER_PROBE_BYTES)?;
        let (sequence, previous_length, last_time) = (reader.u64()?, reader.u64()?, reader.i64()?);
        let count = reader.u32()? as usize;
        let mut tails = Vec::with_capacity(count.min(reader.0.len() / TAIL_BYTES));
        for _ in 0..count {
            tails.push(Tail { next: reader.u64()?, last_time: reader.i64()? });
        }
        reader.0.is_empty().then_some(Self { sequence, previous_length, last_time, tails })
    }
}

/// The content in front of a trailing crc32c, when that is right.
pub(super) fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let (content, crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    (crc32c::crc32c(content).to_le_bytes() == crc).then_some(content)
}

/// One record as it lies in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub number: u32,
    pub offset: Offset,
    pub time: i64,
    pub record: &'a [u8],
}

/// Why there is no frame at the front of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameError {
    /// It would be this long.
    Incomplete(usize),
    /// Its checksum is wrong; it claims to be this long.
    Corrupt(usize),
}

impl<'a> Frame<'a> {
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        let start = buffer.len();
        let length = (self.record.len() as u32).to_le_bytes();
        buffer.extend_from_slice(&length);
        buffer.extend_from_slice(&[0; 4]);
        buffer.extend_from_slice(&self.number.to_le_bytes());
        buffer.extend_from_slice(&self.offset.to_le_bytes());
        buffer.extend_from_slice(&self.time.to_le_bytes());
        buffer.extend_from_slice(self.record);
        let crc = frame_crc(&length, &buffer[start + 8..]);
        buffer[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    }

    /// The frame at the front of `bytes`; what follows it does not matter.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let incomplete = FrameError::Incomplete(FRAME_BYTES);
        let (length_bytes, rest) = bytes.split_first_chunk::<4>().ok_or(incomplete)?;
        let (crc, rest) = rest.split_first_chunk::<4>().ok_or(incomplete)?;
        let whole = FRAME_BYTES + u32::from_le_bytes(*length_bytes) as usize;
        let content = rest.get(..whole - 8).ok_or(FrameError::Incomplete(whole))?;
        if frame_crc(length_bytes, content).to_le_bytes() != *crc {
            return Err(FrameError::Corrupt(whole));
        }
        let mut reader = Reader(content);
        let fields = || Some((reader.u32()?, reader.u64()?, reader.i64()?, reader.0));
        let (number, offset, time, record) = { fields }().ok_or(FrameError::Corrupt(whole))?;
        Ok(Self { number, offset, time, record })
    }
}

fn frame_crc(length: &[u8; 4], content: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(length), content)
}

/// Takes numbers off the front of bytes.
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failure is the test's failure")]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_and_any_flipped_bit_is_seen() {
        let tails = vec![Tail { next: 7, last_time: -1 }, Tail::default()];
        let header = SegmentHeader { sequence: 3, previous_length: 99, last_time: 5, tails };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::length(&bytes), Some(bytes.len()));
        assert_eq!(SegmentHeader::decode(&bytes).unwrap(), header);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&damaged), None);
        }
    }

    #[test]
    fn a_frame_survives_and_any_flipped_bit_is_seen() {
        let frame = Frame { number: 2, offset: 1 << 40, time: -3, record: b"hello" };
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        assert_eq!(bytes.len(), FRAME_BYTES + 5);
        assert_eq!(Frame::decode(&bytes).unwrap(), frame);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Frame::decode(&damaged).is_err());
        }
        for length in 0..bytes.len() {
            assert!(matches!(Frame::decode(&bytes[..length]), Err(FrameError::Incomplete(_))));
        }
    }

    #[test]
    fn a_page_of_zeros_is_no_frame() {
        assert_eq!(Frame::decode(&[0; 4096]), Err(FrameError::Corrupt(FRAME_BYTES)));
    }
}
