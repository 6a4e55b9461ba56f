//! Errors as peers tell each other (AMQP 1.0 §2.8.14).

use crate::types::{Fields, Symbol, Value, code_of, composite};

composite! {
    /// Why something was refused or ended.
    pub struct Error: code_of::ERROR, {
        /// What programs look at.
        pub condition: Symbol,
        /// What people look at.
        pub description: Option<String>,
        pub info: Option<Fields>,
    }
}

impl Error {
    /// An error with a text for people.
    pub fn new(condition: impl Into<Symbol>, description: impl Into<String>) -> Self {
        Self { condition: condition.into(), description: Some(description.into()), info: None }
    }

    /// Sends the peer elsewhere (amqp §9): `address` is where to attach on the other host, at `port`.
    pub fn redirect(hostname: &str, port: u16, address: &str) -> Self {
        let info = Fields::new(|info| {
            info.symbol("hostname", &Value::String(hostname));
            info.symbol("network-host", &Value::String(hostname));
            info.symbol("port", &Value::Int(port.into()));
            info.symbol("address", &Value::String(address));
        });
        Self { condition: condition::LINK_REDIRECT.into(), description: None, info: Some(info) }
    }
}

/// Conditions of the standard (AMQP 1.0 §2.8.15 - §2.8.18).
pub mod condition {
    pub const INTERNAL_ERROR: &str = "amqp:internal-error";
    pub const NOT_FOUND: &str = "amqp:not-found";
    pub const UNAUTHORIZED_ACCESS: &str = "amqp:unauthorized-access";
    pub const DECODE_ERROR: &str = "amqp:decode-error";
    pub const RESOURCE_LIMIT_EXCEEDED: &str = "amqp:resource-limit-exceeded";
    pub const NOT_ALLOWED: &str = "amqp:not-allowed";
    pub const INVALID_FIELD: &str = "amqp:invalid-field";
    pub const NOT_IMPLEMENTED: &str = "amqp:not-implemented";
    pub const RESOURCE_LOCKED: &str = "amqp:resource-locked";
    pub const PRECONDITION_FAILED: &str = "amqp:precondition-failed";
    pub const RESOURCE_DELETED: &str = "amqp:resource-deleted";
    pub const ILLEGAL_STATE: &str = "amqp:illegal-state";
    pub const CONNECTION_FORCED: &str = "amqp:connection:forced";
    pub const FRAMING_ERROR: &str = "amqp:connection:framing-error";
    pub const CONNECTION_REDIRECT: &str = "amqp:connection:redirect";
    pub const WINDOW_VIOLATION: &str = "amqp:session:window-violation";
    pub const ERRANT_LINK: &str = "amqp:session:errant-link";
    pub const HANDLE_IN_USE: &str = "amqp:session:handle-in-use";
    pub const UNATTACHED_HANDLE: &str = "amqp:session:unattached-handle";
    pub const DETACH_FORCED: &str = "amqp:link:detach-forced";
    pub const TRANSFER_LIMIT_EXCEEDED: &str = "amqp:link:transfer-limit-exceeded";
    pub const MESSAGE_SIZE_EXCEEDED: &str = "amqp:link:message-size-exceeded";
    pub const LINK_REDIRECT: &str = "amqp:link:redirect";
    pub const LINK_STOLEN: &str = "amqp:link:stolen";
}
