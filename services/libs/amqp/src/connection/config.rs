//! What one process offers to its peers, and the bounds of every connection.

use std::time::Duration;

use crate::Symbol;

/// Shared by all connections of a process; the values that peers are told are those of the real service (amqp §1.3).
#[derive(Clone, Debug)]
pub struct Config {
    /// Who this process is.
    pub container_id: String,
    /// A client names the host that it wants to reach; a server may say anything.
    pub hostname: Option<String>,
    /// SASL mechanisms that a server offers, the preferred one first; without any it does not speak SASL.
    pub mechanisms: Vec<Symbol>,
    /// Bytes of the largest frame that is taken, once the connection is open, and that is sent; at least 512. Only
    /// transfers are cut: an attach or an error that does not fit into what the peer takes is sent all the same.
    pub frame_bytes_max: u32,
    /// Bytes of the largest frame until then. The standard says 512, but an open with properties may be longer.
    pub handshake_frame_bytes_max: u32,
    /// The highest channel a peer may use.
    pub channel_max: u16,
    /// The highest handle a peer may use.
    pub handle_max: u32,
    /// Sessions at a time. A peer that begins more, though `channel_max` would let it, has its connection closed.
    pub sessions_max: usize,
    /// Links at a time, in all sessions together. An attach beyond it ends its session.
    pub links_max: usize,
    /// Transfers that a peer may send before it hears of the session again. The window is renewed at half of it (amqp
    /// R23); what a peer sends beyond it is bounded by the caller, who reads no further than it likes.
    pub incoming_window: u32,
    /// Bytes of the largest message that is taken.
    pub message_bytes_max: u64,
    /// Bytes of deliveries that have not arrived as a whole, in all links together.
    pub incomplete_bytes_max: usize,
    /// Deliveries that arrived and wait to be settled, in all sessions together. Credit is no hard bound, because some
    /// clients send before they were given any (amqp R20); this is.
    pub unsettled_incoming_max: usize,
    /// Deliveries that were sent and wait for an outcome, for each session.
    pub unsettled_outgoing_max: usize,
    /// Bytes that wait to be written; beyond that nothing is read and nothing is sent. What has begun is finished, so
    /// there may be one message and the answers to one frame more.
    pub output_bytes_max: usize,
    /// From the first byte to an open connection.
    pub handshake_timeout: Duration,
    /// What the peer is told: it must say something before that.
    pub idle_timeout: Duration,
    /// When a silent peer is given up; the standard wants twice of what it was told (AMQP 1.0 §2.4.5).
    pub silence_max: Duration,
    /// The longest silence towards a peer, which may ask for less, or not ask at all.
    pub heartbeat_interval_max: Duration,
    /// A peer that wants to hear something more often than that is refused (amqp §1.3).
    pub peer_idle_timeout_min: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            container_id: "amqp".to_owned(),
            hostname: None,
            mechanisms: ["MSSBCBS", "PLAIN", "ANONYMOUS", "EXTERNAL"].map(Symbol::new).into(),
            frame_bytes_max: 65_536,
            handshake_frame_bytes_max: 8_192,
            channel_max: 8_191,
            handle_max: 262_143,
            sessions_max: 2_048,
            links_max: 8_192,
            incoming_window: 5_000,
            message_bytes_max: 1_048_576,
            incomplete_bytes_max: 4 * 1_048_576,
            unsettled_incoming_max: 16_384,
            unsettled_outgoing_max: 2_048,
            output_bytes_max: 262_144,
            handshake_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(240),
            silence_max: Duration::from_secs(480),
            heartbeat_interval_max: Duration::from_secs(120),
            peer_idle_timeout_min: Duration::from_secs(5),
        }
    }
}
