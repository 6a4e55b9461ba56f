//! What became of messages for devices, for back ends (rest §16, messaging §4.7).

use std::time::Duration;

use auth::Operation;
use http::{HeaderValue, Response, header};
use shard_client::MessageError;
use uuid::Uuid;

use super::{
    authorization::authorize,
    body::{self, Body},
    error::ApiError,
    route::Call,
};
use crate::feedback;

const BATCH_TYPE: HeaderValue = HeaderValue::from_static(feedback::CONTENT_TYPE);
const PATH: [&str; 3] = ["messages", "servicebound", "feedback"];

/// `GET /messages/servicebound/feedback`: 200 with one batch in hand, or 204; it never waits.
pub(super) async fn receive(call: Call<'_>) -> Result<Response<Body>, ApiError> {
    authorize(call.context, &call.parts.headers, Operation::ReceiveFeedback, &PATH)?;
    let front = &call.context.front;
    let settings = front.cloud_to_device();
    let lock = Duration::from_secs(settings.feedback_lock_seconds);
    let flush = Duration::from_secs(settings.feedback_flush_seconds);
    let token = Uuid::new_v4().as_u64_pair().1;
    let batch = front.shard_client.receive_feedback(token, lock, flush).await.map_err(ApiError::feedback)?;
    let Some(batch) = batch else { return Ok(body::no_content()) };
    front.metrics.device_bound.feedback.inc_by(batch.feedback.len() as u64);
    let mut response = body::json(&feedback::to_json(&batch));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, BATCH_TYPE);
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{}\"", feedback::lock_token(batch.id))) {
        headers.insert(header::ETAG, etag);
    }
    if let Ok(time) = HeaderValue::from_str(&batch.enqueued.to_string()) {
        headers.insert("iothub-enqueuedtime", time);
    }
    Ok(response)
}

/// `DELETE` of a lock token is done with the batch; `POST .../abandon` gives it back.
pub(super) async fn settle(call: Call<'_>, lock_token: &str, complete: bool) -> Result<Response<Body>, ApiError> {
    authorize(call.context, &call.parts.headers, Operation::ReceiveFeedback, &PATH)?;
    let id = feedback::parse_lock_token(lock_token).ok_or_else(|| ApiError::feedback(MessageError::LockLost))?;
    let front = &call.context.front;
    let settled = if complete {
        front.shard_client.complete_feedback(id).await
    } else {
        front.shard_client.abandon_feedback(id, front.cloud_to_device().feedback_max_delivery_count).await
    };
    settled.map_err(ApiError::feedback)?;
    Ok(body::no_content())
}
