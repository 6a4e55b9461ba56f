//! The connection and its sessions: open, begin, end, close.

use super::Error;
use crate::types::{Fields, Symbols, code_of, composite};

composite! {
    /// Opens a connection and says what its sender can take (AMQP 1.0 §2.7.1).
    pub struct Open: code_of::OPEN, {
        pub container_id: String,
        /// The host that the peer is asked to be.
        pub hostname: Option<String>,
        /// Bytes; null: no limit.
        pub max_frame_size: Option<u32>,
        /// The highest channel; null: 65535.
        pub channel_max: Option<u16>,
        /// Milliseconds of silence after which the sender of this gives up; null or 0: it never does.
        pub idle_time_out: Option<u32>,
        pub outgoing_locales: Option<Symbols>,
        pub incoming_locales: Option<Symbols>,
        pub offered_capabilities: Option<Symbols>,
        pub desired_capabilities: Option<Symbols>,
        pub properties: Option<Fields>,
    }

    /// Begins a session on a channel (AMQP 1.0 §2.7.2).
    pub struct Begin: code_of::BEGIN, {
        /// In an answer, the channel of the begin that it answers.
        pub remote_channel: Option<u16>,
        pub next_outgoing_id: u32,
        /// Transfers.
        pub incoming_window: u32,
        /// Transfers.
        pub outgoing_window: u32,
        /// The highest handle; null: 4294967295.
        pub handle_max: Option<u32>,
        pub offered_capabilities: Option<Symbols>,
        pub desired_capabilities: Option<Symbols>,
        pub properties: Option<Fields>,
    }

    /// Ends a session (AMQP 1.0 §2.7.8).
    pub struct End: code_of::END, {
        pub error: Option<Error>,
    }

    /// Closes a connection (AMQP 1.0 §2.7.9).
    pub struct Close: code_of::CLOSE, {
        pub error: Option<Error>,
    }
}
