//! Which credential a live connection used, and whether it would still be accepted (security §9).

use aws_lc_rs::digest;
use model::{
    Authentication, Credentials, DeviceStatus, HubSettings, Principal, Right, SymmetricKey, SymmetricKeys, Thumbprint,
};

use crate::{
    Refusal,
    chain::{CertificateDigest, anchor_digest},
};

/// What to remember of a credential: enough to recognise it, too little to use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fingerprint {
    /// A key of the identity itself.
    IdentityKey(CredentialDigest),
    /// A key of that policy.
    PolicyKey { policy: Box<str>, key: CredentialDigest },
    /// A certificate known by that thumbprint.
    Thumbprint(CredentialDigest),
    /// A certificate whose chain leads to that registered one.
    Authority(CredentialDigest),
}

impl Fingerprint {
    /// Whether a change of the hub's settings can take the credential away.
    pub fn depends_on_settings(&self) -> bool {
        matches!(self, Self::PolicyKey { .. } | Self::Authority(_))
    }
}

/// SHA-256 over the generation of the identity and the credential: an identity that was deleted and made again is
/// another one, even with the same keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CredentialDigest([u8; 32]);

impl CredentialDigest {
    pub(crate) fn of_key(own: Own<'_>, key: &SymmetricKey) -> Self {
        Self::of(own, key.as_bytes())
    }

    pub(crate) fn of_thumbprint(own: Own<'_>, thumbprint: &Thumbprint) -> Self {
        Self::of(own, thumbprint.as_str().to_ascii_uppercase().as_bytes())
    }

    pub(crate) fn of_anchor(own: Own<'_>, anchor: &CertificateDigest) -> Self {
        Self::of(own, anchor)
    }

    /// A generation id is decimal, so the separator keeps the two parts apart.
    fn of(own: Own<'_>, credential: &[u8]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(own.generation_id.as_bytes());
        context.update(&[0]);
        context.update(credential);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        Self(bytes)
    }

    fn is_one_of(self, own: Own<'_>, keys: &SymmetricKeys) -> bool {
        [&keys.primary, &keys.secondary].into_iter().any(|key| Self::of_key(own, key) == self)
    }
}

/// Whether a connection that used this credential may go on, given the identity (`None`: deleted) and settings of now.
pub fn recheck(
    fingerprint: &Fingerprint,
    principal: &Principal,
    credentials: Option<&Credentials>,
    settings: &HubSettings,
) -> Result<(), Refusal> {
    let credentials = credentials.ok_or(Refusal::UnknownIdentity)?;
    let own = own_identity(principal, credentials)?;
    check_status(credentials)?;
    let valid = match (fingerprint, own.authentication) {
        (Fingerprint::IdentityKey(key), Authentication::Sas(keys)) => key.is_one_of(own, keys),
        (Fingerprint::PolicyKey { policy, key }, _) => settings
            .policy(policy)
            .is_some_and(|policy| policy.rights.grants(Right::DeviceConnect) && key.is_one_of(own, &policy.keys)),
        (Fingerprint::Thumbprint(used), Authentication::SelfSigned(named)) => {
            let mut named = [&named.primary, &named.secondary].into_iter().flatten();
            named.any(|thumbprint| CredentialDigest::of_thumbprint(own, thumbprint) == *used)
        }
        (Fingerprint::Authority(used), Authentication::CertificateAuthority) => {
            let mut verified = settings.certificates.iter().filter(|certificate| certificate.is_verified);
            verified.any(|certificate| CredentialDigest::of_anchor(own, &anchor_digest(certificate)) == *used)
        }
        _ => false,
    };
    if valid { Ok(()) } else { Err(Refusal::CredentialRemoved) }
}

/// A module follows its device.
pub(crate) fn check_status(credentials: &Credentials) -> Result<(), Refusal> {
    if credentials.device.status == DeviceStatus::Disabled { Err(Refusal::Disabled) } else { Ok(()) }
}

/// What of the principal's own identity a credential is verified against.
#[derive(Clone, Copy)]
pub(crate) struct Own<'a> {
    pub authentication: &'a Authentication,
    pub generation_id: &'a str,
}

/// The principal's own identity: the module's, not its device's.
pub(crate) fn own_identity<'a>(principal: &Principal, credentials: &'a Credentials) -> Result<Own<'a>, Refusal> {
    if principal.module_id.is_none() {
        let device = &credentials.device;
        return Ok(Own { authentication: &device.authentication, generation_id: &device.generation_id });
    }
    let module = credentials.module.as_ref().ok_or(Refusal::UnknownIdentity)?;
    Ok(Own { authentication: &module.authentication, generation_id: &module.generation_id })
}
