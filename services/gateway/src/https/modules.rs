//! Module identities (rest §6).

use auth::Operation;
use http::Response;
use model::{DeviceId, ModuleId, ModuleIdentity};
use serde_json::Value;

use super::{
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
    Ok(body::json(&modules.iter().map(identity_json::module).collect::<Vec<Value>>()))
}

/// `GET /devices/{id}/modules/{module id}`.
pub(super) async fn get(call: Call<'_>, device_id: DeviceId, id: ModuleId) -> Result<Response<Body>, ApiError> {
    authorize_modules(call.context, &call.parts.headers, Operation::ReadModule, &device_id, &path(&device_id, &id))
        .await?;
    let module = call.context.front.shard_client.get_module(&device_id, &id).await?;
    match module {
        Some(module) => Ok(answer(&module)),
        None => Err(not_found(&call, &device_id, &id).await?),
    }
}

/// `PUT /devices/{id}/modules/{module id}`: creates without `If-Match`, replaces with it.
pub(super) async fn put(call: Call<'_>, device_id: DeviceId, id: ModuleId) -> Result<Response<Body>, ApiError> {
    authorize_modules(call.context, &call.parts.headers, Operation::WriteModule, &device_id, &path(&device_id, &id))
        .await?;
    let front = &call.context.front;
    let precondition = if_match::of_put(&call.parts.headers);
    let input: ModuleInput = body::read_json(front, call.body, front.config.https.body_bytes_max).await?;
    let identity = input.into_identity(device_id.clone(), id.clone(), front.now())?;
    let stored = front.shard_client.put_module(&identity, precondition).await;
    Ok(answer(&stored.map_err(|error| ApiError::registry(error, &device_id, Some(&id)))?))
}

/// `DELETE /devices/{id}/modules/{module id}`; `If-Match` is required.
pub(super) async fn delete(call: Call<'_>, device_id: DeviceId, id: ModuleId) -> Result<Response<Body>, ApiError> {
    authorize_modules(call.context, &call.parts.headers, Operation::DeleteModule, &device_id, &path(&device_id, &id))
        .await?;
    let precondition = if_match::of_delete(&call.parts.headers).ok_or_else(ApiError::etag_missing)?;
    let deleted = call.context.front.shard_client.delete_module(&device_id, &id, precondition).await;
    deleted.map_err(|error| ApiError::registry(error, &device_id, Some(&id)))?;
    Ok(body::no_content())
}

/// Which of the two is missing.
async fn not_found(call: &Call<'_>, device_id: &DeviceId, id: &ModuleId) -> Result<ApiError, ApiError> {
    let device = call.context.front.shard_client.get_device(device_id).await?;
    Ok(device.map_or_else(|| ApiError::device_not_found(device_id), |_| ApiError::module_not_found(device_id, id)))
}

fn path<'a>(device_id: &'a DeviceId, id: &'a ModuleId) -> [&'a str; 4] {
    ["devices", device_id.as_str(), "modules", id.as_str()]
}

fn answer(module: &ModuleIdentity) -> Response<Body> {
    let mut response = body::json(&identity_json::module(module));
    put_etag(response.headers_mut(), module.etag);
    response
}
