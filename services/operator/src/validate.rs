//! The second step: what is written becomes what is wanted. Pure.
//!
//! What is wrong is named and left out; the rest goes on. Left out does not mean taken off: it is not deleted from the hub.

use std::collections::{BTreeMap, BTreeSet};

use auth::{AuthorityCertificate, InvalidCertificate};
use base64::{Engine, prelude::BASE64_STANDARD};
use model::{CloudToDeviceOverrides, Overrides, Right as R, Rights, SymmetricKey, Timestamp, parse_duration_seconds};

use crate::resource::{Certificate, CloudToDevice, IotHubSpec, KeysSecret, Managed, Policy, Right, Settings};

/// The Secrets that a spec names, as far as they are there: entries that are text.
pub type Secrets = BTreeMap<String, BTreeMap<String, String>>;

/// What is wanted, in types that cannot be wrong.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    pub shards: Option<u32>,
    pub drained_shards: BTreeSet<u32>,
    pub replication: Option<u32>,
    pub policies: Vec<WantedPolicy>,
    pub certificates: Vec<WantedCertificate>,
    pub consumer_groups: Vec<String>,
    pub settings: Option<Overrides>,
    /// All names of the spec, also of what is wrong.
    pub named: Managed,
}

/// A policy as it is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct WantedPolicy {
    pub name: String,
    pub rights: Rights,
    /// Unset: as it is, or drawn.
    pub primary: Option<SymmetricKey>,
    pub secondary: Option<SymmetricKey>,
}

/// A certificate as it is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct WantedCertificate {
    pub name: String,
    pub authority: AuthorityCertificate,
    /// DER in base64, as the hub answers it.
    pub text: String,
    pub is_verified: bool,
    pub proof: Option<String>,
}

/// Names of the Secrets that are needed.
pub fn secret_names(spec: &IotHubSpec) -> BTreeSet<&str> {
    let keys = spec.policies.iter().filter_map(|policy| policy.keys_secret.as_ref()).map(|secret| secret.name.as_str());
    let certificates = spec.certificates.iter().filter_map(|certificate| certificate.certificate_secret.as_ref());
    keys.chain(certificates.map(|secret| secret.name.as_str())).collect()
}

/// What is wanted, and what is wrong in words for people. `owner_policy` is the one that the operator itself uses.
pub fn validate(spec: &IotHubSpec, secrets: &Secrets, owner_policy: &str, now: Timestamp) -> (Wanted, Vec<String>) {
    let mut problems = Vec::new();
    let policies = spec.policies.iter().map(|policy| self::policy(policy, secrets, owner_policy));
    let policies = sorted_out(policies, &mut problems);
    let certificates = spec.certificates.iter().map(|certificate| self::certificate(certificate, secrets, now));
    let certificates = sorted_out(certificates, &mut problems);
    let settings = spec.settings.as_ref().map(self::settings);
    let settings = sorted_out(settings.into_iter(), &mut problems).pop();
    let named = Managed {
        policies: spec.policies.iter().map(|policy| policy.name.clone()).collect(),
        certificates: spec.certificates.iter().map(|certificate| certificate.name.clone()).collect(),
        consumer_groups: spec.consumer_groups.clone(),
    };
    for (what, names) in
        [("policy", &named.policies), ("certificate", &named.certificates), ("consumer group", &named.consumer_groups)]
    {
        problems
            .extend(twice(names).map(|name| format!("{what} {name}: the name is there twice; case does not count")));
    }
    let wanted = Wanted {
        shards: spec.shards,
        drained_shards: spec.drained_shards.iter().copied().collect(),
        replication: spec.replication.map(u32::from),
        policies,
        certificates,
        consumer_groups: spec.consumer_groups.clone(),
        settings,
        named,
    };
    (wanted, problems)
}

/// Keeps what is well.
fn sorted_out<T>(items: impl Iterator<Item = Result<T, String>>, problems: &mut Vec<String>) -> Vec<T> {
    items.filter_map(|item| item.map_err(|problem| problems.push(problem)).ok()).collect()
}

fn twice(names: &[String]) -> impl Iterator<Item = &String> {
    let is_again = |(position, name): &(usize, &String)| {
        names.iter().take(*position).any(|earlier| earlier.eq_ignore_ascii_case(name))
    };
    names.iter().enumerate().filter(is_again).map(|(_, name)| name)
}

fn policy(policy: &Policy, secrets: &Secrets, owner_policy: &str) -> Result<WantedPolicy, String> {
    let Policy { name, rights, keys_secret } = policy;
    let problem = |text: String| format!("policy {name}: {text}");
    let rights: Vec<R> = rights.iter().copied().map(R::from).collect();
    let rights = Rights::of(&rights);
    if name.eq_ignore_ascii_case(owner_policy) && !rights.are_all() {
        return Err(problem("the operator acts by it, so it needs all four rights".to_owned()));
    }
    let (primary, secondary) = match keys_secret {
        None => (None, None),
        Some(secret) => keys(secret, secrets).map_err(problem)?,
    };
    Ok(WantedPolicy { name: name.clone(), rights, primary, secondary })
}

type Keys = (Option<SymmetricKey>, Option<SymmetricKey>);

fn keys(secret: &KeysSecret, secrets: &Secrets) -> Result<Keys, String> {
    let KeysSecret { name, primary_key, secondary_key } = secret;
    let entries = secrets.get(name).ok_or_else(|| format!("the Secret {name} is not there"))?;
    let key = |entry: &str| {
        let text = entries.get(entry).map(|text| text.trim()).filter(|text| !text.is_empty());
        let key = text.map(str::parse::<SymmetricKey>).transpose();
        key.map_err(|_| format!("{entry} in the Secret {name} is no key: 16 to 64 bytes in base64"))
    };
    match (key(primary_key)?, key(secondary_key)?) {
        (None, None) => Err(format!("the Secret {name} has neither {primary_key} nor {secondary_key}")),
        keys => Ok(keys),
    }
}

fn certificate(certificate: &Certificate, secrets: &Secrets, now: Timestamp) -> Result<WantedCertificate, String> {
    let name = &certificate.name;
    let problem = |text: String| format!("certificate {name}: {text}");
    let text = certificate_text(certificate, secrets).map_err(problem)?;
    let authority = AuthorityCertificate::parse(text).map_err(|error| problem(error.to_string()))?;
    if authority.expires < now {
        return Err(problem(InvalidCertificate::Expired.to_string()));
    }
    Ok(WantedCertificate {
        name: name.clone(),
        text: BASE64_STANDARD.encode(&authority.der),
        authority,
        is_verified: certificate.is_verified,
        proof: certificate.proof.clone(),
    })
}

fn certificate_text<'a>(certificate: &'a Certificate, secrets: &'a Secrets) -> Result<&'a str, String> {
    match (&certificate.certificate, &certificate.certificate_secret) {
        (Some(text), None) => Ok(text),
        (None, Some(secret)) => {
            let entries = secrets.get(&secret.name);
            let entries = entries.ok_or_else(|| format!("the Secret {} is not there", secret.name))?;
            let text = entries.get(&secret.key);
            Ok(text.ok_or_else(|| format!("the Secret {} has no {}", secret.name, secret.key))?)
        }
        _ => Err("it is either in `certificate` or in a Secret that `certificateSecret` names".to_owned()),
    }
}

fn settings(settings: &Settings) -> Result<Overrides, String> {
    let days = settings.retention_time_in_days.map(|days| days.saturating_mul(24));
    let event_retention_hours = match (settings.retention_time_in_hours, days) {
        (Some(hours), Some(days)) if hours != days => {
            return Err("settings: retentionTimeInHours and retentionTimeInDays say different things".to_owned());
        }
        (hours, days) => hours.or(days),
    };
    let overrides = Overrides {
        event_retention_hours,
        message_bytes_max: settings.message_bytes_max,
        subscriptions_max: settings.subscriptions_max,
        connections_max: settings.connections_max,
        token_grace_seconds: settings.token_grace_seconds,
        cloud_to_device: cloud_to_device(&settings.cloud_to_device)?,
        ..Overrides::default()
    };
    overrides.check().map_err(|problem| format!("settings: {problem}"))?;
    Ok(overrides)
}

fn cloud_to_device(settings: &CloudToDevice) -> Result<CloudToDeviceOverrides, String> {
    let seconds = |name: &str, text: &Option<String>| {
        let seconds = text.as_deref().map(|text| parse_duration_seconds(text).ok_or(text)).transpose();
        seconds.map_err(|text| {
            format!("settings: cloudToDevice.{name}: {text:?} is no ISO 8601 duration of whole seconds such as PT1H")
        })
    };
    Ok(CloudToDeviceOverrides {
        default_ttl_seconds: seconds("defaultTtlAsIso8601", &settings.default_ttl)?,
        delivery_count_max: settings.max_delivery_count,
        feedback_ttl_seconds: seconds("feedback.ttlAsIso8601", &settings.feedback.ttl)?,
        feedback_lock_seconds: seconds("feedback.lockDurationAsIso8601", &settings.feedback.lock_duration)?,
        feedback_delivery_count_max: settings.feedback.max_delivery_count,
    })
}

impl From<Right> for R {
    fn from(right: Right) -> Self {
        match right {
            Right::RegistryRead => Self::RegistryRead,
            Right::RegistryWrite => Self::RegistryWrite,
            Right::ServiceConnect => Self::ServiceConnect,
            Right::DeviceConnect => Self::DeviceConnect,
        }
    }
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
