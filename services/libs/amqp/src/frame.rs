//! Frames and protocol headers (AMQP 1.0 §2.2, §2.3): how the byte stream is cut.

/// Announces AMQP 1.0 without layers.
pub const AMQP_HEADER: [u8; 8] = *b"AMQP\x00\x01\x00\x00";

/// Announces AMQP 1.0 behind SASL.
pub const SASL_HEADER: [u8; 8] = *b"AMQP\x03\x01\x00\x00";

/// Bytes of a frame's fixed header.
pub const FRAME_HEADER_BYTES: usize = 8;

/// What every peer can take, before anything was negotiated.
pub const FRAME_BYTES_MIN: u32 = 512;

/// Whom a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    Amqp = 0,
    Sasl = 1,
}

/// The fixed header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Bytes, header included.
    pub size: usize,
    /// Where the body begins: an extended header, which nobody gives a meaning, is skipped.
    pub body_offset: usize,
    pub kind: FrameKind,
    pub channel: u16,
}

/// A frame that cannot be followed; nor can what comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of {size} bytes, more than the limit of {max}")]
    TooLarge { size: u32, max: u32 },
    #[error("a frame of {0} bytes, less than its own header")]
    TooSmall(u32),
    #[error("the body of a frame would begin at byte {0}")]
    DataOffset(usize),
    #[error("frame type {0} is unknown")]
    Kind(u8),
}

impl FrameHeader {
    /// Reads the header of a frame of at most `size_max` bytes.
    pub fn decode(bytes: [u8; FRAME_HEADER_BYTES], size_max: u32) -> Result<Self, FrameError> {
        let [s0, s1, s2, s3, offset, kind, c0, c1] = bytes;
        let size = u32::from_be_bytes([s0, s1, s2, s3]);
        if size > size_max {
            return Err(FrameError::TooLarge { size, max: size_max });
        }
        if (size as usize) < FRAME_HEADER_BYTES {
            return Err(FrameError::TooSmall(size));
        }
        let body_offset = usize::from(offset) * 4;
        if !(FRAME_HEADER_BYTES..=size as usize).contains(&body_offset) {
            return Err(FrameError::DataOffset(body_offset));
        }
        let kind = match kind {
            0 => FrameKind::Amqp,
            1 => FrameKind::Sasl,
            other => return Err(FrameError::Kind(other)),
        };
        Ok(Self { size: size as usize, body_offset, kind, channel: u16::from_be_bytes([c0, c1]) })
    }
}

/// Appends a frame whose body `write` writes.
pub fn put_frame(kind: FrameKind, channel: u16, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    let [c0, c1] = channel.to_be_bytes();
    out.extend_from_slice(&[0, 0, 0, 0, 2, kind as u8, c0, c1]);
    write(out);
    let size = (out.len() - start) as u32;
    if let Some(header) = out.get_mut(start..start + 4) {
        header.copy_from_slice(&size.to_be_bytes());
    }
}
