//! `If-Match` of identities (rest §1.11): `*`, `"*"`, `etag`, `"etag"`, or absent.

use http::{HeaderMap, header};
use model::ETag;
use shard_client::Precondition;

use super::error::ApiError;

/// What a PUT demands: without the header it only creates.
pub(super) fn of_put(headers: &HeaderMap) -> Precondition {
    of(headers).unwrap_or(Precondition::Absent)
}

/// What a DELETE demands; `None` when the header is missing, which the hub does not allow.
pub(super) fn of_delete(headers: &HeaderMap) -> Option<Precondition> {
    of(headers)
}

/// Whether an object of the hub's settings may be changed: without the header always, else when it is there in that
/// version.
pub(super) fn check(headers: &HeaderMap, current: Option<ETag>) -> Result<(), ApiError> {
    let matches = match of(headers) {
        None => true,
        Some(Precondition::Present) => current.is_some(),
        Some(Precondition::ETag(etag)) => current == Some(etag),
        Some(_) => false,
    };
    if matches { Ok(()) } else { Err(ApiError::precondition_failed()) }
}

/// The same where the header is required (rest §23.1).
pub(super) fn require(headers: &HeaderMap, current: ETag) -> Result<(), ApiError> {
    if !headers.contains_key(header::IF_MATCH) {
        return Err(ApiError::if_match_missing());
    }
    check(headers, Some(current))
}

fn of(headers: &HeaderMap) -> Option<Precondition> {
    headers.get(header::IF_MATCH).map(|value| parse(value.to_str().unwrap_or_default()))
}

/// One of the four forms.
pub(super) fn parse(text: &str) -> Precondition {
    let text = unquoted(text);
    match (text, ETag::parse(text)) {
        ("*", _) => Precondition::Present,
        (_, Some(etag)) => Precondition::ETag(etag),
        (_, None) => Precondition::Unmatchable,
    }
}

/// The text without the white space and the quotes that clients may leave out.
pub(super) fn unquoted(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}
