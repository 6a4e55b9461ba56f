//! A back end asks for a service operation (security §5.2, rest §2.3).

use model::{HubSettings, Right, SharedAccessPolicy, SymmetricKey, Timestamp};

use crate::{HostNames, Operation, Refusal, SasToken, audience::Audience};

/// An accepted service token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorized {
    /// Name of the policy whose key signed it.
    pub policy: String,
    pub expires: Timestamp,
}

/// Checks a token for an operation on a resource, given as path segments such as `["devices", "d1"]`.
pub fn authorize(
    token: &str,
    operation: Operation,
    path: &[&str],
    settings: &HubSettings,
    hosts: &HostNames,
    now: Timestamp,
) -> Result<Authorized, Refusal> {
    let token = SasToken::parse(token)?;
    let signed = |token: &SasToken<'_>| granted(token, operation, settings, |key| token.is_signed_by(key));
    accept(&token, now, signed, |audience| audience.covers_path(path, hosts))
}

/// The same for a resource whose parts are opened by tokens for any of them (amqp §8.7): the `sr` is the resource,
/// contains it, or lies within it. Tokens of Event Hubs clients are accepted too.
pub fn authorize_within(
    token: &str,
    operation: Operation,
    path: &[&str],
    settings: &HubSettings,
    hosts: &HostNames,
    now: Timestamp,
) -> Result<Authorized, Refusal> {
    let token = SasToken::parse(token)?;
    let signed = |token: &SasToken<'_>| granted(token, operation, settings, |key| is_signed_in_any_form(token, key));
    accept(&token, now, signed, |audience| audience.meets_path(path, hosts))
}

/// Whether the key signed it, or its text, as in tokens of Event Hubs clients.
fn is_signed_in_any_form(token: &SasToken<'_>, key: &SymmetricKey) -> bool {
    token.is_signed_by(key) || token.is_signed_by_text(key)
}

/// Checks a token of a policy for nothing but itself: what it opens is looked at when something is asked for. Tokens of
/// Event Hubs clients are accepted too.
pub fn verify_policy_token(
    token: &str,
    settings: &HubSettings,
    hosts: &HostNames,
    now: Timestamp,
) -> Result<Authorized, Refusal> {
    let token = SasToken::parse(token)?;
    let signed = |token: &SasToken<'_>| {
        signing_policy(token, settings, |key| is_signed_in_any_form(token, key)).map(|(policy, _)| policy)
    };
    accept(&token, now, signed, |audience| audience.is_of(hosts))
}

/// The checks in their order: expiry, signature and right, audience.
fn accept<'s>(
    token: &SasToken<'_>,
    now: Timestamp,
    signed: impl FnOnce(&SasToken<'_>) -> Result<&'s SharedAccessPolicy, Refusal>,
    is_for: impl FnOnce(&Audience<'_>) -> bool,
) -> Result<Authorized, Refusal> {
    token.check_expiry(now)?;
    let policy = signed(token)?;
    if !is_for(&Audience::parse(token.resource)) {
        return Err(Refusal::wrong_audience(token.resource));
    }
    Ok(Authorized { policy: policy.name.clone(), expires: token.expires() })
}

/// The token's policy, when it opens the operation; else what is missing first.
fn granted<'a>(
    token: &SasToken<'_>,
    operation: Operation,
    settings: &'a HubSettings,
    is_signed: impl Fn(&SymmetricKey) -> bool,
) -> Result<&'a SharedAccessPolicy, Refusal> {
    let rights = operation.any_of();
    let mut missing = None;
    let mut policy = None;
    for right in rights {
        match signing_policy(token, settings, &is_signed).and_then(|found| check_right(found, *right)) {
            Ok((found, _)) => policy = Some(found),
            Err(error) => {
                missing.get_or_insert(error);
            }
        }
    }
    match (policy, missing) {
        (Some(policy), None) => Ok(policy),
        (Some(policy), Some(_)) if !operation.needs_all() => Ok(policy),
        (_, missing) => Err(missing.unwrap_or(Refusal::NotAPolicyToken)),
    }
}

/// The policy the token names, and which of its keys signed it. The signature is checked before the right.
pub(crate) fn check_policy<'a>(
    token: &SasToken<'_>,
    needed: Right,
    settings: &'a HubSettings,
) -> Result<Signer<'a>, Refusal> {
    check_right(signing_policy(token, settings, |key| token.is_signed_by(key))?, needed)
}

type Signer<'a> = (&'a SharedAccessPolicy, &'a SymmetricKey);

fn check_right(signer: Signer<'_>, needed: Right) -> Result<Signer<'_>, Refusal> {
    let (policy, _) = signer;
    if !policy.rights.grants(needed) {
        return Err(Refusal::MissingRight { policy: policy.name.clone(), granted: policy.rights, needed });
    }
    Ok(signer)
}

/// The policy the token names, and which of its keys signed it.
fn signing_policy<'a>(
    token: &SasToken<'_>,
    settings: &'a HubSettings,
    is_signed: impl Fn(&SymmetricKey) -> bool,
) -> Result<Signer<'a>, Refusal> {
    let name = token.policy.as_deref().ok_or(Refusal::NotAPolicyToken)?;
    let policy = settings.policy(name).ok_or_else(|| Refusal::unknown_policy(name))?;
    let keys = [&policy.keys.primary, &policy.keys.secondary];
    let key = keys.into_iter().find(|key| is_signed(key)).ok_or(Refusal::WrongSignature)?;
    Ok((policy, key))
}
