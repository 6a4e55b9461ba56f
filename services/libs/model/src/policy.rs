//! Shared access policies and the rights they grant (security §5).

use std::fmt;

use crate::{ETag, SymmetricKeys};

/// One of the four rights a policy can grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    RegistryRead,
    RegistryWrite,
    ServiceConnect,
    DeviceConnect,
}

impl Right {
    /// The name as policies list it.
    pub fn name(self) -> &'static str {
        match self {
            Self::RegistryRead => "RegistryRead",
            Self::RegistryWrite => "RegistryWrite",
            Self::ServiceConnect => "ServiceConnect",
            Self::DeviceConnect => "DeviceConnect",
        }
    }
}

/// A set of rights. `RegistryWrite` implies `RegistryRead`.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights(u8);

impl Rights {
    const TABLE: [(Right, u8, &'static str); 4] = [
        (Right::RegistryRead, 1, "RegistryRead"),
        (Right::RegistryWrite, 3, "RegistryWrite"),
        (Right::ServiceConnect, 4, "ServiceConnect"),
        (Right::DeviceConnect, 8, "DeviceConnect"),
    ];

    /// The set of the given rights.
    pub fn of(rights: &[Right]) -> Self {
        rights.iter().fold(Self(0), |set, right| Self(set.0 | Self::bits(*right)))
    }

    /// Whether the set grants the right.
    pub fn grants(self, right: Right) -> bool {
        let bits = Self::bits(right);
        self.0 & bits == bits
    }

    /// Reads `RegistryRead, ServiceConnect`; `None` when a name is unknown.
    pub fn parse(text: &str) -> Option<Self> {
        text.split(',').map(str::trim).try_fold(Self(0), |set, name| {
            let row = Self::TABLE.iter().find(|row| row.2.eq_ignore_ascii_case(name))?;
            Some(Self(set.0 | row.1))
        })
    }

    /// Whether it grants nothing.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether it grants everything, as the owner of the hub has it.
    pub fn are_all(self) -> bool {
        Self::TABLE.iter().all(|row| self.grants(row.0))
    }

    /// Every name, `RegistryRead` beside `RegistryWrite`, as the management plane lists them (rest §23.2).
    pub fn names(self) -> String {
        let names: Vec<_> = Self::TABLE.iter().filter(|row| self.grants(row.0)).map(|row| row.2).collect();
        names.join(", ")
    }

    fn bits(right: Right) -> u8 {
        Self::TABLE.iter().find(|row| row.0 == right).map_or(0, |row| row.1)
    }
}

/// The names, comma and space between; `RegistryWrite` stands for both registry rights (rest §2.2).
impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Self::TABLE
            .iter()
            .filter(|row| self.grants(row.0) && !(row.0 == Right::RegistryRead && self.grants(Right::RegistryWrite)))
            .map(|row| row.2)
            .collect();
        f.write_str(&names.join(", "))
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A named key pair with rights on the whole hub. Names compare without case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedAccessPolicy {
    pub name: String,
    pub keys: SymmetricKeys,
    pub rights: Rights,
    /// Set by the hub group.
    pub etag: ETag,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn write_implies_read_and_prints_as_one_name() {
        let rights = Rights::of(&[Right::RegistryWrite, Right::ServiceConnect, Right::DeviceConnect]);
        assert!(rights.grants(Right::RegistryRead));
        assert_eq!(rights.to_string(), "RegistryWrite, ServiceConnect, DeviceConnect");
        assert_eq!(Rights::parse(&rights.to_string()), Some(rights));
        assert_eq!(rights.names(), "RegistryRead, RegistryWrite, ServiceConnect, DeviceConnect");
        assert!(rights.are_all() && !Rights::of(&[Right::RegistryWrite]).are_all());
        assert!(!Rights::of(&[Right::RegistryRead]).grants(Right::RegistryWrite));
        assert_eq!(Rights::parse("Everything"), None);
    }
}
