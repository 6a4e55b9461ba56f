//! One header, read piece by piece into a room of fixed size.
//!
//! ```text
//!   signature (12) | version, command | family, protocol | length (2) | source, destination, ports | TLVs, skipped
//!                                                                     '------------- length ------------------'
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// How a header of version 1 begins.
const TEXT: &[u8] = b"PROXY";
/// What every header begins with.
const FIXED_BYTES: usize = 16;
/// Addresses and ports of IPv6, the longest that are looked at.
const ADDRESSES_BYTES: usize = 36;
/// The longest block of addresses and TLVs: enough for a client's certificate among them.
pub const BLOCK_BYTES_MAX: u16 = 4096;

const LOCAL: u8 = 0;
const PROXY: u8 = 1;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// That client's, for whom the proxy speaks.
    Client(SocketAddr),
    /// The address of the socket counts: the proxy speaks for itself, as in a health check (LOCAL), or for somebody whose
    /// address is none of TCP over IP.
    Socket,
}

/// What no header of version 2 may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    #[error("it begins without a PROXY header: expected one of version 2 (haproxy: send-proxy-v2)")]
    NoHeader,
    #[error("its PROXY header is the text of version 1: expected version 2 (haproxy: send-proxy-v2)")]
    TextHeader,
    #[error("its PROXY header has version {0}: expected 2")]
    Version(u8),
    #[error("its PROXY header has command {0}: expected 0 (LOCAL) or 1 (PROXY)")]
    Command(u8),
    #[error("its PROXY header has address family and protocol {0:#04x}: expected families 0 to 3 and protocols 0 to 2")]
    Family(u8),
    #[error("its PROXY header announces {0} bytes of addresses and more: expected at most {BLOCK_BYTES_MAX}")]
    TooLong(u16),
    #[error("its PROXY header announces {length} bytes of addresses: expected at least {expected}")]
    TooShort { length: u16, expected: u16 },
}

/// Reads one header.
#[derive(Debug)]
pub struct Decoder {
    /// Its beginning; what is behind the addresses is skipped.
    kept: [u8; FIXED_BYTES + ADDRESSES_BYTES],
    received: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { kept: [0; FIXED_BYTES + ADDRESSES_BYTES], received: 0 }
    }
}

impl Decoder {
    /// How many bytes certainly belong to the header and are still to come; 0 once it is whole.
    pub fn wanted(&self) -> usize {
        let known = match self.received {
            0..FIXED_BYTES => FIXED_BYTES,
            _ => FIXED_BYTES + usize::from(self.length()),
        };
        known - self.received
    }

    /// Whether anything came.
    pub fn has_begun(&self) -> bool {
        self.received > 0
    }

    /// Takes what belongs to the header; returns how many bytes that were, and what it says once it is whole.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(usize, Option<Origin>), Violation> {
        let mut rest = bytes;
        loop {
            let (piece, behind) = rest.split_at(self.wanted().min(rest.len()));
            self.take(piece)?;
            rest = behind;
            if self.wanted() == 0 {
                return Ok((bytes.len() - rest.len(), Some(self.origin())));
            }
            if rest.is_empty() {
                return Ok((bytes.len(), None));
            }
        }
    }

    /// Takes at most what is wanted.
    fn take(&mut self, piece: &[u8]) -> Result<(), Violation> {
        self.kept.iter_mut().skip(self.received).zip(piece).for_each(|(kept, byte)| *kept = *byte);
        let was_fixed = self.received >= FIXED_BYTES;
        self.received += piece.len();
        self.check_begin()?;
        if !was_fixed && self.received >= FIXED_BYTES { self.check_fixed() } else { Ok(()) }
    }

    /// What is none is refused by its first bytes.
    fn check_begin(&self) -> Result<(), Violation> {
        let begins = |with: &[u8]| {
            let known = self.received.min(with.len());
            self.kept.get(..known) == with.get(..known)
        };
        match (begins(&SIGNATURE), begins(TEXT)) {
            (true, _) => Ok(()),
            (false, true) if self.received < TEXT.len() => Ok(()),
            (false, true) => Err(Violation::TextHeader),
            (false, false) => Err(Violation::NoHeader),
        }
    }

    fn check_fixed(&self) -> Result<(), Violation> {
        let (version, command) = (self.version_and_command() >> 4, self.command());
        let (family, protocol) = (self.family_and_protocol() >> 4, self.family_and_protocol() & 0x0f);
        let length = self.length();
        if version != 2 {
            return Err(Violation::Version(version));
        }
        if command > PROXY {
            return Err(Violation::Command(command));
        }
        if length > BLOCK_BYTES_MAX {
            return Err(Violation::TooLong(length));
        }
        if command == LOCAL {
            return Ok(()); // the rest does not count
        }
        let expected = match (family, protocol) {
            (0, 0..=2) | (1..=3, 0) => 0,
            (1, 1..=2) => 12,
            (2, 1..=2) => 36,
            (3, 1..=2) => 216,
            _ => return Err(Violation::Family(self.family_and_protocol())),
        };
        if length < expected { Err(Violation::TooShort { length, expected }) } else { Ok(()) }
    }

    fn origin(&self) -> Origin {
        let source = match (self.command(), self.family_and_protocol()) {
            (PROXY, TCP_OVER_IPV4) => (IpAddr::V4(Ipv4Addr::from(self.array::<4>(16))), self.array(24)),
            (PROXY, TCP_OVER_IPV6) => (IpAddr::V6(Ipv6Addr::from(self.array::<16>(16))), self.array(48)),
            _ => return Origin::Socket,
        };
        Origin::Client(SocketAddr::new(source.0, u16::from_be_bytes(source.1)))
    }

    fn version_and_command(&self) -> u8 {
        u8::from_be_bytes(self.array(12))
    }

    fn command(&self) -> u8 {
        self.version_and_command() & 0x0f
    }

    fn family_and_protocol(&self) -> u8 {
        u8::from_be_bytes(self.array(13))
    }

    /// Of what follows the fixed part.
    fn length(&self) -> u16 {
        u16::from_be_bytes(self.array(14))
    }

    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        self.kept.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
    }
}
