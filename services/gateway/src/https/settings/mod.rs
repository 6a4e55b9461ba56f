//! The settings of the hub, an API of IronHub: `/ironhub/v1/{policies,certificates,consumer-groups,settings}` with the
//! field names of the management plane (rest §23). For policies with all four rights only.
//!
//! Every change is made on the settings as the hub group has them now, on the condition that nobody changes them
//! meanwhile; an `If-Match` is checked against that same state. Gateways watch the settings, so a change holds everywhere
//! within moments.

mod certificates;
mod cloud_to_device;
mod consumer_groups;
pub(super) mod overrides;
pub(super) mod policies;

use auth::Operation;
use aws_lc_rs::rand;
use http::{Method, Response};
use model::{HubSettings, check_certificates, check_consumer_groups, check_policies};
use serde_json::{Value, json};
use shard_client::SettingsError;

use super::{
    authorization::authorize,
    body::{self, Body},
    error::ApiError,
    route::Call,
};
use crate::Front;

/// How often a change is tried anew when others change the settings at the same time.
const TRIES_MAX: usize = 8;

/// Answers a request to one of the sections; `name` is the object's, in the letters of the caller.
pub(super) async fn answer(
    call: Call<'_>,
    method: &Method,
    path: &[&str],
    name: &str,
) -> Result<Response<Body>, ApiError> {
    let section = path.first().copied().unwrap_or_default();
    authorize(call.context, &call.parts.headers, Operation::ManageSettings, &["ironhub", "v1", section])?;
    match (path, method.as_str()) {
        (["policies"], "GET") => policies::list(call).await,
        (["policies", _], "GET") => policies::get(call, name).await,
        (["policies", _], "PUT") => policies::put(call, name).await,
        (["policies", _], "DELETE") => policies::delete(call, name).await,
        (["policies", _, "regenerate-key"], "POST") => policies::regenerate_key(call, name).await,
        (["certificates"], "GET") => certificates::list(call).await,
        (["certificates", _], "GET") => certificates::get(call, name).await,
        (["certificates", _], "PUT") => certificates::put(call, name).await,
        (["certificates", _], "DELETE") => certificates::delete(call, name).await,
        (["certificates", _, "generate-verification-code"], "POST") => certificates::generate_code(call, name).await,
        (["certificates", _, "verify"], "POST") => certificates::verify(call, name).await,
        (["consumer-groups"], "GET") => consumer_groups::list(call).await,
        (["consumer-groups", _], "GET") => consumer_groups::get(call, name).await,
        (["consumer-groups", _], "PUT") => consumer_groups::put(call, name).await,
        (["consumer-groups", _], "DELETE") => consumer_groups::delete(call, name).await,
        (["settings"], "GET") => overrides::get(call).await,
        (["settings"], "PATCH") => overrides::patch(call).await,
        (["settings"], "PUT") => overrides::put(call).await,
        (["settings"], _) => Err(ApiError::method_not_allowed("GET, PATCH, PUT")),
        (["policies" | "certificates" | "consumer-groups"], _) => Err(ApiError::method_not_allowed("GET")),
        (["policies" | "certificates" | "consumer-groups", _], _) => {
            Err(ApiError::method_not_allowed("GET, PUT, DELETE"))
        }
        (["policies", _, "regenerate-key"] | ["certificates", _, "generate-verification-code" | "verify"], _) => {
            Err(ApiError::method_not_allowed("POST"))
        }
        _ => Err(ApiError::not_found()),
    }
}

/// Which part of the settings a change is about; the others are left as they are.
enum Section {
    Policies,
    Certificates,
    ConsumerGroups,
    Overrides,
}

/// The settings as they are now.
async fn current(front: &Front) -> Result<HubSettings, ApiError> {
    front.shard_client.get_settings().await?.ok_or_else(ApiError::settings_missing)
}

/// Changes one section; `change` may be called again on newer settings. Answers the settings as they are afterwards, and
/// what the last call of `change` said.
async fn change<T>(
    front: &Front,
    section: Section,
    change: impl Fn(&mut HubSettings) -> Result<T, ApiError>,
) -> Result<(HubSettings, T), ApiError> {
    for _ in 0..TRIES_MAX {
        let mut settings = current(front).await?;
        let said = change(&mut settings)?;
        match put(front, &section, &settings).await? {
            Err(SettingsError::PreconditionFailed) => {}
            stored => return Ok((stored?, said)),
        }
    }
    Err(SettingsError::PreconditionFailed.into())
}

/// Checks the section and sends it to the hub group, which checks it again.
async fn put(
    front: &Front,
    section: &Section,
    settings: &HubSettings,
) -> Result<Result<HubSettings, SettingsError>, ApiError> {
    let client = &front.shard_client;
    Ok(match section {
        Section::Policies => {
            check_policies(&settings.policies)?;
            client.put_policies(settings.revision, &settings.policies).await
        }
        Section::Certificates => {
            check_certificates(&settings.certificates)?;
            client.put_certificates(settings.revision, &settings.certificates).await
        }
        Section::ConsumerGroups => {
            check_consumer_groups(&settings.consumer_groups)?;
            client.put_consumer_groups(settings.revision, &settings.consumer_groups).await
        }
        Section::Overrides => {
            settings.overrides.check().map_err(ApiError::argument)?;
            client.put_overrides(settings.revision, &settings.overrides).await
        }
    })
}

/// A list as the management plane wraps it.
fn list_of(values: Vec<Value>) -> Response<Body> {
    body::json(&json!({ "value": values }))
}

/// Random bytes, drawn once before the first try.
fn draw<const BYTES: usize>() -> Result<[u8; BYTES], ApiError> {
    let mut bytes = [0; BYTES];
    rand::fill(&mut bytes).map_err(|_| ApiError::no_randomness())?;
    Ok(bytes)
}
