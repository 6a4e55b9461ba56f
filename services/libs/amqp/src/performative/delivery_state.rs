//! What may become of a delivery (AMQP 1.0 §3.4).

use std::sync::Arc;

use super::Error;
use crate::types::{Decoder, Field, Fields, Malformed, code_of, composite, put_composite};

composite! {
    /// Not yet an outcome: how much has arrived.
    pub struct Received: code_of::RECEIVED, {
        pub section_number: u32,
        pub section_offset: u64,
    }

    /// The message is invalid.
    pub struct Rejected: code_of::REJECTED, {
        pub error: Option<Error>,
    }

    /// As released, with something to be written down.
    pub struct Modified: code_of::MODIFIED, {
        pub delivery_failed: Option<bool>,
        pub undeliverable_here: Option<bool>,
        pub message_annotations: Option<Fields>,
    }
}

/// The state of a delivery; all but `Received` are outcomes. One disposition may speak of thousands, so copies are cheap.
#[derive(Clone, Debug, PartialEq)]
pub enum DeliveryState {
    Received(Received),
    /// The receiver has taken the message.
    Accepted,
    /// Write it with an error, always: Java reads it unasked (amqp R28).
    Rejected(Option<Arc<Error>>),
    /// The receiver has not looked at the message and will not.
    Released,
    Modified(Arc<Modified>),
}

impl DeliveryState {
    /// Rejected, and why.
    pub fn rejected(error: Error) -> Self {
        Self::Rejected(Some(Arc::new(error)))
    }

    /// Whether it says what became of the delivery.
    pub fn is_outcome(&self) -> bool {
        !matches!(self, Self::Received(_))
    }
}

impl Field<'_> for DeliveryState {
    fn decode(decoder: &mut Decoder<'_>, _: &'static str) -> Result<Self, Malformed> {
        let code = decoder.expect_descriptor()?.code();
        Ok(match code.and_then(|code| u8::try_from(code).ok()) {
            Some(code_of::ACCEPTED) => decoder.fields().map(|_| Self::Accepted)?,
            Some(code_of::RELEASED) => decoder.fields().map(|_| Self::Released)?,
            Some(Rejected::CODE) => Self::Rejected(Rejected::decode_fields(decoder)?.error.map(Arc::new)),
            Some(Modified::CODE) => Self::Modified(Arc::new(Modified::decode_fields(decoder)?)),
            Some(Received::CODE) => Self::Received(Received::decode_fields(decoder)?),
            _ => return Err(Malformed::NotDescribedAs { expected: "a delivery state", found: code }),
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Accepted => put_composite(code_of::ACCEPTED, out, |_| {}),
            Self::Released => put_composite(code_of::RELEASED, out, |_| {}),
            Self::Rejected(error) => Rejected { error: error.as_deref().cloned() }.encode(out),
            Self::Modified(modified) => modified.encode(out),
            Self::Received(received) => received.encode(out),
        }
    }
}
