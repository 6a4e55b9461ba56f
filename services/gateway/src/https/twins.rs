//! Twins for back ends (rest §9).

use std::time::Instant;

use auth::Operation;
use http::{HeaderMap, HeaderValue, Response, header};
use model::{
    Principal,
    twin::{SectionChange, TwinChange, TwinETag},
};
use serde_json::Value;

use super::{
    Context,
    authorization::authorize,
    body::{self, Body},
    error::ApiError,
    if_match,
    route::Call,
    twin_json::{self, TwinInput},
};
use crate::metrics::TwinOperation;

/// Tags and desired properties with nulls, metadata and all that is ignored: no twin that was read is longer.
const BODY_BYTES_MAX: usize = 512 * 1024;

/// Which part of the twin a path is about; the parts have had paths of their own (twins §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    Tags,
    Desired,
}

/// How a request writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// PATCH.
    Merge,
    /// PUT.
    Replace,
}

/// `GET /twins/{id}[/modules/{mid}]`.
pub(super) async fn get(call: Call<'_>, principal: Principal) -> Result<Response<Body>, ApiError> {
    counted(call.context, TwinOperation::Get, read(call, principal)).await
}

/// `PATCH` and `PUT` of the twin or a part of it; answers the whole twin.
pub(super) async fn write(
    call: Call<'_>,
    principal: Principal,
    part: Part,
    write: Write,
) -> Result<Response<Body>, ApiError> {
    counted(call.context, TwinOperation::Write, change(call, principal, part, write)).await
}

async fn counted(
    context: &Context,
    operation: TwinOperation,
    running: impl Future<Output = Result<Response<Body>, ApiError>>,
) -> Result<Response<Body>, ApiError> {
    let received_at = Instant::now();
    let outcome = running.await;
    context.front.metrics.twins.answered(operation, ApiError::result_of(&outcome), received_at.elapsed());
    outcome
}

async fn read(call: Call<'_>, principal: Principal) -> Result<Response<Body>, ApiError> {
    authorize(call.context, &call.parts.headers, Operation::ReadTwin, &resource(&principal))?;
    let document = call.context.front.shard_client.get_twin(&principal).await?;
    let document = document.ok_or_else(|| ApiError::device_or_module_not_found(&principal))?;
    Ok(answer(document.twin.etag, &twin_json::document(&document)))
}

async fn change(call: Call<'_>, principal: Principal, part: Part, write: Write) -> Result<Response<Body>, ApiError> {
    authorize(call.context, &call.parts.headers, Operation::WriteTwin, &resource(&principal))?;
    let front = &call.context.front;
    let expected = if_match(&call.parts.headers);
    let body_bytes_max = front.config.https.body_bytes_max.min(BODY_BYTES_MAX);
    let change = match part {
        Part::Whole => body::read_json::<TwinInput>(front, call.body, body_bytes_max).await?.into_change(write)?,
        part => {
            let section: Value = body::read_json(front, call.body, body_bytes_max).await?;
            let section = Some(twin_json::section(section, write)?);
            match part {
                Part::Tags => TwinChange { tags: section, desired: None },
                _ => TwinChange { tags: None, desired: section },
            }
        }
    };
    let updated = front.shard_client.update_twin(&principal, expected, &change).await;
    let document = updated.map_err(|error| ApiError::twin(error, &principal))?;
    Ok(answer(document.twin.etag, &twin_json::document(&document)))
}

/// The resource that a token must be for.
pub(super) fn resource(principal: &Principal) -> Vec<&str> {
    let mut path = vec!["twins", principal.device_id.as_str()];
    path.extend(principal.module_id.iter().flat_map(|id| ["modules", id.as_str()]));
    path
}

/// The version that may be written over; `None`: any. What can be no twin's version matches none.
fn if_match(headers: &HeaderMap) -> Option<TwinETag> {
    parse_if_match(headers.get(header::IF_MATCH)?.to_str().unwrap_or_default())
}

/// The same from the text of an `If-Match` or `twinETag`.
pub(super) fn parse_if_match(text: &str) -> Option<TwinETag> {
    let text = if_match::unquoted(text);
    (text != "*").then(|| TwinETag::parse(text).unwrap_or(TwinETag(0)))
}

fn answer(etag: TwinETag, document: &Value) -> Response<Body> {
    let mut response = body::json(document);
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{etag}\"")) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

impl Write {
    /// The change of a section by that JSON.
    pub fn section(self, patch: model::twin::Patch) -> SectionChange {
        match self {
            Self::Merge => SectionChange::Patch(patch),
            Self::Replace => SectionChange::Replace(patch),
        }
    }
}
