//! A device or module proves who it is (security §3.2, §7, §14).

use model::{Authentication, Credentials, HubSettings, Principal, Right, Timestamp};

use crate::{
    ClientCertificate, ConnectionAuthMethod, Fingerprint, HostNames, Refusal, SasToken,
    audience::Audience,
    authorize::check_policy,
    fingerprint::{CredentialDigest, Own, check_status, own_identity},
};

/// What the peer showed. A token wins over a certificate (mqtt §2.1).
#[derive(Clone, Copy, Debug)]
pub enum Presented<'a> {
    Token(&'a str),
    Certificate(&'a ClientCertificate),
    Nothing,
}

/// An accepted credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticated {
    /// When the token expires, without the allowance for clocks: a live connection may go on for
    /// [`crate::CLOCK_SKEW_SECONDS`] more (mqtt §2.10).
    pub expires: Option<Timestamp>,
    pub fingerprint: Fingerprint,
    pub method: ConnectionAuthMethod,
}

/// Verifies what was presented for the principal. `credentials` is what the registry holds of it. The status is looked
/// at last, so that only who holds the credential learns that the device is disabled.
pub fn authenticate(
    principal: &Principal,
    credentials: Option<&Credentials>,
    presented: Presented<'_>,
    settings: &HubSettings,
    hosts: &HostNames,
    now: Timestamp,
) -> Result<Authenticated, Refusal> {
    let credentials = credentials.ok_or(Refusal::UnknownIdentity)?;
    let own = own_identity(principal, credentials)?;
    let authenticated = match presented {
        Presented::Nothing => Err(Refusal::NoCredential),
        Presented::Certificate(certificate) => by_certificate(principal, own, certificate, settings, now),
        Presented::Token(text) => {
            let token = SasToken::parse(text)?;
            token.check_expiry(now)?;
            match token.policy {
                None => by_own_key(principal, own, &token, hosts),
                Some(_) => by_policy(principal, own, &token, settings, hosts),
            }
        }
    }?;
    check_status(credentials)?;
    Ok(authenticated)
}

fn by_own_key(
    principal: &Principal,
    own: Own<'_>,
    token: &SasToken<'_>,
    hosts: &HostNames,
) -> Result<Authenticated, Refusal> {
    let Authentication::Sas(keys) = own.authentication else {
        return Err(Refusal::TokenNotAllowed(own.authentication.kind()));
    };
    let signed = [&keys.primary, &keys.secondary].into_iter().find(|key| token.is_signed_by(key));
    let key = signed.ok_or(Refusal::WrongSignature)?;
    if !Audience::parse(token.resource).covers_principal(principal, hosts) {
        return Err(Refusal::wrong_audience(token.resource));
    }
    let method = match principal.module_id {
        None => ConnectionAuthMethod::DeviceKey,
        Some(_) => ConnectionAuthMethod::ModuleKey,
    };
    let fingerprint = Fingerprint::IdentityKey(CredentialDigest::of_key(own, key));
    Ok(Authenticated { expires: Some(token.expires()), fingerprint, method })
}

/// A token service signs for the device (security §14).
fn by_policy(
    principal: &Principal,
    own: Own<'_>,
    token: &SasToken<'_>,
    settings: &HubSettings,
    hosts: &HostNames,
) -> Result<Authenticated, Refusal> {
    let (policy, key) = check_policy(token, Right::DeviceConnect, settings)?;
    if !Audience::parse(token.resource).covers_principal(principal, hosts) {
        return Err(Refusal::wrong_audience(token.resource));
    }
    let fingerprint =
        Fingerprint::PolicyKey { policy: policy.name.as_str().into(), key: CredentialDigest::of_key(own, key) };
    Ok(Authenticated { expires: Some(token.expires()), fingerprint, method: ConnectionAuthMethod::Policy })
}

fn by_certificate(
    principal: &Principal,
    own: Own<'_>,
    certificate: &ClientCertificate,
    settings: &HubSettings,
    now: Timestamp,
) -> Result<Authenticated, Refusal> {
    let is_module = principal.module_id.is_some();
    let (fingerprint, method) = match own.authentication {
        Authentication::SelfSigned(thumbprints) => {
            let thumbprint = certificate.check(thumbprints, now)?;
            let method = match is_module {
                false => ConnectionAuthMethod::DeviceCertificate,
                true => ConnectionAuthMethod::ModuleCertificate,
            };
            (Fingerprint::Thumbprint(CredentialDigest::of_thumbprint(own, &thumbprint)), method)
        }
        Authentication::CertificateAuthority => {
            let chain = certificate.check_chain(principal, settings, now)?;
            let method = match is_module {
                false => ConnectionAuthMethod::DeviceCertificateAuthority,
                true => ConnectionAuthMethod::ModuleCertificateAuthority,
            };
            (Fingerprint::Authority(CredentialDigest::of_anchor(own, &chain.anchor)), method)
        }
        other => return Err(Refusal::CertificateNotAllowed(other.kind())),
    };
    Ok(Authenticated { expires: None, fingerprint, method })
}
