//! Why something was not done.

use proto::shard::v1::{CommandError, command_error::Code, refusal::Reason};

/// The shard could not answer in time. Nothing is known of a command's effect unless the variant says so; to the
/// outside all of it is the documented 503 (rest §21).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    #[error("the queues of the device's group are full")]
    Busy,
    #[error("the device's group has no leader that can be reached")]
    NoLeader,
    /// Not done: writes are refused until there is space again.
    #[error("the disk of the device's group is full")]
    DiskFull,
    #[error("the clock of the group's leader is too far from those of its peers")]
    ClockSkew,
    #[error("no answer in time")]
    Timeout,
    #[error("the outcome is unknown")]
    OutcomeUnknown,
    #[error("the shard sent an answer that makes no sense: {0}")]
    Protocol(&'static str),
}

impl Unavailable {
    pub(crate) fn from_reason(reason: Reason) -> Self {
        match reason {
            Reason::Busy => Self::Busy,
            Reason::DiskFull => Self::DiskFull,
            Reason::ClockSkew => Self::ClockSkew,
            Reason::OutcomeUnknown => Self::OutcomeUnknown,
            Reason::NotLeader | Reason::ShuttingDown | Reason::UnknownGroup | Reason::Unspecified => Self::NoLeader,
        }
    }
}

impl From<proto::InvalidMessage> for Unavailable {
    fn from(error: proto::InvalidMessage) -> Self {
        Self::Protocol(error.0)
    }
}

/// Why a registry command was refused (rest §1.11, §3, §6).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    #[error("the device exists already")]
    DeviceAlreadyExists,
    #[error("the device is not registered")]
    DeviceNotFound,
    #[error("the module exists already on the device")]
    ModuleAlreadyExists,
    #[error("the module is not registered")]
    ModuleNotFound,
    #[error("the etag does not match")]
    PreconditionFailed,
    #[error("the device has as many modules as it may have")]
    TooManyModules,
    #[error("the quota of the hub is exhausted")]
    QuotaExceeded,
    #[error("the scope of an IoT Edge device is immutable")]
    InvalidDeviceScope,
    #[error("the identity has no symmetric keys")]
    NoSymmetricKeys,
    /// Which section, and how large it would be.
    #[error("{0}")]
    TwinTooLarge(String),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<CommandError> for RegistryError {
    fn from(error: CommandError) -> Self {
        match error.code() {
            Code::DeviceAlreadyExists => Self::DeviceAlreadyExists,
            Code::DeviceNotFound => Self::DeviceNotFound,
            Code::ModuleAlreadyExists => Self::ModuleAlreadyExists,
            Code::ModuleNotFound => Self::ModuleNotFound,
            Code::PreconditionFailed => Self::PreconditionFailed,
            Code::TooManyModules => Self::TooManyModules,
            Code::QuotaExceeded => Self::QuotaExceeded,
            Code::InvalidDeviceScope => Self::InvalidDeviceScope,
            Code::NoSymmetricKeys => Self::NoSymmetricKeys,
            Code::TwinTooLarge => Self::TwinTooLarge(error.detail),
            _ => Self::Unavailable(unexpected(&error)),
        }
    }
}

/// Why the stored session of a principal was not changed (mqtt §2.6).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    #[error("the session has as many filters as it may have")]
    TooManySubscriptions,
    #[error("a newer connection of the same principal is attached")]
    ConnectionReplaced,
    #[error("the identity is not registered")]
    NotFound,
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<CommandError> for SessionError {
    fn from(error: CommandError) -> Self {
        match error.code() {
            Code::TooManySubscriptions => Self::TooManySubscriptions,
            Code::ConnectionReplaced => Self::ConnectionReplaced,
            Code::DeviceNotFound | Code::ModuleNotFound => Self::NotFound,
            _ => Self::Unavailable(unexpected(&error)),
        }
    }
}

/// Why a twin was not written (twins §2.3-§2.5).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TwinError {
    #[error("the identity is not registered")]
    NotFound,
    /// `existingVersion:N newVersion:M`.
    #[error("Precondition failed: Device version did not match, {0}")]
    PreconditionFailed(String),
    /// Which section, and how large it would be.
    #[error("{0}")]
    TooLarge(String),
    #[error("a newer connection of the same principal is attached")]
    ConnectionReplaced,
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<CommandError> for TwinError {
    fn from(error: CommandError) -> Self {
        match error.code() {
            Code::DeviceNotFound | Code::ModuleNotFound => Self::NotFound,
            Code::PreconditionFailed => Self::PreconditionFailed(error.detail),
            Code::TwinTooLarge => Self::TooLarge(error.detail),
            Code::ConnectionReplaced => Self::ConnectionReplaced,
            _ => Self::Unavailable(unexpected(&error)),
        }
    }
}

/// Why nothing was done about messages for a device, or feedback (messaging §4).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    #[error("the device is not registered, or disabled")]
    NotFound,
    #[error("as many messages wait for the device as may")]
    QueueFull,
    #[error("the message is not, or no longer, in these hands")]
    LockLost,
    #[error("a newer connection of the same principal is attached")]
    ConnectionReplaced,
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<CommandError> for MessageError {
    fn from(error: CommandError) -> Self {
        match error.code() {
            Code::DeviceNotFound | Code::ModuleNotFound => Self::NotFound,
            Code::QueueFull => Self::QueueFull,
            Code::LockLost => Self::LockLost,
            Code::ConnectionReplaced => Self::ConnectionReplaced,
            _ => Self::Unavailable(unexpected(&error)),
        }
    }
}

/// Why the hub's settings were not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error("the hub is not initialised")]
    NotInitialized,
    #[error("the settings have changed since they were read")]
    PreconditionFailed,
    /// In the hub group's own words.
    #[error("{0}")]
    TooMany(String),
    #[error("{0}")]
    Invalid(String),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<CommandError> for SettingsError {
    fn from(error: CommandError) -> Self {
        match error.code() {
            Code::NotInitialized => Self::NotInitialized,
            Code::PreconditionFailed => Self::PreconditionFailed,
            Code::QuotaExceeded => Self::TooMany(error.detail),
            Code::Invalid => Self::Invalid(error.detail),
            _ => Self::Unavailable(unexpected(&error)),
        }
    }
}

/// Why a connection could not be attached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// Read the identity again, verify the credential again, and attach again.
    #[error("the identity changed since the credential was verified")]
    IdentityChanged,
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

pub(crate) fn unexpected(error: &CommandError) -> Unavailable {
    match error.code() {
        Code::ResultForgotten => Unavailable::OutcomeUnknown,
        code => {
            tracing::error!(?code, detail = %error.detail, "a shard refused a command as none of this version should be");
            Unavailable::Protocol("an unexpected refusal of a command")
        }
    }
}
