//! `GET /ironhub/v1/explain/{id}[/modules/{module id}]`: why an identity was last refused or disconnected, an extension of
//! IronHub.

use auth::Operation;
use http::Response;
use serde_json::{Value, json};

use super::{
    authorization::authorize,
    body::{self, Body},
    error::ApiError,
    route::Call,
};
use crate::history::Incident;

/// Answers for an identity that exists, did exist, or never did. `path`: the segments behind `explain`.
pub(super) async fn explain(call: Call<'_>, path: &[&str]) -> Result<Response<Body>, ApiError> {
    authorize(call.context, &call.parts.headers, Operation::ExplainIdentity, &["ironhub", "v1", "explain"])?;
    let identity = match *path {
        [device_id] => device_id.to_owned(),
        [device_id, _, module_id] => format!("{device_id}/{module_id}"),
        _ => return Err(ApiError::not_found()),
    };
    let history = &call.context.front.history;
    let remembered = history.of(&identity);
    Ok(body::json(&json!({
        "deviceId": path.first(),
        "moduleId": path.get(2),
        "since": history.since.to_string(),
        "lastRefusal": remembered.refusal.as_ref().map(of_incident),
        "lastDisconnection": remembered.disconnection.as_ref().map(of_incident),
    })))
}

fn of_incident(incident: &Incident) -> Value {
    json!({
        "time": incident.time.to_string(),
        "peer": incident.peer.to_string(),
        "protocol": incident.protocol,
        "cause": incident.cause,
        "reason": incident.reason,
    })
}
