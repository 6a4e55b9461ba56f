//! What became of messages for devices, as back ends read it (messaging §4.7): the same for every protocol head.

use serde_json::{Value, json};
use shard_client::{Feedback, FeedbackBatch, FeedbackOutcome, NoticeId};
use uuid::Uuid;

/// Content type of a batch.
pub(crate) const CONTENT_TYPE: &str = "application/vnd.microsoft.iothub.feedback.json";
/// A batch's number and its group share 64 bits of the lock token.
const GROUP_BITS: u32 = 16;

/// A batch as a JSON array.
pub(crate) fn to_json(batch: &FeedbackBatch) -> Value {
    batch.feedback.iter().map(entry).collect()
}

fn entry(feedback: &Feedback) -> Value {
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

/// The token of a batch in hand.
pub(crate) fn lock_token(id: NoticeId) -> Uuid {
    Uuid::from_u64_pair(u64::from(id.group) << (64 - GROUP_BITS) | id.number, id.token)
}

/// The other way; `None`: it is no such token.
pub(crate) fn parse_lock_token(text: &str) -> Option<NoticeId> {
    let (place, token) = Uuid::parse_str(text).ok()?.as_u64_pair();
    let group = u32::try_from(place >> (64 - GROUP_BITS)).ok()?;
    Some(NoticeId { group, number: place & (u64::MAX >> GROUP_BITS), token })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_tokens_carry_the_group() {
        let id = NoticeId { group: 16, number: 1 << 40, token: u64::MAX };
        assert_eq!(parse_lock_token(&lock_token(id).to_string()), Some(id));
        assert_eq!(parse_lock_token("nonsense"), None);
    }
}
