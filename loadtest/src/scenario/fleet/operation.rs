//! What a fleet and its back ends do.

use serde::Serialize;

/// One kind of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Operation {
    /// From TCP to CONNACK. A connection that is lost is an error of this kind.
    Connect,
    /// From PUBLISH to PUBACK; a message that is sent again counts from the first time.
    Telemetry,
    /// A device reports a property: until the answer.
    TwinReport,
    /// A device reads its twin, after every connect: until the answer.
    TwinRead,
    /// A back end writes a desired property: until the answer.
    DesiredWrite,
    /// A back end invokes a method: until the device's answer.
    Method,
    /// A back end sends a message: until the device has it.
    Message,
}

impl Operation {
    pub const ALL: [Self; 7] = [
        Self::Connect,
        Self::Telemetry,
        Self::TwinReport,
        Self::TwinRead,
        Self::DesiredWrite,
        Self::Method,
        Self::Message,
    ];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Telemetry => "telemetry",
            Self::TwinReport => "twin report",
            Self::TwinRead => "twin read",
            Self::DesiredWrite => "desired write",
            Self::Method => "method",
            Self::Message => "C2D message",
        }
    }
}
