//! The sections that have named fields.

use crate::types::{RawValue, SymbolText, code_of, composite};

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

    /// The message's own data (AMQP 1.0 §3.2.4). Ids are kept as they came, type and bytes, because a client recognises
    /// the answer to its request by nothing less (amqp R10).
    #[derive(Default)]
    pub struct Properties<'a>: code_of::PROPERTIES, {
        /// An unsigned long, a UUID, binary or a string.
        pub message_id: Option<RawValue<'a>>,
        pub user_id: Option<&'a [u8]>,
        pub to: Option<&'a str>,
        pub subject: Option<&'a str>,
        pub reply_to: Option<&'a str>,
        /// An unsigned long, a UUID, binary or a string.
        pub correlation_id: Option<RawValue<'a>>,
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
