//! What became of messages for devices, for back ends (rest §16, messaging §4.7).

use std::time::Duration;

use auth::Operation;
use http::{HeaderValue, Response, header};
use serde_json::{Value, json};
use shard_client::{Feedback, FeedbackBatchId, FeedbackOutcome, MessageError};
use uuid::Uuid;

use super::{
    authorization::authorize,
    body::{self, Body},
    error::ApiError,
    route::Call,
};

const BATCH_TYPE: HeaderValue = HeaderValue::from_static("application/vnd.microsoft.iothub.feedback.json");
const PATH: [&str; 3] = ["messages", "servicebound", "feedback"];
/// A batch's number and its group share 64 bits of the lock token.
const GROUP_BITS: u32 = 16;

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
    let mut response = body::json(&batch.feedback.iter().map(to_json).collect::<Vec<_>>());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, BATCH_TYPE);
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{}\"", lock_token(batch.id))) {
        headers.insert(header::ETAG, etag);
    }
    if let Ok(time) = HeaderValue::from_str(&batch.enqueued.to_string()) {
        headers.insert("iothub-enqueuedtime", time);
    }
    Ok(response)
}

fn to_json(feedback: &Feedback) -> Value {
    let (status_code, description) = match feedback.outcome {
        FeedbackOutcome::Success => ("Success", "Success"),
        FeedbackOutcome::Expired => ("Expired", "Expired"),
        FeedbackOutcome::DeliveryCountExceeded => ("DeliveryCountExceeded", "DeliveryCountExceeded"),
        FeedbackOutcome::Rejected => ("Rejected", "Message rejected"),
        FeedbackOutcome::Purged => ("Purged", "Purged"),
    };
    json!({
        "originalMessageId": feedback.original_message_id,
        "enqueuedTimeUtc": feedback.time.to_string(),
        "statusCode": status_code,
        "description": description,
        "deviceId": feedback.principal.device_id.as_str(),
        "deviceGenerationId": feedback.generation_id,
    })
}

/// `DELETE` of a lock token is done with the batch; `POST .../abandon` gives it back.
pub(super) async fn settle(call: Call<'_>, lock_token: &str, complete: bool) -> Result<Response<Body>, ApiError> {
    authorize(call.context, &call.parts.headers, Operation::ReceiveFeedback, &PATH)?;
    let id = parse_lock_token(lock_token).ok_or_else(|| ApiError::feedback(MessageError::LockLost))?;
    let front = &call.context.front;
    let settled = if complete {
        front.shard_client.complete_feedback(id).await
    } else {
        front.shard_client.abandon_feedback(id, front.cloud_to_device().feedback_max_delivery_count).await
    };
    settled.map_err(ApiError::feedback)?;
    Ok(body::no_content())
}

fn lock_token(id: FeedbackBatchId) -> Uuid {
    Uuid::from_u64_pair(u64::from(id.group) << (64 - GROUP_BITS) | id.number, id.token)
}

fn parse_lock_token(text: &str) -> Option<FeedbackBatchId> {
    let (place, token) = Uuid::parse_str(text).ok()?.as_u64_pair();
    let group = u32::try_from(place >> (64 - GROUP_BITS)).ok()?;
    Some(FeedbackBatchId { group, number: place & (u64::MAX >> GROUP_BITS), token })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_tokens_carry_the_group() {
        let id = FeedbackBatchId { group: 16, number: 1 << 40, token: u64::MAX };
        assert_eq!(parse_lock_token(&lock_token(id).to_string()), Some(id));
        assert_eq!(parse_lock_token("nonsense"), None);
    }
}
