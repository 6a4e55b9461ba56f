//! TLS for all listeners: one configuration, and a stream that holds no buffers while it is idle.

mod server_config;
mod stream;
mod tickets;
mod verifier;

pub use server_config::{Protocols, server_config};
pub use stream::{ReadOutcome, TlsSocket};
pub use tickets::TicketSecret;
