//! The `authentication` member of identities (rest §3.1, §19.3): what clients send, with all its leniency, and what they
//! get.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use model::{Authentication, SymmetricKey, SymmetricKeys, Thumbprint, Thumbprints};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ApiError;

/// Bytes of a key that the hub draws.
const KEY_BYTES: usize = 32;
/// What the runtime of IoT Edge calls every kind of certificate.
const X509: &str = "x509";

/// How a caller calls kinds of authentication. The runtime of IoT Edge knows one word for both kinds of certificates,
/// and cannot read a list in which another one stands (rest §19.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Current,
    EdgeRuntime,
}

impl Dialect {
    fn kind(self, authentication: &Authentication) -> &'static str {
        match (self, authentication) {
            (Self::EdgeRuntime, Authentication::SelfSigned(_) | Authentication::CertificateAuthority) => X509,
            _ => authentication.kind(),
        }
    }
}

/// The member as it is sent.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AuthenticationInput {
    #[serde(rename = "type")]
    kind: Option<String>,
    symmetric_key: Option<KeysInput>,
    x509_thumbprint: Option<ThumbprintsInput>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeysInput {
    primary_key: Option<String>,
    secondary_key: Option<String>,
}

/// Without the keys.
impl std::fmt::Debug for KeysInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeysInput(..)")
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ThumbprintsInput {
    primary_thumbprint: Option<String>,
    secondary_thumbprint: Option<String>,
}

impl AuthenticationInput {
    /// The kind that is meant, with all that belongs to it. Keys that are missing are drawn.
    pub fn parse(self, dialect: Dialect) -> Result<Authentication, ApiError> {
        let thumbprints = self.x509_thumbprint.unwrap_or_default();
        let kind = match self.kind.as_deref() {
            Some(kind) => kind,
            None if thumbprints.is_given() => "selfSigned",
            None => "sas",
        };
        let is_x509 = dialect == Dialect::EdgeRuntime && kind.eq_ignore_ascii_case(X509);
        if is_x509 && !thumbprints.is_given() {
            return Ok(Authentication::CertificateAuthority);
        }
        if kind.eq_ignore_ascii_case("sas") {
            self.symmetric_key.unwrap_or_default().parse().map(Authentication::Sas)
        } else if is_x509 || kind.eq_ignore_ascii_case("selfSigned") {
            thumbprints.parse().map(Authentication::SelfSigned)
        } else if kind.eq_ignore_ascii_case("certificateAuthority") {
            Ok(Authentication::CertificateAuthority)
        } else if kind.eq_ignore_ascii_case("none") {
            Ok(Authentication::None)
        } else {
            let expected = "sas, selfSigned, certificateAuthority or none";
            Err(ApiError::argument(format!("authentication.type is '{kind}', expected {expected}")))
        }
    }
}

impl KeysInput {
    fn parse(self) -> Result<SymmetricKeys, ApiError> {
        let given = |key: Option<String>| key.filter(|key| !key.is_empty());
        match (given(self.primary_key), given(self.secondary_key)) {
            (None, None) => draw_keys(),
            (Some(primary), Some(secondary)) => {
                Ok(SymmetricKeys { primary: parse_key(&primary)?, secondary: parse_key(&secondary)? })
            }
            _ => Err(ApiError::argument("Either no keys or both keys can be set")),
        }
    }
}

fn parse_key(text: &str) -> Result<SymmetricKey, ApiError> {
    text.parse().map_err(|error: model::InvalidAuthentication| ApiError::argument(error.to_string()))
}

/// Two keys that nobody has seen.
pub(super) fn draw_keys() -> Result<SymmetricKeys, ApiError> {
    Ok(SymmetricKeys { primary: draw_key()?, secondary: draw_key()? })
}

/// A key that nobody has seen.
pub(super) fn draw_key() -> Result<SymmetricKey, ApiError> {
    let mut bytes = [0; KEY_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| ApiError::timeout())?;
    Ok(SymmetricKey::from_bytes(&bytes))
}

impl ThumbprintsInput {
    fn is_given(&self) -> bool {
        [&self.primary_thumbprint, &self.secondary_thumbprint].into_iter().flatten().any(|text| !text.is_empty())
    }

    fn parse(self) -> Result<Thumbprints, ApiError> {
        let parse = |text: Option<String>| -> Result<Option<Thumbprint>, ApiError> {
            let text = text.filter(|text| !text.is_empty());
            let invalid = |error| ApiError::argument(format!("StringIsNotThumbprint: {error}"));
            text.map(|text| text.parse().map_err(|error: model::InvalidAuthentication| invalid(error))).transpose()
        };
        Ok(Thumbprints { primary: parse(self.primary_thumbprint)?, secondary: parse(self.secondary_thumbprint)? })
    }
}

/// The member as it is answered: all three parts, whatever the kind.
pub(super) fn answer(authentication: &Authentication, dialect: Dialect) -> Value {
    let (keys, thumbprints) = match authentication {
        Authentication::Sas(keys) => (Some(keys), None),
        Authentication::SelfSigned(thumbprints) => (None, Some(thumbprints)),
        Authentication::CertificateAuthority | Authentication::None => (None, None),
    };
    let thumbprint = |pick: fn(&Thumbprints) -> &Option<Thumbprint>| {
        thumbprints.and_then(|thumbprints| pick(thumbprints).as_ref()).map(Thumbprint::as_str)
    };
    json!({
        "symmetricKey": {
            "primaryKey": keys.map(|keys| keys.primary.as_base64()),
            "secondaryKey": keys.map(|keys| keys.secondary.as_base64()),
        },
        "x509Thumbprint": {
            "primaryThumbprint": thumbprint(|thumbprints| &thumbprints.primary),
            "secondaryThumbprint": thumbprint(|thumbprints| &thumbprints.secondary),
        },
        "type": dialect.kind(authentication),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edge_runtime_has_one_word_for_certificates() -> Result<(), ApiError> {
        let parse = |text: &str, dialect| {
            let input: AuthenticationInput =
                serde_json::from_str(text).map_err(|error| ApiError::format(error.to_string()))?;
            input.parse(dialect)
        };
        let thumbprint = "ab".repeat(20);
        let by_thumbprint = format!(r#"{{"type":"x509","x509Thumbprint":{{"primaryThumbprint":"{thumbprint}"}}}}"#);
        for (text, kind) in [(by_thumbprint.as_str(), "selfSigned"), (r#"{"type":"x509"}"#, "certificateAuthority")] {
            let parsed = parse(text, Dialect::EdgeRuntime)?;
            assert_eq!(parsed.kind(), kind);
            assert_eq!(answer(&parsed, Dialect::EdgeRuntime)["type"], X509);
            assert_eq!(answer(&parsed, Dialect::Current)["type"], kind);
            assert!(parse(text, Dialect::Current).is_err());
        }
        Ok(())
    }
}
