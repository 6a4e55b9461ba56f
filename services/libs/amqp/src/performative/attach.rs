//! Links: attach and detach.

use super::{Error, Source, Target};
use crate::types::{
    Decoder, Field, Fields, Malformed, OwnedValue, RawValue, Symbols, Value, code_of, composite, simple_enum,
};

simple_enum! {
    /// Which end of a link its sender is.
    pub enum Role: bool {
        Sender = false,
        Receiver = true,
    }

    /// How the sending end settles (AMQP 1.0 §2.8.2).
    pub enum SenderSettleMode: u8 {
        Unsettled = 0,
        Settled = 1,
        Mixed = 2,
    }

    /// How the receiving end settles (AMQP 1.0 §2.8.3).
    pub enum ReceiverSettleMode: u8 {
        /// With its disposition.
        First = 0,
        /// After the sender has answered its disposition.
        Second = 1,
    }
}

impl Role {
    pub fn opposite(self) -> Self {
        match self {
            Self::Sender => Self::Receiver,
            Self::Receiver => Self::Sender,
        }
    }
}

composite! {
    /// Attaches a link to a session (AMQP 1.0 §2.7.3).
    pub struct Attach: code_of::ATTACH, {
        pub name: String,
        pub handle: u32,
        pub role: Role,
        pub snd_settle_mode: Option<SenderSettleMode>,
        pub rcv_settle_mode: Option<ReceiverSettleMode>,
        pub source: Option<Source>,
        pub target: Option<AttachTarget>,
        /// Deliveries of an earlier connection; IronHub keeps none and answers with null.
        pub unsettled: Option<OwnedValue>,
        pub incomplete_unsettled: Option<bool>,
        /// Mandatory when the role is sender.
        pub initial_delivery_count: Option<u32>,
        /// Bytes; null or 0: no limit.
        pub max_message_size: Option<u64>,
        pub offered_capabilities: Option<Symbols>,
        pub desired_capabilities: Option<Symbols>,
        pub properties: Option<Fields>,
    }

    /// Detaches a link (AMQP 1.0 §2.7.7).
    pub struct Detach: code_of::DETACH, {
        pub handle: u32,
        /// Whether the link is gone for good.
        pub closed: bool = false,
        pub error: Option<Error>,
    }
}

impl Attach {
    /// An attach that says nothing but this.
    pub fn new(name: impl Into<String>, role: Role) -> Self {
        Self {
            name: name.into(),
            handle: 0,
            role,
            snd_settle_mode: None,
            rcv_settle_mode: None,
            source: None,
            target: None,
            unsettled: None,
            incomplete_unsettled: None,
            initial_delivery_count: None,
            max_message_size: None,
            offered_capabilities: None,
            desired_capabilities: None,
            properties: None,
        }
    }

    /// The address that the link is about, seen from the peer of its sender: where the sender sends to, or where the
    /// receiver receives from.
    pub fn address(&self) -> Option<&str> {
        match (self.role, &self.source, &self.target) {
            (Role::Sender, _, Some(AttachTarget::Target(target))) => target.address.as_deref(),
            (Role::Receiver, Some(source), _) => source.address.as_deref(),
            _ => None,
        }
    }
}

/// Where a link leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum AttachTarget {
    Target(Target),
    /// The coordinator of transactions, which IronHub does not have; kept so that it can be refused by name.
    Coordinator(OwnedValue),
}

impl Field<'_> for AttachTarget {
    fn decode(decoder: &mut Decoder<'_>, name: &'static str) -> Result<Self, Malformed> {
        let raw: RawValue<'_> = decoder.raw_value()?;
        match raw.value() {
            Value::Described(found) if found.descriptor.code() == Some(code_of::COORDINATOR.into()) => {
                OwnedValue::decode(&mut Decoder::new(raw.bytes()), name).map(Self::Coordinator)
            }
            _ => Target::decode(&mut Decoder::new(raw.bytes()), name).map(Self::Target),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Target(target) => target.encode(out),
            Self::Coordinator(coordinator) => coordinator.encode(out),
        }
    }
}
