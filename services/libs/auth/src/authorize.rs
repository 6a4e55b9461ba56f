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
    token.check_expiry(now)?;
    let policy = granted(&token, operation, settings)?;
    if !Audience::parse(token.resource).covers_path(path, hosts) {
        return Err(Refusal::wrong_audience(token.resource));
    }
    Ok(Authorized { policy: policy.name.clone(), expires: token.expires() })
}

/// Checks a token of a policy for nothing but itself: what it opens is looked at when something is asked for.
pub fn verify_policy_token(
    token: &str,
    settings: &HubSettings,
    hosts: &HostNames,
    now: Timestamp,
) -> Result<Authorized, Refusal> {
    let token = SasToken::parse(token)?;
    token.check_expiry(now)?;
    let (policy, _) = signing_policy(&token, settings)?;
    if !Audience::parse(token.resource).is_of(hosts) {
        return Err(Refusal::wrong_audience(token.resource));
    }
    Ok(Authorized { policy: policy.name.clone(), expires: token.expires() })
}

/// The token's policy, when it opens the operation; else what is missing first.
fn granted<'a>(
    token: &SasToken<'_>,
    operation: Operation,
    settings: &'a HubSettings,
) -> Result<&'a SharedAccessPolicy, Refusal> {
    let rights = operation.any_of();
    let mut missing = None;
    let mut policy = None;
    for right in rights {
        match check_policy(token, *right, settings) {
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
) -> Result<(&'a SharedAccessPolicy, &'a SymmetricKey), Refusal> {
    let (policy, key) = signing_policy(token, settings)?;
    if !policy.rights.grants(needed) {
        return Err(Refusal::MissingRight { policy: policy.name.clone(), granted: policy.rights, needed });
    }
    Ok((policy, key))
}

/// The policy the token names, and which of its keys signed it.
fn signing_policy<'a>(
    token: &SasToken<'_>,
    settings: &'a HubSettings,
) -> Result<(&'a SharedAccessPolicy, &'a SymmetricKey), Refusal> {
    let name = token.policy.as_deref().ok_or(Refusal::NotAPolicyToken)?;
    let policy = settings.policy(name).ok_or_else(|| Refusal::unknown_policy(name))?;
    let keys = [&policy.keys.primary, &policy.keys.secondary];
    let key = keys.into_iter().find(|key| token.is_signed_by(key)).ok_or(Refusal::WrongSignature)?;
    Ok((policy, key))
}
