//! The sections that have named fields.

use crate::types::{Decoder, Field, Malformed, RawValue, SymbolText, Value, code_of, composite};

composite! {
    /// How the message is to be carried (AMQP 1.0 §3.2.1).
    #[derive(Default)]
    pub struct Header: code_of::HEADER, {
        pub durable: Option<bool>,
        pub priority: Option<u8>,
        /// Milliseconds.
        pub ttl: Option<u32>,
        pub first_acquirer: Option<bool>,
        pub delivery_count: Option<u32>,
    }

    /// The message's own data (AMQP 1.0 §3.2.4).
    #[derive(Default)]
    pub struct Properties<'a>: code_of::PROPERTIES, {
        pub message_id: Option<MessageId<'a>>,
        pub user_id: Option<&'a [u8]>,
        pub to: Option<&'a str>,
        pub subject: Option<&'a str>,
        pub reply_to: Option<&'a str>,
        pub correlation_id: Option<MessageId<'a>>,
        pub content_type: Option<SymbolText<'a>>,
        pub content_encoding: Option<SymbolText<'a>>,
        /// Milliseconds since 1970-01-01 UTC.
        pub absolute_expiry_time: Option<i64>,
        /// Milliseconds since 1970-01-01 UTC.
        pub creation_time: Option<i64>,
        pub group_id: Option<&'a str>,
        pub group_sequence: Option<u32>,
        pub reply_to_group_id: Option<&'a str>,
    }
}

/// An unsigned long, a UUID, binary or a string, kept as it came, type and bytes: a client recognises the answer to its
/// request by nothing less (amqp R10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageId<'a>(RawValue<'a>);

impl<'a> MessageId<'a> {
    /// Reads exactly one value of the four types.
    pub fn decode(encoded: &'a [u8]) -> Result<Self, Malformed> {
        Self::of(RawValue::decode(encoded)?, "message-id")
    }

    fn of(raw: RawValue<'a>, name: &'static str) -> Result<Self, Malformed> {
        match raw.value() {
            Value::ULong(_) | Value::Uuid(_) | Value::Binary(_) | Value::String(_) => Ok(Self(raw)),
            _ => Err(Malformed::Field(name)),
        }
    }

    /// Its encoding, to be kept and [decoded](Self::decode) again.
    pub fn bytes(&self) -> &'a [u8] {
        self.0.bytes()
    }

    pub fn value(&self) -> Value<'a> {
        self.0.value()
    }
}

impl<'a> Field<'a> for MessageId<'a> {
    fn decode(decoder: &mut Decoder<'a>, name: &'static str) -> Result<Self, Malformed> {
        Self::of(decoder.raw_value()?, name)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}
