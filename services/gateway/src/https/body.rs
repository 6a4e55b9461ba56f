//! Bodies: read within bounds, written as JSON.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Full, combinators::BoxBody};
use hyper::body::{Body as _, Incoming};
use model::ETag;
use serde::{Serialize, de::DeserializeOwned};

use super::{devices::put_etag, error::ApiError};
use crate::{Front, front::ByteClaim};

/// The body of any response.
pub(super) type Body = BoxBody<Bytes, std::io::Error>;

/// Reads a whole body of at most so many bytes. The claim counts it among the bytes that the gateway holds.
pub(super) async fn read(
    front: &Arc<Front>,
    mut body: Incoming,
    bytes_max: usize,
) -> Result<(Bytes, ByteClaim), ApiError> {
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(ApiError::message_too_large(bytes_max));
    }
    let mut claim = front.claim_bytes(0);
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ApiError::argument(format!("the body could not be read: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if read.len() + data.len() > bytes_max {
            return Err(ApiError::message_too_large(bytes_max));
        }
        if !front.has_room() {
            return Err(ApiError::no_room());
        }
        claim.grow(data.len());
        read.extend_from_slice(&data);
    }
    Ok((read.freeze(), claim))
}

/// Reads a JSON body; a byte order mark is tolerated, members that are not known are ignored.
pub(super) async fn read_json<T: DeserializeOwned>(
    front: &Arc<Front>,
    body: Incoming,
    bytes_max: usize,
) -> Result<T, ApiError> {
    let (bytes, _claim) = read(front, body, bytes_max).await?;
    parse_json(&bytes)
}

/// The same of bytes that are here.
pub(super) fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.trim_ascii().is_empty() || bytes.trim_ascii() == b"null" {
        return Err(ApiError::null_body());
    }
    serde_json::from_slice(bytes).map_err(|error| ApiError::format(format!("the body is not valid JSON here: {error}")))
}

/// 200 with a JSON body.
pub(super) fn json(value: &impl Serialize) -> Response<Body> {
    with_json(StatusCode::OK, serde_json::to_vec(value).unwrap_or_default())
}

/// 200, or 201 when something was made, with a JSON body and its version.
pub(super) fn versioned(value: &impl Serialize, etag: ETag, is_new: bool) -> Response<Body> {
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = with_json(status, serde_json::to_vec(value).unwrap_or_default());
    put_etag(response.headers_mut(), etag);
    response
}

/// A response with JSON text.
pub(super) fn with_json(status: StatusCode, text: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// 204.
pub(super) fn no_content() -> Response<Body> {
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
