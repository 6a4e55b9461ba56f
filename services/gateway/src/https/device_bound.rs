//! Messages for devices over HTTPS: back ends send and purge, devices receive and settle (rest §16, §17.2, §17.3).

use std::time::Duration;

use auth::Operation;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, header};
use http_body_util::{BodyExt, Full};
use model::{DeviceId, Principal, Record, SystemProperty};
use serde_json::json;
use shard_client::{Acknowledge, Holder, MessageError, ReceivedMessage, Settle};
use uuid::Uuid;

use super::{
    authorization::{authenticate, authorize},
    body::{self, Body},
    error::ApiError,
    route::Call,
    spelling::Spelling,
    telemetry::{system_property, text},
};
use crate::device_bound::{MESSAGE_BYTES_MAX, new_message};

/// `POST /devices/{id}/messages/devicebound` by a back end: 204 once it is in the device's queue.
pub(super) async fn send(call: Call<'_>, device_id: DeviceId) -> Result<Response<Body>, ApiError> {
    let metrics = &call.context.front.metrics.device_bound;
    let outcome = enqueue(call, device_id).await;
    metrics.sent(ApiError::result_of(&outcome));
    outcome
}

async fn enqueue(call: Call<'_>, device_id: DeviceId) -> Result<Response<Body>, ApiError> {
    let headers = &call.parts.headers;
    authorize(call.context, headers, Operation::SendDeviceBound, &["devices", device_id.as_str()])?;
    let front = &call.context.front;
    let mut record = Record::default();
    let mut acknowledgement = Acknowledge::None;
    for (name, value) in Spelling::spell(call.parts.extensions.get(), headers) {
        match name.to_ascii_lowercase().as_str() {
            "iothub-ack" => {
                acknowledgement = Acknowledge::parse(&text(value))
                    .ok_or_else(|| ApiError::argument("iothub-ack must be none, positive, negative or full"))?;
            }
            _ => add_property(&mut record, name, text(value).into_owned()),
        }
    }
    let (body, _claim) = body::read(front, call.body, MESSAGE_BYTES_MAX).await?;
    record.body = body;
    let message = new_message(front, record, acknowledgement)?;
    let principal = Principal::device(device_id);
    let sent = front.shard_client.enqueue_message(&principal, &message).await;
    sent.map_err(|error| ApiError::device_bound(error, &principal))?;
    Ok(body::no_content())
}

fn add_property(record: &mut Record<'static>, name: &str, value: String) {
    let lower = name.to_ascii_lowercase();
    // `content-encoding` as one tool sends it; the body is not decoded.
    let system =
        if lower == "content-encoding" { Some(SystemProperty::ContentEncoding) } else { system_property(&lower) };
    match system {
        Some(property) => record.system_properties.push((property, value.into())),
        None => {
            if let (true, Some(name)) = (lower.starts_with("iothub-app-"), name.get("iothub-app-".len()..))
                && !name.is_empty()
            {
                record.application_properties.push((name.to_owned().into(), value.into()));
            }
        }
    }
}

/// `DELETE /devices/{id}/commands`: removes all messages of the device.
pub(super) async fn purge(call: Call<'_>, device_id: DeviceId) -> Result<Response<Body>, ApiError> {
    let path = ["devices", device_id.as_str()];
    authorize(call.context, &call.parts.headers, Operation::PurgeDeviceBound, &path)?;
    let principal = Principal::device(device_id);
    let purged = call.context.front.shard_client.purge_messages(&principal).await;
    let count = purged.map_err(|error| ApiError::device_bound(error, &principal))?;
    Ok(body::json(&json!({
        "deviceId": principal.device_id.as_str(),
        "moduleId": null,
        "totalMessagesPurged": count,
    })))
}

/// `GET /devices/{id}/messages/devicebound` by the device: 200 with one message in hand, or 204; it never waits.
pub(super) async fn receive(call: Call<'_>, device_id: DeviceId) -> Result<Response<Body>, ApiError> {
    let principal = Principal::device(device_id);
    authenticate(call.context, &call.parts.headers, &principal).await?;
    let front = &call.context.front;
    let lock = Duration::from_secs(front.config.cloud_to_device.lock_seconds);
    let token = Uuid::new_v4().as_u64_pair().1;
    let received = front.shard_client.receive_messages(&principal, Holder::Token(token), 1, lock).await;
    let received = received.map_err(|error| ApiError::device_bound(error, &principal))?;
    Ok(match received.messages.into_iter().next() {
        None => body::no_content(),
        Some(message) => {
            front.metrics.device_bound.delivered("https", &message, front.now());
            with_message(&principal, &message, token)
        }
    })
}

fn with_message(principal: &Principal, message: &ReceivedMessage, token: u64) -> Response<Body> {
    let body: Bytes = message.record.body.clone();
    let mut response = Response::new(Full::new(body).map_err(|never| match never {}).boxed());
    let system = |property| message.record.system_property(property).unwrap_or_default();
    let lock_token = Uuid::from_u64_pair(message.sequence, token);
    let mut put = |name: &str, value: &str| {
        let name = HeaderName::from_bytes(name.as_bytes());
        // What cannot stand in a header is left out: the message is more than its properties.
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
            response.headers_mut().append(name, value);
        }
    };
    put(header::ETAG.as_str(), &format!("\"{lock_token}\""));
    put("content-type", "application/octet-stream");
    put("iothub-messageid", system(SystemProperty::MessageId));
    put("iothub-correlationid", system(SystemProperty::CorrelationId));
    put("iothub-userid", system(SystemProperty::UserId));
    put("iothub-to", &format!("/devices/{}/messages/deviceBound", principal.device_id));
    put("iothub-ack", message.acknowledgement.as_str());
    put("iothub-sequencenumber", &message.sequence.to_string());
    put("iothub-enqueuedtime", &message.enqueued.to_string());
    put("iothub-expiry", &message.expires.to_string());
    put("iothub-deliverycount", &message.delivery_count.min(255).to_string());
    put("contenttype", system(SystemProperty::ContentType));
    put("contentencoding", system(SystemProperty::ContentEncoding));
    for (name, value) in &message.record.application_properties {
        put(&format!("iothub-app-{name}"), value);
    }
    response
}

/// `DELETE` of a lock token completes, or rejects with `?reject`; `POST .../abandon` gives the message back.
pub(super) async fn settle(
    call: Call<'_>,
    device_id: DeviceId,
    lock_token: &str,
    settle: Settle,
) -> Result<Response<Body>, ApiError> {
    let principal = Principal::device(device_id);
    authenticate(call.context, &call.parts.headers, &principal).await?;
    let lost = || ApiError::device_bound(MessageError::LockLost, &principal);
    let (sequence, token) = Uuid::parse_str(lock_token).map_err(|_| lost())?.as_u64_pair();
    let client = &call.context.front.shard_client;
    let settled = client.settle_messages(&principal, Holder::Token(token), &[sequence], settle).await;
    settled.map_err(|error| ApiError::device_bound(error, &principal))?;
    Ok(body::no_content())
}
