//! The address of a client behind a load balancer: headers of the PROXY protocol, version 2, from sources that are trusted
//! (proxy-protocol.txt of haproxy, §2.2).
//!
//! ```text
//!   accepted from a trusted source -> Decoder: takes the header and not one byte more -> the client's address, or the
//!                                                                                        socket's own
//!   accepted from anywhere else    -> no header is looked for
//! ```

mod decoder;
mod trusted_source;

use std::{io, net::IpAddr};

use serde::{Deserialize, Serialize};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

pub use decoder::{BLOCK_BYTES_MAX, Decoder, Origin, Violation};
pub use trusted_source::TrustedSource;

/// One read takes up to so much of a header.
const READ_BYTES: usize = 512;

/// Who may speak for clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Load balancers whose connections begin with a PROXY header of version 2, which says the client's address: addresses
    /// and networks, such as `10.0.0.7` or `10.1.0.0/16`. Their connections must have one, those of others must not. Empty:
    /// nobody sends such headers. Does not hold for `emulator_port`.
    pub trusted_sources: Vec<TrustedSource>,
}

impl Config {
    /// Whether a connection from there begins with a header.
    pub fn trusts(&self, source: IpAddr) -> bool {
        self.trusted_sources.iter().any(|trusted| trusted.contains(source))
    }
}

/// Why the header of a connection is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("its header does not come")]
    Late,
    #[error("the connection ended before its header did")]
    Incomplete,
    /// A look whether the port is open, as simple health checks are.
    #[error("the connection ended before it began")]
    Nothing,
    #[error("{0}")]
    Violation(#[from] Violation),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Reads the header and nothing behind it.
pub(crate) async fn read(stream: &TcpStream, deadline: Instant) -> Result<Origin, ReadError> {
    timeout_at(deadline, read_header(stream)).await.map_err(|_| ReadError::Late)?
}

async fn read_header(stream: &TcpStream) -> Result<Origin, ReadError> {
    let mut decoder = Decoder::default();
    loop {
        stream.readable().await?;
        let mut buffer = [0; READ_BYTES];
        let wanted = decoder.wanted().min(READ_BYTES);
        let piece = buffer.get_mut(..wanted).unwrap_or_default();
        match stream.try_read(piece) {
            Ok(0) if decoder.has_begun() => return Err(ReadError::Incomplete),
            Ok(0) => return Err(ReadError::Nothing),
            Ok(count) => {
                if let (_, Some(origin)) = decoder.receive(piece.get(..count).unwrap_or_default())? {
                    return Ok(origin);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
}
