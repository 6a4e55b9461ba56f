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
    let text = headers.get(header::IF_MATCH)?.to_str().unwrap_or_default().trim();
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    Some(match (text, ETag::parse(text)) {
        ("*", _) => Precondition::Present,
        (_, Some(etag)) => Precondition::ETag(etag),
        (_, None) => Precondition::Unmatchable,
    })
}
