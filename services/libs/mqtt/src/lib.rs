//! MQTT 3.1.1 without IO: bytes and instants in, events and bytes out.
//!
//! ```text
//!   socket bytes --> ServerConnection::receive --> Event (borrows from the bytes)
//!                         |  keeps the protocol's rules: order of packets, keep-alive
//!   answers <------ accept, refuse, puback, suback, ...  append to a byte buffer
//! ```
//!
//! It knows no socket, task, clock, device or topic meaning. It is strict: what MQTT 3.1.1 forbids is a [`Violation`],
//! and the hub's own refusals that need no knowledge of topics (QoS 2, mqtt §3) are too. A packet is only looked at when
//! it is complete; its length is checked before that, so a peer cannot make the caller buffer more than
//! [`Limits::packet_bytes_max`].

pub mod client;
mod connect;
mod decode;
mod encode;
mod packet;
mod server;
mod subscribe;
mod wire;

pub use decode::{Decoded, decode};
pub use encode::encode_publish;
pub use packet::{
    Connect, ConnectReturnCode, Malformed, Packet, Publish, QualityOfService, Subscribe, Unsubscribe, Will,
};
pub use server::{Event, Limits, ServerConnection, Violation};
