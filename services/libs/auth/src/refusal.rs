//! Why someone was refused.

use model::{Right, Rights};

/// The cause, for the log and for choosing an answer. Never contains a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("no credential was presented")]
    NoCredential,
    #[error("the token is malformed: {0}")]
    MalformedToken(&'static str),
    #[error("the token has expired")]
    TokenExpired,
    #[error("the signature of the token is wrong")]
    WrongSignature,
    #[error("the token is for another resource ({0:?})")]
    WrongAudience(String),
    #[error("the identity does not exist")]
    UnknownIdentity,
    #[error("the device is disabled")]
    Disabled,
    #[error("the policy {0:?} does not exist")]
    UnknownPolicy(String),
    #[error("the policy {policy} grants {granted}, needed is {needed:?}")]
    MissingRight { policy: String, granted: Rights, needed: Right },
    #[error("a token of an identity's own key does not open service operations")]
    NotAPolicyToken,
    #[error("the identity authenticates by {0}, not by a token")]
    TokenNotAllowed(&'static str),
    #[error("the identity authenticates by {0}, not by a certificate")]
    CertificateNotAllowed(&'static str),
    #[error("the certificate has no thumbprint that the identity names")]
    WrongThumbprint,
    #[error("the certificate is not valid now")]
    CertificateExpired,
    #[error("the common name of the certificate is not the identity's id")]
    WrongCommonName,
    #[error("no registered and verified authority signed the certificate, or an intermediate was not sent along")]
    UntrustedCertificate,
    #[error("the chain of certificates is refused: {0}")]
    ChainRefused(&'static str),
    #[error("the credential that the connection used was removed")]
    CredentialRemoved,
}

impl Refusal {
    /// Whether the identity is fine but switched off: a device is told to come back later (mqtt §2.4).
    pub fn is_disabled(&self) -> bool {
        *self == Self::Disabled
    }

    /// Names an audience, cut to a length that is fit for a log.
    pub(crate) fn wrong_audience(resource: &str) -> Self {
        const LENGTH_MAX: usize = 300;
        Self::WrongAudience(resource.chars().take(LENGTH_MAX).collect())
    }

    /// Names a policy, cut to a length that is fit for a log.
    pub(crate) fn unknown_policy(name: &str) -> Self {
        const LENGTH_MAX: usize = 64;
        Self::UnknownPolicy(name.chars().take(LENGTH_MAX).collect())
    }

    /// A stable name for metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NoCredential => "no_credential",
            Self::MalformedToken(_) => "malformed_token",
            Self::TokenExpired => "token_expired",
            Self::WrongSignature => "wrong_signature",
            Self::WrongAudience(_) => "wrong_audience",
            Self::UnknownIdentity => "unknown_identity",
            Self::Disabled => "disabled",
            Self::UnknownPolicy(_) => "unknown_policy",
            Self::MissingRight { .. } => "missing_right",
            Self::NotAPolicyToken => "not_a_policy_token",
            Self::TokenNotAllowed(_) => "token_not_allowed",
            Self::CertificateNotAllowed(_) => "certificate_not_allowed",
            Self::WrongThumbprint => "wrong_thumbprint",
            Self::CertificateExpired => "certificate_expired",
            Self::WrongCommonName => "wrong_common_name",
            Self::UntrustedCertificate => "untrusted_certificate",
            Self::ChainRefused(_) => "chain_refused",
            Self::CredentialRemoved => "credential_removed",
        }
    }
}
