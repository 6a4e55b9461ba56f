//! Policies, certificates, consumer groups and what is set for the whole hub.

use model::{Overrides, Timestamp};

use super::{Action, Plan};
use crate::{
    hub::{HubCertificate, HubPolicy, HubState},
    resource::{IotHubStatus, Managed},
    validate::{Wanted, WantedCertificate, WantedPolicy},
};

/// Deletes come first: they make room.
pub fn plan(
    plan: &mut Plan,
    wanted: &Wanted,
    hub: &HubState,
    status: &IotHubStatus,
    owner_policy: &str,
    now: Timestamp,
) {
    let (named, managed) = (&wanted.named, &status.managed);
    for policy in &hub.policies {
        let is_owner = policy.name.eq_ignore_ascii_case(owner_policy);
        if is_dropped(&policy.name, &named.policies, &managed.policies) && !is_owner {
            plan.actions.push(Action::DeletePolicy { name: policy.name.clone(), etag: policy.etag.clone() });
        }
    }
    for certificate in &hub.certificates {
        if is_dropped(&certificate.name, &named.certificates, &managed.certificates) {
            let (name, etag) = (certificate.name.clone(), certificate.etag.clone());
            plan.actions.push(Action::DeleteCertificate { name, etag });
        }
    }
    for group in &hub.consumer_groups {
        if is_dropped(&group.name, &named.consumer_groups, &managed.consumer_groups) {
            plan.actions.push(Action::DeleteConsumerGroup { name: group.name.clone(), etag: group.etag.clone() });
        }
    }
    plan.actions.extend(wanted.policies.iter().filter_map(|wanted| policy(wanted, hub)));
    for wanted in &wanted.certificates {
        match certificate(wanted, hub, status, now) {
            Ok(action) => plan.actions.extend(action),
            Err(problem) => plan.problems.push(format!("certificate {}: {problem}", wanted.name)),
        }
    }
    let is_there = |name: &&String| hub.consumer_groups.iter().any(|group| group.name.eq_ignore_ascii_case(name));
    let missing = wanted.consumer_groups.iter().filter(|name| !is_there(name));
    plan.actions.extend(missing.map(|name| Action::PutConsumerGroup { name: name.clone() }));
    if let Some(settings) = &wanted.settings
        && *settings != (Overrides { etag: settings.etag, ..hub.settings.clone() })
    {
        let (etag, settings) = (hub.settings_etag.clone(), settings.clone());
        plan.actions.push(Action::PutSettings { etag, settings });
    }
}

/// What is deleted once it is taken off the spec: what the spec names, and what it named and the hub still has. It is
/// written down before anything is made, so that nothing is forgotten. The operator's own policy is never among it.
pub fn next_managed(named: &Managed, managed: &Managed, hub: &HubState, owner_policy: &str) -> Managed {
    let next = |named: &[String], managed: &[String], there: Vec<&String>| {
        let left = managed.iter().filter(|name| !contains(named, name) && there.iter().any(|it| same(it, name)));
        let mut next: Vec<String> = named.iter().chain(left).cloned().collect();
        next.retain(|name| !same(name, owner_policy));
        next.sort();
        next
    };
    Managed {
        policies: next(&named.policies, &managed.policies, hub.policies.iter().map(|it| &it.name).collect()),
        certificates: next(
            &named.certificates,
            &managed.certificates,
            hub.certificates.iter().map(|it| &it.name).collect(),
        ),
        consumer_groups: next(
            &named.consumer_groups,
            &managed.consumer_groups,
            hub.consumer_groups.iter().map(|it| &it.name).collect(),
        ),
    }
}

/// Whether it came from the spec and is not there any more.
fn is_dropped(name: &str, named: &[String], managed: &[String]) -> bool {
    contains(managed, name) && !contains(named, name)
}

fn contains(names: &[String], name: &str) -> bool {
    names.iter().any(|it| same(it, name))
}

/// Names of the hub compare without case.
fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

fn policy(wanted: &WantedPolicy, hub: &HubState) -> Option<Action> {
    let there = hub.policies.iter().find(|policy| same(&policy.name, &wanted.name));
    if there.is_some_and(|there| is_as_wanted(there, wanted)) {
        return None;
    }
    Some(Action::PutPolicy {
        name: wanted.name.clone(),
        etag: there.map(|there| there.etag.clone()),
        rights: wanted.rights,
        primary: wanted.primary.clone(),
        secondary: wanted.secondary.clone(),
    })
}

fn is_as_wanted(there: &HubPolicy, wanted: &WantedPolicy) -> bool {
    let is = |key: &str, wanted: &Option<model::SymmetricKey>| {
        wanted.as_ref().is_none_or(|wanted| wanted.as_base64() == key)
    };
    there.rights() == wanted.rights
        && is(&there.primary_key, &wanted.primary)
        && is(&there.secondary_key, &wanted.secondary)
}

fn certificate(
    wanted: &WantedCertificate,
    hub: &HubState,
    status: &IotHubStatus,
    now: Timestamp,
) -> Result<Option<Action>, String> {
    let there = hub.certificates.iter().find(|it| same(&it.name, &wanted.name));
    let is_verified = wanted.is_verified.then_some(true);
    let put = |etag| Action::PutCertificate {
        name: wanted.name.clone(),
        etag,
        certificate: wanted.text.clone(),
        is_verified,
    };
    match there {
        None => Ok(Some(put(None))),
        Some(there) if there.properties.certificate != wanted.text => Ok(Some(put(Some(there.etag.clone())))),
        Some(there) if there.properties.is_verified => Ok(None),
        Some(there) if wanted.is_verified => Ok(Some(put(Some(there.etag.clone())))),
        Some(there) => possession(wanted, there, status, now),
    }
}

/// The next step of the proof that the private key is the owner's. A code is known from the status alone.
fn possession(
    wanted: &WantedCertificate,
    there: &HubCertificate,
    status: &IotHubStatus,
    now: Timestamp,
) -> Result<Option<Action>, String> {
    let (name, etag) = (there.name.clone(), there.etag.clone());
    let known = status
        .certificates
        .iter()
        .find(|it| same(&it.name, &there.name) && Some(&it.thumbprint) == there.properties.thumbprint.as_ref());
    let Some(code) = known.and_then(|known| known.verification_code.as_ref()) else {
        return Ok(Some(Action::GenerateVerificationCode { name, etag }));
    };
    let Some(proof) = &wanted.proof else { return Ok(None) };
    wanted.authority.verify_possession(proof, code, now).map_err(|error| format!("its proof: {error}"))?;
    Ok(Some(Action::VerifyCertificate { name, etag, proof: proof.clone() }))
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
