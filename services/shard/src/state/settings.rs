//! The hub's settings; they live in the hub group only. Each command replaces one section if the settings still have the
//! revision that the caller saw, so sections that a caller does not know survive it.

use model::{
    InvalidSettings, Overrides, SharedAccessPolicy, check_certificates, check_consumer_groups, check_policies,
};
use proto::shard::v1::{
    HubSettings, InitializeHub, PutCertificates, PutConsumerGroups, PutOverrides, PutPolicies, RestoreSettings,
    command_error::Code, command_result::Outcome,
};

use super::{
    Effect, keys,
    rows::{Entry, Failure, get, invalid},
};
use crate::store::{Rows, StoreError};

/// The settings, once the hub is initialised.
pub fn settings(rows: &impl Rows) -> Result<Option<HubSettings>, StoreError> {
    get(rows, &keys::settings())
}

/// Makes the first settings; later calls answer the ones that are there.
pub fn initialize(entry: &mut Entry<'_, '_>, command: InitializeHub) -> Result<Outcome, Failure> {
    if let Some(settings) = settings(entry.rows)? {
        return Ok(Outcome::Settings(settings));
    }
    let first = command.settings.ok_or_else(|| invalid("settings"))?;
    Ok(store(entry, HubSettings { revision: 1, created: entry.time, ..first }))
}

/// Replaces all policies.
pub fn put_policies(entry: &mut Entry<'_, '_>, command: PutPolicies) -> Result<Outcome, Failure> {
    let mut settings = next(entry, command.expected_revision)?;
    let policies: Result<Vec<SharedAccessPolicy>, _> =
        command.policies.iter().cloned().map(SharedAccessPolicy::try_from).collect();
    check_policies(&policies.map_err(|error| invalid(error.to_string()))?).map_err(refused)?;
    let mut policies = command.policies;
    for policy in policies.iter_mut().filter(|policy| !settings.policies.contains(policy)) {
        policy.etag = settings.revision;
    }
    settings.policies = policies;
    Ok(store(entry, settings))
}

/// Replaces all registered certificates.
pub fn put_certificates(entry: &mut Entry<'_, '_>, command: PutCertificates) -> Result<Outcome, Failure> {
    let mut settings = next(entry, command.expected_revision)?;
    let certificates: Vec<_> = command.certificates.iter().cloned().map(Into::into).collect();
    check_certificates(&certificates).map_err(refused)?;
    let mut certificates = command.certificates;
    for certificate in certificates.iter_mut().filter(|certificate| !settings.certificates.contains(certificate)) {
        let before = settings.certificates.iter().find(|it| it.name.eq_ignore_ascii_case(&certificate.name));
        certificate.created = before.map_or(entry.time, |before| before.created);
        certificate.updated = entry.time;
        certificate.etag = settings.revision;
    }
    settings.certificates = certificates;
    Ok(store(entry, settings))
}

/// Replaces all consumer groups.
pub fn put_consumer_groups(entry: &mut Entry<'_, '_>, command: PutConsumerGroups) -> Result<Outcome, Failure> {
    let mut settings = next(entry, command.expected_revision)?;
    let groups: Vec<_> = command.consumer_groups.iter().cloned().map(Into::into).collect();
    check_consumer_groups(&groups).map_err(refused)?;
    let mut groups = command.consumer_groups;
    for group in groups.iter_mut().filter(|group| !settings.consumer_groups.contains(group)) {
        group.created = entry.time;
        group.etag = settings.revision;
    }
    settings.consumer_groups = groups;
    Ok(store(entry, settings))
}

/// Replaces what is set for the whole hub.
pub fn put_overrides(entry: &mut Entry<'_, '_>, command: PutOverrides) -> Result<Outcome, Failure> {
    let mut settings = next(entry, command.expected_revision)?;
    let mut overrides = command.overrides.unwrap_or_default();
    Overrides::from(overrides).check().map_err(invalid)?;
    overrides.etag = settings.revision;
    settings.overrides = Some(overrides);
    Ok(store(entry, settings))
}

/// Replaces everything by what a backup has. The groups are this hub's own.
pub fn restore(entry: &mut Entry<'_, '_>, command: RestoreSettings) -> Result<Outcome, Failure> {
    let current = next(entry, command.expected_revision)?;
    let restored = command.settings.ok_or_else(|| invalid("settings"))?;
    Ok(store(entry, HubSettings { revision: current.revision, groups: current.groups, ..restored }))
}

/// The settings to change, their revision raised already.
fn next(entry: &Entry<'_, '_>, expected_revision: u64) -> Result<HubSettings, Failure> {
    let Some(settings) = settings(entry.rows)? else { return Err(Code::NotInitialized.into()) };
    if settings.revision != expected_revision {
        return Err(Code::PreconditionFailed.into());
    }
    Ok(HubSettings { revision: settings.revision + 1, ..settings })
}

fn refused(error: InvalidSettings) -> Failure {
    match error {
        InvalidSettings::TooMany(..) => Failure::Refused(Code::QuotaExceeded, error.to_string()),
        InvalidSettings::NoOwner | InvalidSettings::Value(_) => invalid(error.to_string()),
    }
}

fn store(entry: &mut Entry<'_, '_>, settings: HubSettings) -> Outcome {
    entry.put(&keys::settings(), &settings);
    entry.effects.push(Effect::SettingsChanged(settings.clone()));
    Outcome::Settings(settings)
}
