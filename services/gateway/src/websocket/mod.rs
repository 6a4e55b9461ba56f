//! WebSockets of the HTTPS port (RFC 6455, mqtt §1): what 8883 says byte by byte, said in binary messages.
//!
//! ```text
//!   GET /$iothub/websocket -> handshake.rs: 101, or why not
//!   afterwards             -> socket.rs: polled like a TLS socket, over frame.rs: frames without IO
//! ```
//!
//! Where messages and frames begin and end means nothing to the protocol inside; no extension is spoken.

mod frame;
mod handshake;
mod socket;

pub use frame::{Decoder, MESSAGE_BYTES_MAX, State, Violation, write_binary, write_close};
pub(crate) use handshake::{BadHandshake, accept};
pub use socket::ByteStream;
pub(crate) use socket::WebSocket;
