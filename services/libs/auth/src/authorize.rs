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
    let mut refusal = None;
    let granted = operation.any_of().iter().find_map(|right| match check_policy(&token, *right, settings) {
        Ok((policy, _)) => Some(policy),
        Err(error) => {
            refusal.get_or_insert(error);
            None
        }
    });
    let policy = granted.ok_or_else(|| refusal.unwrap_or(Refusal::NotAPolicyToken))?;
    if !Audience::parse(token.resource).covers_path(path, hosts) {
        return Err(Refusal::wrong_audience(token.resource));
    }
    Ok(Authorized { policy: policy.name.clone(), expires: token.expires() })
}

/// The policy the token names, and which of its keys signed it. The signature is checked before the right.
pub(crate) fn check_policy<'a>(
    token: &SasToken<'_>,
    needed: Right,
    settings: &'a HubSettings,
) -> Result<(&'a SharedAccessPolicy, &'a SymmetricKey), Refusal> {
    let name = token.policy.as_deref().ok_or(Refusal::NotAPolicyToken)?;
    let policy = settings.policy(name).ok_or_else(|| Refusal::unknown_policy(name))?;
    let keys = [&policy.keys.primary, &policy.keys.secondary];
    let key = keys.into_iter().find(|key| token.is_signed_by(key)).ok_or(Refusal::WrongSignature)?;
    if !policy.rights.grants(needed) {
        return Err(Refusal::MissingRight { policy: policy.name.clone(), granted: policy.rights, needed });
    }
    Ok((policy, key))
}
