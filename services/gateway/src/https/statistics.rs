//! Statistics (rest §8).

use auth::Operation;
use http::Response;
use serde_json::json;

use super::{
    authorization::authorize,
    body::{self, Body},
    error::ApiError,
    route::Call,
};

/// `GET /statistics/devices`.
pub(super) async fn of_registry(call: Call<'_>) -> Result<Response<Body>, ApiError> {
    let path = ["statistics", "devices"];
    authorize(call.context, &call.parts.headers, Operation::ReadRegistryStatistics, &path)?;
    let statistics = call.context.front.shard_client.statistics().await?;
    Ok(body::json(&json!({
        "totalDeviceCount": statistics.total_device_count,
        "enabledDeviceCount": statistics.enabled_device_count,
        "disabledDeviceCount": statistics.disabled_device_count,
    })))
}

/// `GET /statistics/service`.
pub(super) async fn of_service(call: Call<'_>) -> Result<Response<Body>, ApiError> {
    let path = ["statistics", "service"];
    authorize(call.context, &call.parts.headers, Operation::ReadServiceStatistics, &path)?;
    let statistics = call.context.front.shard_client.statistics().await?;
    Ok(body::json(&json!({ "connectedDeviceCount": statistics.connected_device_count })))
}
