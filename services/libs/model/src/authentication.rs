//! How an identity proves who it is (security §1, rest §3.1).

use std::{fmt, str::FromStr};

use base64::{Engine, prelude::BASE64_STANDARD};

/// The `authentication` member of an identity: exactly one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// Tokens signed with either key.
    Sas(SymmetricKeys),
    /// X.509 certificates known by thumbprint.
    SelfSigned(Thumbprints),
    /// X.509 certificates chained to a registered authority; the common name is the id.
    CertificateAuthority,
    /// No authentication of its own; modules only.
    None,
}

impl Authentication {
    /// The `type` member on the wire.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sas(_) => "sas",
            Self::SelfSigned(_) => "selfSigned",
            Self::CertificateAuthority => "certificateAuthority",
            Self::None => "none",
        }
    }
}

/// Why a key or thumbprint is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAuthentication {
    #[error("Invalid device key length: a key is the base64 text of 16 to 64 bytes")]
    Key,
    #[error("a thumbprint is 40 (SHA-1) or 64 (SHA-256) hexadecimal digits without separators")]
    Thumbprint,
}

/// Two keys, so that one is valid while the other is rotated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SymmetricKeys {
    pub primary: SymmetricKey,
    pub secondary: SymmetricKey,
}

/// A symmetric key: 16 to 64 bytes, kept as the base64 text the owner gave. `Debug` never shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct SymmetricKey {
    text: Box<str>,
    bytes: Box<[u8]>,
}

impl SymmetricKey {
    /// A key made of the given bytes, for instance 32 random ones.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self { text: BASE64_STANDARD.encode(bytes).into(), bytes: bytes.into() }
    }

    /// The base64 text, exactly as given.
    pub fn as_base64(&self) -> &str {
        &self.text
    }

    /// The secret bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl FromStr for SymmetricKey {
    type Err = InvalidAuthentication;

    fn from_str(text: &str) -> Result<Self, InvalidAuthentication> {
        let bytes = BASE64_STANDARD.decode(text).map_err(|_| InvalidAuthentication::Key)?;
        if !(16..=64).contains(&bytes.len()) {
            return Err(InvalidAuthentication::Key);
        }
        Ok(Self { text: text.into(), bytes: bytes.into() })
    }
}

impl fmt::Debug for SymmetricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SymmetricKey(..)")
    }
}

/// Thumbprints of self-signed certificates; either may match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thumbprints {
    pub primary: Option<Thumbprint>,
    pub secondary: Option<Thumbprint>,
}

/// SHA-1 or SHA-256 of a DER certificate in hexadecimal; the case is kept, comparison ignores it.
#[derive(Clone, Debug)]
pub struct Thumbprint(Box<str>);

impl Thumbprint {
    /// The digits as given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Thumbprint {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Thumbprint {}

impl FromStr for Thumbprint {
    type Err = InvalidAuthentication;

    fn from_str(text: &str) -> Result<Self, InvalidAuthentication> {
        let hexadecimal = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !hexadecimal || ![40, 64].contains(&text.len()) {
            return Err(InvalidAuthentication::Thumbprint);
        }
        Ok(Self(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_base64_of_16_to_64_bytes() {
        assert!(BASE64_STANDARD.encode([7; 16]).parse::<SymmetricKey>().is_ok());
        assert!(BASE64_STANDARD.encode([7; 64]).parse::<SymmetricKey>().is_ok());
        for text in [BASE64_STANDARD.encode([7; 15]), BASE64_STANDARD.encode([7; 65]), "not base64!".into()] {
            assert_eq!(text.parse::<SymmetricKey>(), Err(InvalidAuthentication::Key));
        }
    }

    #[test]
    fn thumbprints_compare_without_case_and_refuse_separators() {
        let lower: Thumbprint = "ab".repeat(20).parse().unwrap_or_else(|_| unreachable!());
        assert_eq!("AB".repeat(20).parse(), Ok(lower));
        assert_eq!("AB:".repeat(20).parse::<Thumbprint>(), Err(InvalidAuthentication::Thumbprint));
    }

    #[test]
    fn debug_output_never_contains_the_key() {
        let key = SymmetricKey::from_bytes(&[1; 32]);
        assert!(!format!("{key:?}").contains(key.as_base64()));
    }
}
