//! Descriptors: what a described value means, as a number or as a name.

/// The descriptor of a described value. The standard allows any value here; only these two kinds are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Descriptor<'a> {
    Code(u64),
    /// ASCII.
    Name(&'a str),
}

impl Descriptor<'_> {
    /// The code; for a name of the standard the code that stands for the same.
    pub fn code(&self) -> Option<u64> {
        match self {
            Self::Code(code) => Some(*code),
            Self::Name(name) => NAMES.iter().find(|(known, _)| known == name).map(|(_, code)| (*code).into()),
        }
    }
}

/// Descriptor codes of what this crate reads and writes (AMQP 1.0 parts 2, 3 and 5), and the names that stand for them.
const NAMES: [(&str, u8); 32] = [
    ("amqp:open:list", code_of::OPEN),
    ("amqp:begin:list", code_of::BEGIN),
    ("amqp:attach:list", code_of::ATTACH),
    ("amqp:flow:list", code_of::FLOW),
    ("amqp:transfer:list", code_of::TRANSFER),
    ("amqp:disposition:list", code_of::DISPOSITION),
    ("amqp:detach:list", code_of::DETACH),
    ("amqp:end:list", code_of::END),
    ("amqp:close:list", code_of::CLOSE),
    ("amqp:error:list", code_of::ERROR),
    ("amqp:received:list", code_of::RECEIVED),
    ("amqp:accepted:list", code_of::ACCEPTED),
    ("amqp:rejected:list", code_of::REJECTED),
    ("amqp:released:list", code_of::RELEASED),
    ("amqp:modified:list", code_of::MODIFIED),
    ("amqp:source:list", code_of::SOURCE),
    ("amqp:target:list", code_of::TARGET),
    ("amqp:coordinator:list", code_of::COORDINATOR),
    ("amqp:sasl-mechanisms:list", code_of::SASL_MECHANISMS),
    ("amqp:sasl-init:list", code_of::SASL_INIT),
    ("amqp:sasl-challenge:list", code_of::SASL_CHALLENGE),
    ("amqp:sasl-response:list", code_of::SASL_RESPONSE),
    ("amqp:sasl-outcome:list", code_of::SASL_OUTCOME),
    ("amqp:header:list", code_of::HEADER),
    ("amqp:delivery-annotations:map", code_of::DELIVERY_ANNOTATIONS),
    ("amqp:message-annotations:map", code_of::MESSAGE_ANNOTATIONS),
    ("amqp:properties:list", code_of::PROPERTIES),
    ("amqp:application-properties:map", code_of::APPLICATION_PROPERTIES),
    ("amqp:data:binary", code_of::DATA),
    ("amqp:amqp-sequence:list", code_of::AMQP_SEQUENCE),
    ("amqp:amqp-value:*", code_of::AMQP_VALUE),
    ("amqp:footer:map", code_of::FOOTER),
];

/// The codes by name.
pub(crate) mod code_of {
    pub const OPEN: u8 = 0x10;
    pub const BEGIN: u8 = 0x11;
    pub const ATTACH: u8 = 0x12;
    pub const FLOW: u8 = 0x13;
    pub const TRANSFER: u8 = 0x14;
    pub const DISPOSITION: u8 = 0x15;
    pub const DETACH: u8 = 0x16;
    pub const END: u8 = 0x17;
    pub const CLOSE: u8 = 0x18;
    pub const ERROR: u8 = 0x1d;
    pub const RECEIVED: u8 = 0x23;
    pub const ACCEPTED: u8 = 0x24;
    pub const REJECTED: u8 = 0x25;
    pub const RELEASED: u8 = 0x26;
    pub const MODIFIED: u8 = 0x27;
    pub const SOURCE: u8 = 0x28;
    pub const TARGET: u8 = 0x29;
    pub const COORDINATOR: u8 = 0x30;
    pub const SASL_MECHANISMS: u8 = 0x40;
    pub const SASL_INIT: u8 = 0x41;
    pub const SASL_CHALLENGE: u8 = 0x42;
    pub const SASL_RESPONSE: u8 = 0x43;
    pub const SASL_OUTCOME: u8 = 0x44;
    pub const HEADER: u8 = 0x70;
    pub const DELIVERY_ANNOTATIONS: u8 = 0x71;
    pub const MESSAGE_ANNOTATIONS: u8 = 0x72;
    pub const PROPERTIES: u8 = 0x73;
    pub const APPLICATION_PROPERTIES: u8 = 0x74;
    pub const DATA: u8 = 0x75;
    pub const AMQP_SEQUENCE: u8 = 0x76;
    pub const AMQP_VALUE: u8 = 0x77;
    pub const FOOTER: u8 = 0x78;
}
