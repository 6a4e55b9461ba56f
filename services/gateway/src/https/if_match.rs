//! `If-Match` of identities (rest §1.11): `*`, `"*"`, `etag`, `"etag"`, or absent.

use http::{HeaderMap, header};
use model::ETag;
use shard_client::Precondition;

/// What a PUT demands: without the header it only creates.
pub(super) fn of_put(headers: &HeaderMap) -> Precondition {
    of(headers).unwrap_or(Precondition::Absent)
}

/// What a DELETE demands; `None` when the header is missing, which the hub does not allow.
pub(super) fn of_delete(headers: &HeaderMap) -> Option<Precondition> {
    of(headers)
}

fn of(headers: &HeaderMap) -> Option<Precondition> {
    headers.get(header::IF_MATCH).map(|value| parse(value.to_str().unwrap_or_default()))
}

/// One of the four forms.
pub(super) fn parse(text: &str) -> Precondition {
    let text = text.trim();
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    match (text, ETag::parse(text)) {
        ("*", _) => Precondition::Present,
        (_, Some(etag)) => Precondition::ETag(etag),
        (_, None) => Precondition::Unmatchable,
    }
}
