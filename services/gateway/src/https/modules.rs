//! Module identities (rest §6).

use auth::Operation;
use http::Response;
use model::{DeviceId, ModuleId, ModuleIdentity};
use serde_json::Value;
use shard_client::Precondition;

use super::{
    authentication_json::Dialect,
    authorization::authorize_modules,
    body::{self, Body},
    devices::put_etag,
    error::ApiError,
    identity_json::{self, ModuleInput},
    if_match,
    route::Call,
};

/// `GET /devices/{id}/modules`.
pub(super) async fn list(call: Call<'_>, device_id: DeviceId) -> Result<Response<Body>, ApiError> {
    let path = ["devices", device_id.as_str(), "modules"];
    authorize_modules(call.context, &call.parts.headers, Operation::ListModules, &device_id, &path).await?;
    let modules = call.context.front.shard_client.list_modules(&device_id).await?;
    let modules = modules.ok_or_else(|| ApiError::device_not_found(&device_id))?;
    let dialect = call.query.dialect();
    Ok(body::json(&modules.iter().map(|module| identity_json::module(module, dialect)).collect::<Vec<Value>>()))
}

/// `GET /devices/{id}/modules/{module id}`.
pub(super) async fn get(call: Call<'_>, device_id: DeviceId, id: ModuleId) -> Result<Response<Body>, ApiError> {
    authorize_modules(call.context, &call.parts.headers, Operation::ReadModule, &device_id, &path(&device_id, &id))
        .await?;
    let module = call.context.front.shard_client.get_module(&device_id, &id).await?;
    match module {
        Some(module) => Ok(answer(&module, call.query.dialect())),
        None => Err(not_found(&call, &device_id, &id).await?),
    }
}

/// `PUT /devices/{id}/modules/{module id}`: creates without `If-Match`, replaces with it.
pub(super) async fn put(call: Call<'_>, device_id: DeviceId, id: ModuleId) -> Result<Response<Body>, ApiError> {
    authorize_modules(call.context, &call.parts.headers, Operation::WriteModule, &device_id, &path(&device_id, &id))
        .await?;
    let front = &call.context.front;
    let precondition = precondition_of_put(&id, if_match::of_put(&call.parts.headers))?;
    let input: ModuleInput = body::read_json(front, call.body, front.config.https.body_bytes_max).await?;
    let dialect = call.query.dialect();
    let identity = input.into_identity(device_id.clone(), id.clone(), dialect, front.now())?;
    let refused = |error| ApiError::registry(error, &device_id, Some(&id));
    let _claim = front.quota.claim(u64::from(precondition.may_create())).await.map_err(refused)?;
    let stored = front.shard_client.put_module(&identity, precondition).await.map_err(refused)?;
    Ok(answer(&stored, dialect))
}

/// `DELETE /devices/{id}/modules/{module id}`; `If-Match` is required.
pub(super) async fn delete(call: Call<'_>, device_id: DeviceId, id: ModuleId) -> Result<Response<Body>, ApiError> {
    authorize_modules(call.context, &call.parts.headers, Operation::DeleteModule, &device_id, &path(&device_id, &id))
        .await?;
    let precondition = if_match::of_delete(&call.parts.headers).ok_or_else(ApiError::etag_missing)?;
    check_deletable(&id)?;
    let deleted = call.context.front.shard_client.delete_module(&device_id, &id, precondition).await;
    deleted.map_err(|error| ApiError::registry(error, &device_id, Some(&id)))?;
    Ok(body::no_content())
}

/// The hub's own modules may be changed but not made by others, and nobody may make more with a `$` (rest §6).
pub(super) fn precondition_of_put(id: &ModuleId, precondition: Precondition) -> Result<Precondition, ApiError> {
    match precondition {
        _ if id.is_reserved() && !id.is_system() => {
            Err(ApiError::argument(format!("Invalid module id '{id}': only modules of the hub begin with $")))
        }
        Precondition::Absent if id.is_system() => Err(ApiError::system_module(id)),
        Precondition::Anything if id.is_system() => Ok(Precondition::Present),
        Precondition::AbsentOrETag(etag) if id.is_system() => {
            Ok(etag.map_or(Precondition::Unmatchable, Precondition::ETag))
        }
        precondition => Ok(precondition),
    }
}

/// The hub's own modules live as long as their device.
pub(super) fn check_deletable(id: &ModuleId) -> Result<(), ApiError> {
    if id.is_system() { Err(ApiError::system_module(id)) } else { Ok(()) }
}

/// Which of the two is missing.
async fn not_found(call: &Call<'_>, device_id: &DeviceId, id: &ModuleId) -> Result<ApiError, ApiError> {
    let device = call.context.front.shard_client.get_device(device_id).await?;
    Ok(device.map_or_else(|| ApiError::device_not_found(device_id), |_| ApiError::module_not_found(device_id, id)))
}

fn path<'a>(device_id: &'a DeviceId, id: &'a ModuleId) -> [&'a str; 4] {
    ["devices", device_id.as_str(), "modules", id.as_str()]
}

fn answer(module: &ModuleIdentity, dialect: Dialect) -> Response<Body> {
    let mut response = body::json(&identity_json::module(module, dialect));
    put_etag(response.headers_mut(), module.etag);
    response
}
