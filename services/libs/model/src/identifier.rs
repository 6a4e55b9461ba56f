//! Device and module identifiers (twins-jobs-query §1.1).

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

const LENGTH_MAX: usize = 128;

/// A valid device id: 1 to 128 ASCII characters of the registry's alphabet, case-sensitive.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId(Arc<str>);

/// A valid module id; same alphabet as a device id, unique within its device.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModuleId(Arc<str>);

/// Why a text is no identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdentifier {
    #[error("an id has 1 to 128 characters, this one has {0}")]
    Length(usize),
    #[error(
        "the character {0:?} is not allowed in an id; allowed are ASCII letters, digits and - : . + % _ # * ? ! ( ) , = @ ; $ '"
    )]
    Character(char),
}

fn check(text: &str) -> Result<(), InvalidIdentifier> {
    if let Some(character) = text.chars().find(|c| !c.is_ascii_alphanumeric() && !"-:.+%_#*?!(),=@;$'".contains(*c)) {
        return Err(InvalidIdentifier::Character(character));
    }
    if text.is_empty() || text.len() > LENGTH_MAX {
        return Err(InvalidIdentifier::Length(text.len()));
    }
    Ok(())
}

macro_rules! identifier {
    ($name:ident) => {
        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidIdentifier;

            fn from_str(text: &str) -> Result<Self, InvalidIdentifier> {
                check(text)?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

identifier!(DeviceId);
identifier!(ModuleId);

impl ModuleId {
    /// The modules that the hub gives every IoT Edge device (twins-jobs-query §1.4).
    pub const SYSTEM: [&str; 2] = ["$edgeAgent", "$edgeHub"];

    /// Whether it is one of [`Self::SYSTEM`].
    pub fn is_system(&self) -> bool {
        Self::SYSTEM.contains(&self.as_str())
    }

    /// Whether only the hub may name a module so.
    pub fn is_reserved(&self) -> bool {
        self.as_str().starts_with('$')
    }
}

/// Who connects: a device, or a module of a device. Each has credentials, a twin and a session of its own.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Principal {
    pub device_id: DeviceId,
    pub module_id: Option<ModuleId>,
}

impl Principal {
    /// The device itself.
    pub fn device(device_id: DeviceId) -> Self {
        Self { device_id, module_id: None }
    }

    /// A module of the device.
    pub fn module(device_id: DeviceId, module_id: ModuleId) -> Self {
        Self { device_id, module_id: Some(module_id) }
    }
}

/// `{device}` or `{device}/{module}`, which is also the MQTT client id (mqtt §2.1).
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.module_id {
            None => write!(f, "{}", self.device_id),
            Some(module_id) => write!(f, "{}/{}", self.device_id, module_id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_of_the_alphabet_is_accepted() {
        for id in ["d1", "a-:.+%_#*?!(),=@;$'Z9", &"x".repeat(128)] {
            assert_eq!(id.parse::<DeviceId>().map(|id| id.to_string()), Ok(id.to_owned()));
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for id in ["", "a b", "a/b", "a\"b", "a<b", "a&b", "a\\b", "a^b", "a[b", "a{b", "a|b", "ü", &"x".repeat(129)] {
            assert!(id.parse::<DeviceId>().is_err(), "{id:?}");
        }
    }
}
