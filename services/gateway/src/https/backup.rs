//! `GET /ironhub/v1/backup` and `POST /ironhub/v1/restore`: a hub's settings and state as a file, and back; an API of
//! IronHub, for policies with all four rights. The file holds keys.
//!
//! A restore is sent in requests of whole frames. With `begin=true` the hub must have no devices.

use auth::Operation;
use futures::{StreamExt, stream};
use http::{HeaderValue, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::json;

use super::{
    authorization::authorize,
    body::{self, Body},
    error::ApiError,
    route::Call,
};
use crate::front::now;

/// Body of one request of a restore.
const RESTORE_BYTES_MAX: usize = 4 << 20;

/// Streams the backup. One that could not be read to its end breaks off: it has no end frame.
pub(super) async fn backup(call: Call<'_>) -> Result<Response<Body>, ApiError> {
    authorize(call.context, &call.parts.headers, Operation::ManageSettings, &["ironhub", "v1", "backup"])?;
    let front = &call.context.front;
    let pieces = front.shard_client.backup(now()).await?;
    let frames = stream::unfold(pieces, |mut pieces| async { Some((pieces.recv().await?, pieces)) });
    let frames = frames.map(|piece| {
        let piece = piece.inspect_err(|error| tracing::warn!(%error, "a backup breaks off"));
        piece.map(Frame::data).map_err(std::io::Error::other)
    });
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(frames)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    Ok(response)
}

/// Takes frames in and answers how many rows they had.
pub(super) async fn restore(call: Call<'_>) -> Result<Response<Body>, ApiError> {
    authorize(call.context, &call.parts.headers, Operation::ManageSettings, &["ironhub", "v1", "restore"])?;
    let front = &call.context.front;
    if call.query.get("begin") == Some("true") {
        front.shard_client.require_empty().await?;
    }
    let (frames, _claim) = body::read(front, call.body, RESTORE_BYTES_MAX).await?;
    let restored = front.shard_client.restore(frames).await?;
    Ok(body::json(&json!({
        "rows": restored.rows,
        "expectedRows": restored.expected_rows,
        "settings": restored.settings,
    })))
}
