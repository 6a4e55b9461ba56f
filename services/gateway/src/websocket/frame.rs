//! Frames as a server reads and writes them (RFC 6455 §5), without IO.
//!
//! The payload of binary frames is handed on as it comes: neither a frame nor a message is ever held as a whole.

/// Bytes of one message, all its fragments together. Nothing is held for it; no client sends a packet of this size.
pub const MESSAGE_BYTES_MAX: u64 = 1024 * 1024;
/// Bytes of a control frame's payload (RFC 6455 §5.5).
const CONTROL_BYTES_MAX: u64 = 125;

const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

/// Whether more can come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Open,
    /// The peer said goodbye, with the status code to answer when it gave a valid one.
    Closed(Option<u16>),
}

/// What the peer must not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    #[error("a WebSocket frame that RFC 6455 does not allow: {0}")]
    Protocol(&'static str),
    #[error("a WebSocket text frame; only binary ones are spoken")]
    Text,
    #[error("a WebSocket message of more than {MESSAGE_BYTES_MAX} bytes")]
    TooLarge,
}

impl Violation {
    /// The status code of the close frame that answers it (RFC 6455 §7.4.1).
    pub fn status_code(self) -> u16 {
        match self {
            Self::Protocol(_) => 1002,
            Self::Text => 1003,
            Self::TooLarge => 1009,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opcode {
    Continuation,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn parse(bits: u8) -> Result<Self, Violation> {
        match bits {
            0x0 => Ok(Self::Continuation),
            0x1 => Err(Violation::Text),
            0x2 => Ok(Self::Binary),
            0x8 => Ok(Self::Close),
            0x9 => Ok(Self::Ping),
            0xa => Ok(Self::Pong),
            _ => Err(Violation::Protocol("an unknown opcode")),
        }
    }

    fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }

    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }
}

/// A frame whose header was read.
#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: Opcode,
    is_final: bool,
    /// Bytes of the payload that are still to come.
    left: u64,
    /// Turned so that its first byte belongs to the next one.
    mask: [u8; 4],
}

/// Reads what one client sends.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The beginning of a header.
    begun: Vec<u8>,
    frame: Option<Frame>,
    /// Payload of a control frame so far.
    control: Vec<u8>,
    /// Bytes of a message whose last frame is still to come.
    message_bytes: Option<u64>,
}

impl Decoder {
    /// Takes bytes as they come. Appends payload to `data` and the answers to pings to `out`. Bytes behind a goodbye are
    /// not looked at; after a violation the decoder is of no use.
    pub fn receive(&mut self, mut bytes: &[u8], data: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<State, Violation> {
        while !bytes.is_empty() {
            if let Some(frame) = self.frame.take() {
                bytes = self.payload(frame, bytes, data);
            } else if let Some((byte, rest)) = bytes.split_first() {
                self.begun.push(*byte);
                bytes = rest;
                self.frame = self.header()?;
            }
            if let Some(frame) = self.frame.take_if(|frame| frame.left == 0)
                && let state @ State::Closed(_) = self.end(frame, out)?
            {
                return Ok(state);
            }
        }
        Ok(State::Open)
    }

    /// The header, once it is complete.
    fn header(&mut self) -> Result<Option<Frame>, Violation> {
        let [first, second, rest @ ..] = self.begun.as_slice() else { return Ok(None) };
        let (first, length) = (*first, *second & !MASKED);
        if first & RESERVED != 0 {
            return Err(Violation::Protocol("an extension that was not negotiated"));
        }
        if *second & MASKED == 0 {
            return Err(Violation::Protocol("not masked"));
        }
        let opcode = Opcode::parse(first & 0x0f)?;
        let Some((left, mask)) = length_and_mask(length, rest)? else { return Ok(None) };
        let frame = Frame { opcode, is_final: first & FINAL != 0, left, mask };
        self.begun = Vec::new();
        self.check(frame).map(|()| Some(frame))
    }

    fn check(&mut self, frame: Frame) -> Result<(), Violation> {
        if frame.opcode.is_control() {
            let allowed = frame.is_final && frame.left <= CONTROL_BYTES_MAX;
            return if allowed { Ok(()) } else { Err(Violation::Protocol("a control frame in parts or too long")) };
        }
        let before = match (frame.opcode, self.message_bytes) {
            (Opcode::Continuation, Some(bytes)) => bytes,
            (Opcode::Binary, None) => 0,
            _ => return Err(Violation::Protocol("a message within a message, or the rest of none")),
        };
        let bytes = before.saturating_add(frame.left);
        self.message_bytes = (!frame.is_final).then_some(bytes);
        if bytes > MESSAGE_BYTES_MAX { Err(Violation::TooLarge) } else { Ok(()) }
    }

    /// Takes what belongs to the frame; returns the rest.
    fn payload<'a>(&mut self, mut frame: Frame, bytes: &'a [u8], data: &mut Vec<u8>) -> &'a [u8] {
        let taken = usize::try_from(frame.left).unwrap_or(usize::MAX).min(bytes.len());
        let (payload, rest) = bytes.split_at_checked(taken).unwrap_or((bytes, &[]));
        let unmasked = payload.iter().zip(frame.mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
        if frame.opcode.is_control() {
            self.control.extend(unmasked)
        } else {
            data.extend(unmasked)
        }
        frame.mask.rotate_left(taken % 4);
        frame.left -= taken as u64;
        self.frame = Some(frame);
        rest
    }

    fn end(&mut self, frame: Frame, out: &mut Vec<u8>) -> Result<State, Violation> {
        let control = std::mem::take(&mut self.control);
        match frame.opcode {
            Opcode::Ping => write(Opcode::Pong, &control, out),
            Opcode::Close => return close_code(&control).map(State::Closed),
            Opcode::Continuation | Opcode::Binary | Opcode::Pong => {}
        }
        Ok(State::Open)
    }
}

/// What follows the first two bytes; `None` when it is incomplete.
fn length_and_mask(length: u8, rest: &[u8]) -> Result<Option<(u64, [u8; 4])>, Violation> {
    let (left, smallest, mask) = match (length, rest) {
        (126, [a, b, mask @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), 126, mask),
        (127, [a, b, c, d, e, f, g, h, mask @ ..]) => {
            (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 1 << 16, mask)
        }
        (126 | 127, _) => return Ok(None),
        (length, mask) => (u64::from(length), 0, mask),
    };
    if left < smallest {
        return Err(Violation::Protocol("a length with more bytes than it needs"));
    }
    Ok(mask.try_into().ok().map(|mask| (left, mask)))
}

fn close_code(payload: &[u8]) -> Result<Option<u16>, Violation> {
    match payload {
        [] => Ok(None),
        [high, low, reason @ ..] if std::str::from_utf8(reason).is_ok() => match u16::from_be_bytes([*high, *low]) {
            code @ (1000..=1003 | 1007..=1014 | 3000..=4999) => Ok(Some(code)),
            _ => Err(Violation::Protocol("a close code that nobody may send")),
        },
        _ => Err(Violation::Protocol("a close frame without code or text")),
    }
}

/// Appends a whole binary message in one frame.
pub fn write_binary(payload: &[u8], out: &mut Vec<u8>) {
    write(Opcode::Binary, payload, out);
}

/// Appends a goodbye; without a code it says nothing.
pub fn write_close(code: Option<u16>, out: &mut Vec<u8>) {
    match code {
        Some(code) => write(Opcode::Close, &code.to_be_bytes(), out),
        None => write(Opcode::Close, &[], out),
    }
}

fn write(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    out.push(FINAL | opcode.bits());
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..=125), _) => out.push(length),
        (_, Ok(length)) => {
            out.push(126);
            out.extend(length.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend((payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}
