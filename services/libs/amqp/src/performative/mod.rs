//! What peers say to each other (AMQP 1.0 part 2 §7, part 5 §3.3), one struct each, in the words of the standard.

mod attach;
mod connection;
mod delivery_state;
mod error;
mod sasl;
mod terminus;
mod transfer;

pub use attach::{Attach, AttachTarget, Detach, ReceiverSettleMode, Role, SenderSettleMode};
pub use connection::{Begin, Close, End, Open};
pub use delivery_state::{DeliveryState, Modified, Received, Rejected};
pub use error::{Error, condition};
pub use sasl::{
    PlainCredentials, SaslChallenge, SaslCode, SaslFrame, SaslInit, SaslMechanisms, SaslOutcome, SaslResponse, Secret,
};
pub use terminus::{Source, Target};
pub use transfer::{Disposition, Flow, Transfer};

use crate::types::{Decoder, Field, Malformed};

/// The body of a frame of type AMQP. The rare ones are boxed, so that the hot ones are small.
#[derive(Clone, Debug, PartialEq)]
pub enum Performative {
    Open(Box<Open>),
    Begin(Box<Begin>),
    Attach(Box<Attach>),
    Flow(Box<Flow>),
    Transfer(Transfer),
    Disposition(Disposition),
    Detach(Detach),
    End(End),
    Close(Close),
}

impl Performative {
    /// Reads the performative at the front of a frame's body, and says how many bytes it takes: what follows is the
    /// payload of a transfer.
    pub fn decode(body: &[u8]) -> Result<(Self, usize), Malformed> {
        let mut decoder = Decoder::new(body);
        let code = decoder.expect_descriptor()?.code();
        let fields = &mut decoder;
        let performative = match code.and_then(|code| u8::try_from(code).ok()) {
            Some(Transfer::CODE) => Self::Transfer(Transfer::decode_fields(fields)?),
            Some(Disposition::CODE) => Self::Disposition(Disposition::decode_fields(fields)?),
            Some(Flow::CODE) => Self::Flow(Box::new(Flow::decode_fields(fields)?)),
            Some(Open::CODE) => Self::Open(Box::new(Open::decode_fields(fields)?)),
            Some(Begin::CODE) => Self::Begin(Box::new(Begin::decode_fields(fields)?)),
            Some(Attach::CODE) => Self::Attach(Box::new(Attach::decode_fields(fields)?)),
            Some(Detach::CODE) => Self::Detach(Detach::decode_fields(fields)?),
            Some(End::CODE) => Self::End(End::decode_fields(fields)?),
            Some(Close::CODE) => Self::Close(Close::decode_fields(fields)?),
            _ => return Err(Malformed::NotDescribedAs { expected: "a performative", found: code }),
        };
        Ok((performative, body.len() - decoder.rest().len()))
    }

    /// Writes it as the body of a frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Open(open) => open.encode(out),
            Self::Begin(begin) => begin.encode(out),
            Self::Attach(attach) => attach.encode(out),
            Self::Flow(flow) => flow.encode(out),
            Self::Transfer(transfer) => transfer.encode(out),
            Self::Disposition(disposition) => disposition.encode(out),
            Self::Detach(detach) => detach.encode(out),
            Self::End(end) => end.encode(out),
            Self::Close(close) => close.encode(out),
        }
    }
}
