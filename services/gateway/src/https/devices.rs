//! Device identities (rest §3).

use auth::Operation;
use http::{HeaderMap, HeaderValue, Response, header};
use model::{DeviceId, DeviceIdentity, ETag, ModuleId};
use serde_json::Value;
use shard_client::Precondition;

use super::{
    authentication_json::Dialect,
    authorization::authorize,
    body::{self, Body},
    error::ApiError,
    identity_json::{self, DeviceInput},
    if_match,
    route::Call,
};

/// A list has at most so many devices, and so many when the caller asks for no other number.
const LIST_MAX: usize = 1000;

/// `GET /devices?top=N`.
pub(super) async fn list(call: Call<'_>) -> Result<Response<Body>, ApiError> {
    authorize(call.context, &call.parts.headers, Operation::ListDevices, &["devices"])?;
    let top = call.query.get("top").and_then(|top| top.parse().ok());
    let limit = top.filter(|top| (1..=LIST_MAX).contains(top)).unwrap_or(LIST_MAX);
    let devices = call.context.front.shard_client.list_devices(limit).await?;
    let dialect = call.query.dialect();
    Ok(body::json(&devices.iter().map(|device| identity_json::device(device, dialect)).collect::<Vec<Value>>()))
}

/// `GET /devices/{id}`.
pub(super) async fn get(call: Call<'_>, id: DeviceId) -> Result<Response<Body>, ApiError> {
    authorize(call.context, &call.parts.headers, Operation::ReadDevice, &["devices", id.as_str()])?;
    let device = call.context.front.shard_client.get_device(&id).await?;
    device.map(|device| answer(&device, call.query.dialect())).ok_or_else(|| ApiError::device_not_found(&id))
}

/// `PUT /devices/{id}`: creates without `If-Match`, replaces with it.
pub(super) async fn put(call: Call<'_>, id: DeviceId) -> Result<Response<Body>, ApiError> {
    authorize(call.context, &call.parts.headers, Operation::WriteDevice, &["devices", id.as_str()])?;
    let front = &call.context.front;
    let precondition = if_match::of_put(&call.parts.headers);
    let input: DeviceInput = body::read_json(front, call.body, front.config.https.body_bytes_max).await?;
    let dialect = call.query.dialect();
    let identity = input.into_identity(id.clone(), dialect, front.now())?;
    let refused = |error| ApiError::registry(error, &id, None);
    let _claim = front.quota.claim(created_by_device(&identity, precondition)).await.map_err(refused)?;
    let stored = front.shard_client.put_device(&identity, precondition).await.map_err(refused)?;
    Ok(answer(&stored, dialect))
}

/// `DELETE /devices/{id}`; `If-Match` is required.
pub(super) async fn delete(call: Call<'_>, id: DeviceId) -> Result<Response<Body>, ApiError> {
    authorize(call.context, &call.parts.headers, Operation::DeleteDevice, &["devices", id.as_str()])?;
    let precondition = if_match::of_delete(&call.parts.headers).ok_or_else(ApiError::etag_missing)?;
    let deleted = call.context.front.shard_client.delete_device(&id, precondition).await;
    deleted.map_err(|error| ApiError::registry(error, &id, None))?;
    Ok(body::no_content())
}

/// Identities that come into being when the device does.
pub(super) fn created_by_device(identity: &DeviceIdentity, precondition: Precondition) -> u64 {
    match (precondition.may_create(), identity.iot_edge) {
        (false, _) => 0,
        (true, false) => 1,
        (true, true) => 1 + ModuleId::SYSTEM.len() as u64,
    }
}

fn answer(device: &DeviceIdentity, dialect: Dialect) -> Response<Body> {
    let mut response = body::json(&identity_json::device(device, dialect));
    put_etag(response.headers_mut(), device.etag);
    response
}

/// The etag in quotes.
pub(super) fn put_etag(headers: &mut HeaderMap, etag: ETag) {
    if let Ok(value) = HeaderValue::from_str(&format!("\"{etag}\"")) {
        headers.insert(header::ETAG, value);
    }
}
