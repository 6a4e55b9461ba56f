//! Messages on their way: flow, transfer, disposition.

use super::{DeliveryState, ReceiverSettleMode, Role};
use crate::types::{DeliveryTag, Fields, code_of, composite};

composite! {
    /// The state of a session's windows and, with a handle, of a link's credit (AMQP 1.0 §2.7.4).
    pub struct Flow: code_of::FLOW, {
        /// Null until the peer's begin has come.
        pub next_incoming_id: Option<u32>,
        /// Transfers.
        pub incoming_window: u32,
        pub next_outgoing_id: u32,
        /// Transfers.
        pub outgoing_window: u32,
        pub handle: Option<u32>,
        pub delivery_count: Option<u32>,
        /// Deliveries.
        pub link_credit: Option<u32>,
        /// Deliveries that the sender would send if it could.
        pub available: Option<u32>,
        pub drain: Option<bool>,
        /// Asks for a flow in answer.
        pub echo: bool = false,
        pub properties: Option<Fields>,
    }

    /// A message, or a part of one; the payload follows in the same frame (AMQP 1.0 §2.7.5).
    pub struct Transfer: code_of::TRANSFER, {
        pub handle: u32,
        /// Mandatory in the first frame of a delivery.
        pub delivery_id: Option<u32>,
        /// Mandatory in the first frame of a delivery.
        pub delivery_tag: Option<DeliveryTag>,
        /// Null is 0, a plain message.
        pub message_format: Option<u32>,
        pub settled: Option<bool>,
        /// Whether frames of the same delivery follow.
        pub more: bool = false,
        pub rcv_settle_mode: Option<ReceiverSettleMode>,
        pub state: Option<DeliveryState>,
        pub resume: Option<bool>,
        pub aborted: Option<bool>,
        pub batchable: Option<bool>,
    }

    /// What became of the deliveries `first` to `last` (AMQP 1.0 §2.7.6).
    pub struct Disposition: code_of::DISPOSITION, {
        /// Of whoever sends this.
        pub role: Role,
        pub first: u32,
        /// Null is `first`.
        pub last: Option<u32>,
        pub settled: bool = false,
        pub state: Option<DeliveryState>,
        pub batchable: Option<bool>,
    }
}
