//! Many identities in one request (rest §4): each entry is applied on its own.

use std::collections::HashSet;

use auth::Operation;
use futures::future::OptionFuture;
use http::{HeaderValue, Response, StatusCode};
use model::{
    DeviceId, ModuleId, Principal, Timestamp,
    twin::{TwinChange, TwinETag},
};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use shard_client::{Change, Precondition};

use super::{
    authentication_json::Dialect,
    authorization::authorize,
    body::{self, Body},
    devices::created_by_device,
    error::ApiError,
    identity_json::{DeviceInput, ModuleInput},
    if_match, modules,
    route::{Call, parse_id},
    twin_json::TwinInput,
    twins,
};
use crate::Front;

/// Entries of one request at most.
pub(super) const ENTRIES_MAX: usize = 100;
/// Says in two headers that entries failed: one is read by people, the other tells the .NET SDK to read the body.
const FAILURE: HeaderValue = HeaderValue::from_static("BulkRegistryOperationFailure");

/// What an entry is about; the rest of it is read as a device or module.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    id: Option<String>,
    module_id: Option<String>,
    #[serde(rename = "eTag")]
    etag: Option<String>,
    #[serde(rename = "etag")]
    lower_case_etag: Option<String>,
    import_mode: Option<String>,
    #[serde(rename = "twinETag")]
    twin_etag: Option<String>,
}

/// What an entry does to its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Put(Precondition),
    Delete(Precondition),
    /// The twin only, when it has that version.
    UpdateTwin(Option<TwinETag>),
}

/// An entry on its way: what it becomes, or why not.
pub(super) struct Item {
    device_id: Option<String>,
    module_id: Option<String>,
    mode: Option<String>,
    change: Result<Change, ApiError>,
}

/// `POST /devices`.
pub(super) async fn change(call: Call<'_>) -> Result<Response<Body>, ApiError> {
    authorize(call.context, &call.parts.headers, Operation::WriteDevice, &["devices"])?;
    let front = &call.context.front;
    let entries: Vec<Box<RawValue>> = body::read_json(front, call.body, front.config.https.body_bytes_max).await?;
    let mut items = read_items(&entries, call.query.dialect(), front.now())?;
    let failures = apply(front, &mut items).await;
    if failures.len() == items.len()
        && let Some((_, error)) = failures.iter().find(|(_, error)| error.is_unavailable())
        && failures.iter().all(|(_, error)| error.is_unavailable())
    {
        return Err(error.clone());
    }
    Ok(answer(&items, &failures))
}

/// Every entry, whether it can be done or not, unless the request is wrong as a whole.
pub(super) fn read_items(entries: &[Box<RawValue>], dialect: Dialect, now: Timestamp) -> Result<Vec<Item>, ApiError> {
    check_count(entries.len())?;
    let items: Vec<_> = entries.iter().map(|entry| Item::read(entry, dialect, now)).collect();
    check_distinct(items.iter().map(|item| (item.device_id.as_deref(), item.module_id.as_deref())))?;
    Ok(items)
}

/// A request has 1 to so many entries.
pub(super) fn check_count(count: usize) -> Result<(), ApiError> {
    match count {
        0 => Err(ApiError::argument("The request has no entries")),
        count if count > ENTRIES_MAX => Err(ApiError::too_many_devices(count, ENTRIES_MAX)),
        _ => Ok(()),
    }
}

/// No identity stands in a request twice.
pub(super) fn check_distinct<'a>(
    mut identities: impl Iterator<Item = (Option<&'a str>, Option<&'a str>)>,
) -> Result<(), ApiError> {
    let mut seen = HashSet::new();
    match identities.find(|identity| identity.0.is_some() && !seen.insert(*identity)) {
        None => Ok(()),
        Some((device_id, module_id)) => {
            let parts: Vec<_> = [device_id, module_id].into_iter().flatten().collect();
            Err(ApiError::defined_multiple_times(&parts.join("/")))
        }
    }
}

impl Item {
    fn read(text: &RawValue, dialect: Dialect, now: Timestamp) -> Self {
        let entry: Entry = match serde_json::from_str(text.get()) {
            Ok(entry) => entry,
            Err(error) => return Self::unreadable(text, &error),
        };
        let change = entry.change(text, dialect, now);
        let module_id = entry.module_id.filter(|id| !id.is_empty());
        Self { device_id: entry.id, module_id, mode: entry.import_mode, change }
    }

    /// The answer names the entry as far as it can be read: its sender finds it by that.
    fn unreadable(text: &RawValue, error: &serde_json::Error) -> Self {
        let entry: Value = serde_json::from_str(text.get()).unwrap_or_default();
        let member = |name| entry.get(name).and_then(Value::as_str).map(str::to_owned);
        let change = Err(ApiError::format(format!("the entry is not valid: {error}")));
        Self { device_id: member("id"), module_id: member("moduleId"), mode: member("importMode"), change }
    }
}

impl Entry {
    fn change(&self, text: &RawValue, dialect: Dialect, now: Timestamp) -> Result<Change, ApiError> {
        let device_id = self.id.as_deref().ok_or_else(|| ApiError::argument("The entry has no id"))?;
        let device_id: DeviceId = parse_id("device", device_id)?;
        let module_id = self.module_id.as_deref().filter(|id| !id.is_empty());
        let module_id = module_id.map(|id| parse_id::<ModuleId>("module", id)).transpose()?;
        Ok(match (self.mode()?, module_id) {
            (Mode::Put(precondition), None) => {
                let identity = parse_entry::<DeviceInput>(text)?.into_identity(device_id, dialect, now)?;
                Change::PutDevice(Box::new(identity), precondition, twin_of(text)?)
            }
            (Mode::Put(precondition), Some(module_id)) => {
                let precondition = modules::precondition_of_put(&module_id, precondition)?;
                let identity = parse_entry::<ModuleInput>(text)?.into_identity(device_id, module_id, dialect, now)?;
                Change::PutModule(Box::new(identity), precondition, twin_of(text)?)
            }
            (Mode::UpdateTwin(expected), module_id) => {
                let change = twin_of(text)?
                    .ok_or_else(|| ApiError::argument("The entry has neither tags nor desired properties"))?;
                Change::UpdateTwin { principal: Principal { device_id, module_id }, expected, change }
            }
            (Mode::Delete(precondition), None) => Change::DeleteDevice(device_id, precondition),
            (Mode::Delete(precondition), Some(module_id)) => {
                modules::check_deletable(&module_id)?;
                Change::DeleteModule(device_id, module_id, precondition)
            }
        })
    }

    /// The table of rest §4. An entry that does not say it creates or replaces, as a line of an import file does.
    fn mode(&self) -> Result<Mode, ApiError> {
        let name = self.import_mode.as_deref().filter(|mode| !mode.is_empty()).unwrap_or("createOrUpdate");
        let put = |precondition| Ok(Mode::Put(precondition));
        match name.to_ascii_lowercase().as_str() {
            "create" => put(Precondition::Absent),
            "update" => put(Precondition::Present),
            "createorupdate" => put(Precondition::Anything),
            "updateifmatchetag" => put(self.if_match()?),
            "createorupdateifmatchetag" => put(match self.if_match()? {
                Precondition::Present => Precondition::Anything,
                Precondition::ETag(etag) => Precondition::AbsentOrETag(Some(etag)),
                _ => Precondition::AbsentOrETag(None),
            }),
            "delete" => Ok(Mode::Delete(Precondition::Present)),
            "deleteifmatchetag" => Ok(Mode::Delete(self.if_match()?)),
            "updatetwin" => Ok(Mode::UpdateTwin(None)),
            "updatetwinifmatchetag" => self.twin_if_match().map(Mode::UpdateTwin),
            _ => Err(ApiError::argument(format!("importMode is '{name}', which is none of the known modes"))),
        }
    }

    fn twin_if_match(&self) -> Result<Option<TwinETag>, ApiError> {
        let etag = self.twin_etag.as_deref().filter(|etag| !etag.is_empty());
        etag.map(twins::parse_if_match).ok_or_else(ApiError::entry_etag_missing)
    }

    fn if_match(&self) -> Result<Precondition, ApiError> {
        let etag = [&self.etag, &self.lower_case_etag].into_iter().flatten().find(|etag| !etag.is_empty());
        etag.map(|etag| if_match::parse(etag)).ok_or_else(ApiError::entry_etag_missing)
    }
}

/// The twin part of an entry, when it has one.
fn twin_of(text: &RawValue) -> Result<Option<Box<TwinChange>>, ApiError> {
    Ok(parse_entry::<TwinInput>(text)?.into_merge()?.map(Box::new))
}

fn parse_entry<'a, T: Deserialize<'a>>(text: &'a RawValue) -> Result<T, ApiError> {
    serde_json::from_str(text.get()).map_err(|error| ApiError::format(format!("the entry is not valid: {error}")))
}

/// Applies what can be applied. Answers what failed: position and error, in the order of the entries.
async fn apply(front: &Front, items: &mut [Item]) -> Vec<(usize, ApiError)> {
    let (mut positions, mut changes, mut claims, mut failures) = (vec![], vec![], vec![], vec![]);
    for (position, item) in items.iter_mut().enumerate() {
        let change = std::mem::replace(&mut item.change, Err(ApiError::null_body()));
        let created = change.as_ref().map_or(0, created_by);
        let claim = OptionFuture::from((created > 0).then(|| front.quota.claim(created))).await.transpose();
        match (change, claim) {
            (Ok(change), Ok(claim)) => {
                positions.push(position);
                changes.push(change);
                claims.extend(claim);
            }
            (Ok(change), Err(error)) => failures.push((position, refused(error, &change))),
            (Err(error), _) => failures.push((position, error)),
        }
    }
    let results = front.shard_client.change_identities(&changes).await;
    for ((position, change), result) in positions.into_iter().zip(&changes).zip(results) {
        if let Err(error) = result {
            failures.push((position, refused(error, change)));
        }
    }
    failures.sort_by_key(|(position, _)| *position);
    failures
}

fn created_by(change: &Change) -> u64 {
    match change {
        Change::PutDevice(identity, precondition, _) => created_by_device(identity, *precondition),
        Change::PutModule(_, precondition, _) => u64::from(precondition.may_create()),
        _ => 0,
    }
}

/// The error in the words of single requests.
pub(super) fn refused(error: shard_client::RegistryError, change: &Change) -> ApiError {
    let principal = change.principal();
    ApiError::registry(error, &principal.device_id, principal.module_id.as_ref())
}

fn answer(items: &[Item], failures: &[(usize, ApiError)]) -> Response<Body> {
    let errors = failures.iter().filter_map(|(position, error)| {
        let item = items.get(*position)?;
        Some(json!({
            "deviceId": item.device_id,
            "moduleId": item.module_id,
            "errorCode": error.number(),
            "errorStatus": error.message(),
            "operation": item.mode.as_deref().unwrap_or("createOrUpdate"),
        }))
    });
    let errors: Vec<_> = errors.collect();
    let (is_successful, status) =
        if errors.is_empty() { (true, StatusCode::OK) } else { (false, StatusCode::BAD_REQUEST) };
    let result = json!({ "isSuccessful": is_successful, "errors": errors, "warnings": [] });
    let mut response = body::with_json(status, result.to_string().into_bytes());
    if !is_successful {
        response.headers_mut().insert("iothub-errorcode", FAILURE);
        response.headers_mut().insert("iothuberrorcode", FAILURE);
    }
    response
}

#[cfg(test)]
mod tests {
    use model::ETag;

    use super::*;

    fn mode(mode: &str, etag: Option<&str>) -> Result<Mode, ApiError> {
        let text = json!({ "id": "d", "importMode": mode, "eTag": etag }).to_string();
        let entry: Entry = serde_json::from_str(&text).map_err(|error| ApiError::format(error.to_string()))?;
        entry.mode()
    }

    #[test]
    fn modes_compare_without_case_and_say_what_must_hold() -> Result<(), ApiError> {
        use Precondition::{Absent, AbsentOrETag, Anything, Present, Unmatchable};
        let version = ETag(7).to_string();
        let etag = Precondition::ETag(ETag(7));
        for (name, given, expected) in [
            ("create", None, Mode::Put(Absent)),
            ("Update", None, Mode::Put(Present)),
            ("UpdateIfMatchETag", Some(version.as_str()), Mode::Put(etag)),
            ("updateIfMatchETag", Some("*"), Mode::Put(Present)),
            ("updateIfMatchETag", Some("nonsense"), Mode::Put(Unmatchable)),
            ("createOrUpdate", None, Mode::Put(Anything)),
            ("", None, Mode::Put(Anything)),
            ("createOrUpdateIfMatchETag", Some(version.as_str()), Mode::Put(AbsentOrETag(Some(ETag(7))))),
            ("createOrUpdateIfMatchETag", Some("nonsense"), Mode::Put(AbsentOrETag(None))),
            ("createOrUpdateIfMatchETag", Some("\"*\""), Mode::Put(Anything)),
            ("DELETE", None, Mode::Delete(Present)),
            ("deleteIfMatchETag", Some(version.as_str()), Mode::Delete(etag)),
            ("UpdateTwin", None, Mode::UpdateTwin(None)),
        ] {
            assert_eq!(mode(name, given)?, expected, "{name} {given:?}");
        }
        for name in ["updateIfMatchETag", "deleteIfMatchETag", "updateTwinIfMatchETag", "upsert"] {
            assert!(mode(name, None).is_err(), "{name}");
        }
        Ok(())
    }
}
