//! Bodies: read within bounds, written as JSON.

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Full, LengthLimitError, Limited, combinators::BoxBody};
use hyper::body::Incoming;
use serde::{Serialize, de::DeserializeOwned};

use super::error::ApiError;

/// The body of any response.
pub(super) type Body = BoxBody<Bytes, std::io::Error>;

/// Reads a whole body of at most so many bytes.
pub(super) async fn read(body: Incoming, bytes_max: usize) -> Result<Bytes, ApiError> {
    match Limited::new(body, bytes_max).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::message_too_large(bytes_max)),
        Err(error) => Err(ApiError::argument(format!("the body could not be read: {error}"))),
    }
}

/// Reads a JSON body; a byte order mark is tolerated, members that are not known are ignored.
pub(super) async fn read_json<T: DeserializeOwned>(body: Incoming, bytes_max: usize) -> Result<T, ApiError> {
    let bytes = read(body, bytes_max).await?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    if bytes.is_empty() {
        return Err(ApiError::null_body());
    }
    serde_json::from_slice(bytes).map_err(|error| ApiError::format(format!("the body is not valid JSON here: {error}")))
}

/// 200 with a JSON body.
pub(super) fn json(value: &impl Serialize) -> Response<Body> {
    with_json(StatusCode::OK, serde_json::to_vec(value).unwrap_or_default())
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
