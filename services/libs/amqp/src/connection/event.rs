//! What a connection tells its driver.

use bytes::Bytes;

use crate::{Attach, DeliveryState, DeliveryTag, Error, Open, SaslCode, SaslInit, Secret};

/// A session of one connection. Ids are never used twice, so one that is gone is nothing else later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId {
    pub(super) channel: u16,
    pub(super) serial: u32,
}

/// A link of one connection. Ids are never used twice, so one that is gone is nothing else later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId {
    pub(super) session: SessionId,
    pub(super) slot: u32,
    pub(super) serial: u32,
}

impl LinkId {
    /// The session it belongs to, and ends with.
    pub fn session(self) -> SessionId {
        self.session
    }
}

/// What happened. All owned, but the payload of a delivery in one frame is a slice of what was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A client says who it is. Nothing more is read until
    /// [`sasl_outcome`](super::Connection::sasl_outcome) or [`sasl_challenge`](super::Connection::sasl_challenge).
    SaslInit(Box<SaslInit>),
    /// The client's answer to a challenge.
    SaslResponse(Secret),
    /// The server's verdict. If it is good, call [`open`](super::Connection::open).
    SaslOutcome(SaslCode),
    /// The peer opened the connection. A server answers with [`open`](super::Connection::open); nothing more is read
    /// before that.
    Open(Box<Open>),
    /// A session is there: begun by the peer, or by us and answered.
    Begin(SessionId),
    /// The peer wants a link. Answer with [`accept`](super::Connection::accept) or
    /// [`refuse`](super::Connection::refuse), at any time; its deliveries and flows may come before that (amqp R22).
    Attach { link: LinkId, attach: Box<Attach> },
    /// The peer answered our attach. Without source and target it is a refusal, and a detach follows.
    Attached { link: LinkId, attach: Box<Attach> },
    /// A complete delivery. Unless it is settled, [`settle`](super::Connection::settle) it.
    Delivery(Delivery),
    /// The receiver at the other end takes `credit` deliveries. With `drain` it wants those that are there at once, and
    /// then [`drained`](super::Connection::drained); once its credit is used up it has been told.
    Credit { link: LinkId, credit: u32, drain: bool },
    /// The sender at the other end has nothing more; what was asked for with [`drain`](super::Connection::drain) is over.
    Drained { link: LinkId },
    /// A session whose window was used up takes deliveries again.
    WindowOpen(SessionId),
    /// What became of a delivery that we sent. Once for each delivery.
    Outcome(Outcome),
    /// The link is gone: the peer detached it, or broke its rules, which `error` then tells. What became of deliveries
    /// without an outcome will not be told, and settling those that came means nothing any more.
    Detach { link: LinkId, error: Option<Box<Error>> },
    /// The session is gone with all its links: the peer ended it, or broke its rules, which `error` then tells.
    End { session: SessionId, error: Option<Box<Error>> },
    /// The peer closed the connection; it was answered. Write what is to be written and close the socket.
    Close { error: Option<Box<Error>> },
}

/// A message from the peer.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    pub link: LinkId,
    /// The peer's number for it, unique among the unsettled ones of its session.
    pub id: u32,
    pub tag: DeliveryTag,
    /// [`MESSAGE_FORMAT`](crate::MESSAGE_FORMAT), [`BATCH_FORMAT`](crate::BATCH_FORMAT), or unknown.
    pub message_format: u32,
    /// The peer does not want to know what becomes of it. Otherwise it must be told, even on a link that was negotiated
    /// to be settled (amqp R15).
    pub settled: bool,
    /// An encoded [`Message`](crate::Message). It keeps the buffer that was read from.
    pub payload: Bytes,
}

/// A message to the peer, for [`send`](super::Connection::send).
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    pub tag: DeliveryTag,
    /// [`MESSAGE_FORMAT`](crate::MESSAGE_FORMAT) or [`BATCH_FORMAT`](crate::BATCH_FORMAT).
    pub message_format: u32,
    /// No outcome is wanted.
    pub settled: bool,
    /// An encoded message.
    pub payload: &'a [u8],
}

/// What the peer says of a delivery that we sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub link: LinkId,
    /// As [`send`](super::Connection::send) returned it.
    pub id: u32,
    pub tag: DeliveryTag,
    /// `None`: the peer forgot the delivery without a word.
    pub state: Option<DeliveryState>,
    /// Unless the peer has settled, it waits for [`settle`](super::Connection::settle) (amqp R18).
    pub settled: bool,
}

/// Why a message cannot be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    #[error("the link is gone, or is no link to send on")]
    Gone,
    /// Wait for [`Event::Credit`].
    #[error("the receiver has given no credit")]
    NoCredit,
    /// Wait for [`Event::WindowOpen`].
    #[error("the window of the session is used up")]
    NoWindow,
    /// Write the output first.
    #[error("too much waits to be written")]
    OutputFull,
    /// Wait for [`Event::Outcome`].
    #[error("too many deliveries wait for an outcome")]
    TooManyUnsettled,
    #[error("the message has more bytes than the receiver takes ({max})")]
    TooLarge { max: u64 },
}

/// What a peer did that ends the connection. It has been told so: write the output, then close the socket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    #[error("the protocol header is not one of AMQP 1.0: {0:02x?}")]
    ProtocolHeader([u8; 8]),
    #[error("{0}")]
    Frame(#[from] crate::FrameError),
    #[error("malformed frame: {0}")]
    Malformed(#[from] crate::Malformed),
    #[error("a frame that has no place at this point: {0}")]
    Unexpected(&'static str),
    #[error("the SASL mechanism {0} was not offered")]
    Mechanism(String),
    #[error("channel {channel} {problem}")]
    Channel { channel: u16, problem: &'static str },
    #[error("handle {0} is beyond handle-max")]
    Handle(u32),
    #[error("more sessions than {0}, or than the peer has channels for")]
    TooManySessions(usize),
    #[error("an idle-time-out of {0} ms is too short")]
    IdleTimeout(u32),
    #[error("the connection was not opened in time")]
    HandshakeTimeout,
    #[error("the peer said nothing for too long")]
    Silence,
}
