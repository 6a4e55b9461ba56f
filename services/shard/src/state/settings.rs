//! The hub's settings; they live in the hub group only.

use proto::shard::v1::{HubSettings, InitializeHub, PutPolicies, command_error::Code, command_result::Outcome};

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
    Ok(store(entry, HubSettings { revision: 1, ..first }))
}

/// Replaces all policies if the settings still have the revision that the caller saw.
pub fn put_policies(entry: &mut Entry<'_, '_>, command: PutPolicies) -> Result<Outcome, Failure> {
    let Some(settings) = settings(entry.rows)? else { return Err(Code::NotInitialized.into()) };
    if settings.revision != command.expected_revision {
        return Err(Code::PreconditionFailed.into());
    }
    Ok(store(entry, HubSettings { revision: settings.revision + 1, policies: command.policies, ..settings }))
}

fn store(entry: &mut Entry<'_, '_>, settings: HubSettings) -> Outcome {
    entry.put(&keys::settings(), &settings);
    entry.effects.push(Effect::SettingsChanged(settings.clone()));
    Outcome::Settings(settings)
}
