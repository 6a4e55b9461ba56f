//! `GET /$iothub/websocket` and `/$servicebus/websocket`: the requests that make a connection a WebSocket (mqtt §1,
//! amqp §1.1).

use http::Response;
use http_body_util::{BodyExt, Empty};
use hyper::body::Body as _;

use super::{body::Body, error::ApiError, route::Call};
use crate::websocket::{self, SubProtocol};

/// Answers 101. Every query parameter is ignored, also `iothub-no-client-cert=true`: the TLS handshake, where a
/// certificate is asked for and not required, is over when it comes.
pub(super) async fn open(call: Call<'_>, spoken: &[SubProtocol]) -> Result<Response<Body>, ApiError> {
    if !call.body.is_end_stream() {
        return Err(ApiError::argument("the request that opens a WebSocket has no body"));
    }
    let accepted = websocket::accept(&call.parts, spoken)?;
    Ok(accepted.map(|()| Empty::new().map_err(|never| match never {}).boxed()))
}
