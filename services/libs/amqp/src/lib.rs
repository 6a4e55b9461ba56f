//! AMQP 1.0 without IO: bytes and instants in, events and bytes out. Server first; a client is made of the same parts.
//!
//! ```text
//!   bytes read  -->  Connection::receive  -->  Event: Open, Attach, Delivery, Credit, Outcome, ...
//!                        |  keeps the rules: handshake, sessions, windows, credit, limits
//!   bytes to    <--  Connection::output   <--  open, accept, refuse, send, settle, detach, close
//!   write
//! ```
//!
//! A driver reads from a socket into a buffer, calls [`Connection::receive`] until it says `None`, does what the events
//! ask for, and writes [`Connection::output`]. It stops reading while [`Connection::is_reading`] is false, and calls
//! [`Connection::handle_timeout`] when [`Connection::deadline`] has passed. Nothing here knows a socket, a task, a
//! clock, a device or what an address means.
//!
//! ```
//! use std::{sync::Arc, time::Instant};
//!
//! use amqp::{Config, Connection, DeliveryState, Error, Event, Message, SaslCode, Violation, condition};
//! use bytes::BytesMut;
//!
//! /// Takes what was read from a socket; afterwards `connection.output()` is to be written to it.
//! fn on_bytes(connection: &mut Connection, input: &mut BytesMut, now: Instant) -> Result<(), Violation> {
//!     while let Some(event) = connection.receive(input, now)? {
//!         match event {
//!             Event::SaslInit(_) => connection.sasl_outcome(SaslCode::Ok),
//!             Event::Open(_) => connection.open(),
//!             Event::Attach { link, attach } if attach.address() == Some("inbox") => {
//!                 connection.accept(link, attach.answer(), 100);
//!             }
//!             Event::Attach { link, .. } => {
//!                 connection.refuse(link, Error::new(condition::NOT_FOUND, "there is only the inbox"));
//!             }
//!             Event::Delivery(delivery) => {
//!                 let state = match Message::decode(&delivery.payload) {
//!                     Ok(_) => DeliveryState::Accepted,
//!                     Err(error) => DeliveryState::rejected(Error::new(condition::DECODE_ERROR, error.to_string())),
//!                 };
//!                 connection.settle(delivery.link, delivery.id, state);
//!             }
//!             _ => {}
//!         }
//!     }
//!     Ok(())
//! }
//!
//! let mut connection = Connection::server(Arc::new(Config::default()), Instant::now());
//! on_bytes(&mut connection, &mut BytesMut::from(amqp::AMQP_HEADER.as_slice()), Instant::now())?;
//! assert_eq!(connection.output(), amqp::AMQP_HEADER);
//! # Ok::<(), Violation>(())
//! ```
//!
//! The layers, from the wire up, each in the words of the standard:
//!
//! | module | what it is |
//! |---|---|
//! | `types` | values as views on their encoding; nothing is copied or allocated to read one |
//! | `performative` | open, begin, attach, flow, transfer, disposition, detach, end, close, the frames of SASL; each a table of its fields |
//! | `message` | the sections of a message, in any order |
//! | `frame` | headers and frames |
//! | `connection` | the state machines: handshake, sessions, links, deliveries |
//!
//! What clients need that the standard does not ask for is marked with the rule of `spec/amqp.md` §0 that it follows
//! (amqp R1 to R32). There are no transactions, no link recovery and no dynamic nodes.

mod connection;
mod frame;
mod message;
mod performative;
mod types;

pub use connection::{
    Config, Connection, Delivery, Event, LinkId, Outcome, Outgoing, SaslLogin, SendError, SessionId, Violation,
};
pub use frame::{
    AMQP_HEADER, FRAME_BYTES_MIN, FRAME_HEADER_BYTES, FrameError, FrameHeader, FrameKind, SASL_HEADER, put_frame,
};
pub use message::{
    BATCH_FORMAT, Body, Header, MESSAGE_FORMAT, Message, MessageId, MessageWriter, Properties, Sections,
    batched_messages, put_batch,
};
pub use performative::{
    Attach, AttachTarget, Begin, Close, DeliveryState, Detach, Disposition, End, Error, Flow, Modified, Open,
    Performative, PlainCredentials, Received, ReceiverSettleMode, Rejected, Role, SaslChallenge, SaslCode, SaslFrame,
    SaslInit, SaslMechanisms, SaslOutcome, SaslResponse, Secret, SenderSettleMode, Source, Target, Transfer, condition,
};
pub use types::{
    Array, DEPTH_MAX, DeliveryTag, Described, Descriptor, Fields, List, ListWriter, Malformed, Map, MapWriter,
    OwnedValue, RawValue, Symbol, SymbolText, Symbols, Value, ZERO_WIDTH_ELEMENTS_MAX, put_described, put_list,
    put_map, put_strings, put_symbols, put_value,
};
