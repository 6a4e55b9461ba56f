//! WebSockets of the HTTPS port (RFC 6455, mqtt §1, amqp §1.1): what 8883 and 5671 say byte by byte, said in binary messages.
//!
//! ```text
//!   GET /$iothub/websocket -> handshake.rs: 101 and which protocol, or why not
//!   afterwards             -> socket.rs: polled like a TLS socket, over frame.rs: frames without IO
//! ```
//!
//! Where messages and frames begin and end means nothing to the protocol inside; no extension is spoken.

mod frame;
mod handshake;
mod socket;

pub use frame::{Decoder, MESSAGE_BYTES_MAX, State, Violation, write_binary, write_close};
pub(crate) use handshake::{BadHandshake, SubProtocol, accept};
pub use socket::ByteStream;
pub(crate) use socket::WebSocket;
