//! Telemetry over HTTPS: one message or a batch (rest §17.1, messaging §1.6).

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, Response, header};
use model::{Annotation, Principal, Record, SystemProperty};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    authorization::authenticate,
    body::{self, Body},
    error::ApiError,
    route::Call,
    spelling::Spelling,
};
use crate::telemetry::{MessageBatch, Stamp};

const BATCH_TYPE: &str = "application/vnd.microsoft.iothub.json";

/// `POST /devices/{id}[/modules/{module id}]/messages/events`: 204 once all of it is durable.
pub(super) async fn send(call: Call<'_>, sender: Principal) -> Result<Response<Body>, ApiError> {
    let headers = &call.parts.headers;
    let (credentials, authenticated) = authenticate(call.context, headers, &sender).await?;
    let front = &call.context.front;
    let stamp = Stamp::new(front, &sender, &credentials, authenticated.method, None);
    let read_at = std::time::Instant::now();
    let (bytes, _claim) = body::read(front, call.body, front.config.https.telemetry_body_bytes_max).await?;
    let limits = (front.limits.message_bytes_max(), front.config.https.batch_messages_max);
    let mut batch = MessageBatch::default();
    if is_batch(headers) {
        read_batch(&bytes, limits, |record, body| batch.push(&stamp, record, body))?;
    } else {
        let mut record = Record::default();
        for (name, value) in Spelling::spell(call.parts.extensions.get(), headers) {
            add_property(&mut record, name, text(value));
        }
        count(&record, &bytes, limits.0)?;
        batch.push(&stamp, &record, &bytes);
    }
    if batch.is_empty() {
        return Ok(body::no_content());
    }
    let claim = front.claim_bytes(batch.bytes());
    let messages = batch.len();
    front.event_log.append(batch.into_appends(&front.events, &stamp)).await?;
    front.metrics.acknowledged(messages, claim.bytes(), read_at.elapsed());
    Ok(body::no_content())
}

fn is_batch(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(BATCH_TYPE)
}

/// Header bytes are UTF-8 or, from older clients, Latin-1.
pub(super) fn text(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| bytes.iter().map(|byte| char::from(*byte)).collect(), Cow::Borrowed)
}

/// How many bytes of its limit a message takes.
fn count(record: &Record<'_>, body: &[u8], bytes_max: usize) -> Result<usize, ApiError> {
    let bytes = record.counted_bytes() + body.len();
    if bytes > bytes_max { Err(ApiError::message_too_large(bytes_max)) } else { Ok(bytes) }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BatchMessage {
    body: String,
    base64_encoded: Option<bool>,
    #[serde(default)]
    properties: Map<String, Value>,
}

/// Hands over message by message; what was handed over counts only if all of it is good. The whole batch has at most as
/// many bytes as one message.
pub(super) fn read_batch(
    bytes: &[u8],
    (bytes_max, messages_max): (usize, usize),
    mut take: impl FnMut(&Record<'_>, &[u8]),
) -> Result<(), ApiError> {
    let messages: Vec<BatchMessage> = serde_json::from_slice(bytes)
        .map_err(|error| ApiError::argument(format!("the batch is not a JSON array of messages: {error}")))?;
    if messages.len() > messages_max {
        return Err(ApiError::argument(format!("a batch has at most {messages_max} messages")));
    }
    let mut total = 0;
    for message in &messages {
        let mut record = Record::default();
        for (name, value) in &message.properties {
            let value = value.as_str().map_or_else(|| Cow::Owned(value.to_string()), Cow::Borrowed);
            add_property(&mut record, name, value);
        }
        let body = body_of(message)?;
        total += count(&record, &body, bytes_max)?;
        take(&record, &body);
        if total > bytes_max {
            return Err(ApiError::message_too_large(bytes_max));
        }
    }
    Ok(())
}

fn body_of(message: &BatchMessage) -> Result<Cow<'_, [u8]>, ApiError> {
    if message.base64_encoded == Some(false) {
        return Ok(Cow::Borrowed(message.body.as_bytes()));
    }
    let decoded = BASE64_STANDARD.decode(&message.body);
    decoded.map(Cow::Owned).map_err(|_| ApiError::argument("the body of a message in the batch is not base64"))
}

/// The system property that a header in lower case carries, of a message of either direction (rest §16, §17.1).
pub(super) fn system_property(header: &str) -> Option<SystemProperty> {
    match header {
        "iothub-messageid" => Some(SystemProperty::MessageId),
        "iothub-correlationid" => Some(SystemProperty::CorrelationId),
        "iothub-userid" => Some(SystemProperty::UserId),
        "iothub-contenttype" => Some(SystemProperty::ContentType),
        "iothub-contentencoding" => Some(SystemProperty::ContentEncoding),
        "iothub-expiry" => Some(SystemProperty::AbsoluteExpiryTime),
        _ => None,
    }
}

/// Puts a header, or a property of a batch named like one, into its layer; others are not the message's.
fn add_property<'a>(record: &mut Record<'a>, name: &'a str, value: Cow<'a, str>) {
    let lower = name.to_ascii_lowercase();
    if let Some(property) = system_property(&lower) {
        return record.system_properties.push((property, value));
    }
    let annotation = match lower.as_str() {
        "dt-subject" => Some(Annotation::DtSubject),
        "iothub-interface-id" => Some(Annotation::InterfaceId),
        _ => None,
    };
    if let Some(annotation) = annotation {
        return record.annotations.push((annotation, value));
    }
    let application: Option<Cow<'a, str>> = match lower.as_str() {
        "iothub-creationtimeutc" | "iothub-creation-time-utc" => Some("iothub-creation-time-utc".into()),
        "iothub-messageschema" => Some("iothub-message-schema".into()),
        _ if lower.starts_with("iothub-app-") => name.get("iothub-app-".len()..).map(Cow::Borrowed),
        _ => None,
    };
    if let Some(name) = application.filter(|name| !name.is_empty()) {
        record.application_properties.push((name, value));
    }
}
