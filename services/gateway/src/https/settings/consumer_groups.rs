//! Consumer groups of the built-in endpoint (messaging §2.3, rest §23.4). `$Default` is always there.

use http::Response;
use model::{ConsumerGroup, DEFAULT_CONSUMER_GROUP, ETag, HubSettings};
use serde_json::{Value, json};

use super::{Section, change, current, list_of};
use crate::https::{
    body::{self, Body},
    error::ApiError,
    if_match,
    route::Call,
};

/// `GET /ironhub/v1/consumer-groups`.
pub(super) async fn list(call: Call<'_>) -> Result<Response<Body>, ApiError> {
    let settings = current(&call.context.front).await?;
    Ok(list_of(std::iter::once(default_json()).chain(settings.consumer_groups.iter().map(json_of)).collect()))
}

/// `GET /ironhub/v1/consumer-groups/{name}`.
pub(super) async fn get(call: Call<'_>, name: &str) -> Result<Response<Body>, ApiError> {
    answer(&current(&call.context.front).await?, name, false)
}

/// `PUT /ironhub/v1/consumer-groups/{name}`: makes it unless it is there.
pub(super) async fn put(call: Call<'_>, name: &str) -> Result<Response<Body>, ApiError> {
    let front = &call.context.front;
    if is_default(name) {
        return Ok(body::versioned(&default_json(), ETag::default(), false));
    }
    let (settings, is_new) = change(front, Section::ConsumerGroups, |settings| {
        let before = settings.consumer_group(name);
        if_match::check(&call.parts.headers, before.map(|before| before.etag))?;
        let is_new = before.is_none();
        if is_new {
            let group = ConsumerGroup { name: name.to_owned(), etag: ETag::default(), created: front.now() };
            settings.consumer_groups.push(group);
        }
        Ok(is_new)
    })
    .await?;
    answer(&settings, name, is_new)
}

/// `DELETE /ironhub/v1/consumer-groups/{name}`.
pub(super) async fn delete(call: Call<'_>, name: &str) -> Result<Response<Body>, ApiError> {
    if is_default(name) {
        return Err(ApiError::argument("the consumer group $Default cannot be deleted"));
    }
    change(&call.context.front, Section::ConsumerGroups, |settings| {
        if_match::check(&call.parts.headers, Some(find(settings, name)?.etag))?;
        settings.consumer_groups.retain(|group| !group.name.eq_ignore_ascii_case(name));
        Ok(())
    })
    .await?;
    Ok(body::no_content())
}

fn is_default(name: &str) -> bool {
    name.eq_ignore_ascii_case(DEFAULT_CONSUMER_GROUP)
}

fn find<'a>(settings: &'a HubSettings, name: &str) -> Result<&'a ConsumerGroup, ApiError> {
    settings.consumer_group(name).ok_or_else(|| ApiError::no_such("consumer group", name))
}

fn answer(settings: &HubSettings, name: &str, is_new: bool) -> Result<Response<Body>, ApiError> {
    if is_default(name) {
        return Ok(body::versioned(&default_json(), ETag::default(), false));
    }
    let group = find(settings, name)?;
    Ok(body::versioned(&json_of(group), group.etag, is_new))
}

fn json_of(group: &ConsumerGroup) -> Value {
    json!({
        "name": group.name,
        "etag": group.etag.to_string(),
        "properties": { "created": group.created.to_rfc1123() },
    })
}

fn default_json() -> Value {
    json!({ "name": DEFAULT_CONSUMER_GROUP, "etag": ETag::default().to_string(), "properties": {} })
}
