//! Shared access policies (security §5, rest §23.3).

use http::Response;
use model::{ETag, HubSettings, Rights, SharedAccessPolicy, SymmetricKey, SymmetricKeys};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Section, change, current, draw, list_of};
use crate::https::{
    body::{self, Body},
    error::ApiError,
    if_match,
    route::Call,
};

/// Bytes of a key that the hub draws.
const KEY_BYTES: usize = 32;

/// A policy as it is sent. Keys that are missing stay as they are, or are drawn for a new policy.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PolicyInput {
    key_name: Option<String>,
    primary_key: Option<String>,
    secondary_key: Option<String>,
    rights: String,
}

/// What of a policy is given.
struct Given {
    primary: Option<SymmetricKey>,
    secondary: Option<SymmetricKey>,
    rights: Rights,
}

impl PolicyInput {
    fn into_given(self, name: &str) -> Result<Given, ApiError> {
        if self.key_name.is_some_and(|key_name| !key_name.eq_ignore_ascii_case(name)) {
            return Err(ApiError::argument("keyName is not the name in the path"));
        }
        let rights = Rights::parse(&self.rights).ok_or_else(|| {
            ApiError::argument("rights are some of RegistryRead, RegistryWrite, ServiceConnect, DeviceConnect")
        })?;
        Ok(Given { primary: given_key(self.primary_key)?, secondary: given_key(self.secondary_key)?, rights })
    }
}

/// The rights that a body gives to the policy of that name.
pub(in crate::https) fn read(bytes: &[u8], name: &str) -> Result<Rights, ApiError> {
    Ok(body::parse_json::<PolicyInput>(bytes)?.into_given(name)?.rights)
}

#[derive(Deserialize)]
struct RegenerateInput {
    key: WhichKey,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WhichKey {
    Primary,
    Secondary,
    Swap,
}

/// `GET /ironhub/v1/policies`.
pub(super) async fn list(call: Call<'_>) -> Result<Response<Body>, ApiError> {
    Ok(list_of(current(&call.context.front).await?.policies.iter().map(json_of).collect()))
}

/// `GET /ironhub/v1/policies/{name}`.
pub(super) async fn get(call: Call<'_>, name: &str) -> Result<Response<Body>, ApiError> {
    answer(&current(&call.context.front).await?, name, false)
}

/// `PUT /ironhub/v1/policies/{name}`: creates or replaces.
pub(super) async fn put(call: Call<'_>, name: &str) -> Result<Response<Body>, ApiError> {
    let front = &call.context.front;
    let input: PolicyInput = body::read_json(front, call.body, front.config.https.body_bytes_max).await?;
    let Given { primary, secondary, rights } = input.into_given(name)?;
    let drawn = SymmetricKeys { primary: key()?, secondary: key()? };
    let (settings, is_new) = change(front, Section::Policies, |settings| {
        let before = settings.policy(name);
        if_match::check(&call.parts.headers, before.map(|before| before.etag))?;
        let is_new = before.is_none();
        let kept = before.map_or(&drawn, |before| &before.keys);
        let keys = SymmetricKeys {
            primary: primary.as_ref().unwrap_or(&kept.primary).clone(),
            secondary: secondary.as_ref().unwrap_or(&kept.secondary).clone(),
        };
        match settings.policies.iter_mut().find(|policy| policy.name.eq_ignore_ascii_case(name)) {
            Some(policy) => (policy.keys, policy.rights) = (keys, rights),
            None => {
                let policy = SharedAccessPolicy { name: name.to_owned(), keys, rights, etag: ETag::default() };
                settings.policies.push(policy);
            }
        }
        Ok(is_new)
    })
    .await?;
    answer(&settings, name, is_new)
}

/// `DELETE /ironhub/v1/policies/{name}`.
pub(super) async fn delete(call: Call<'_>, name: &str) -> Result<Response<Body>, ApiError> {
    change(&call.context.front, Section::Policies, |settings| {
        if_match::check(&call.parts.headers, Some(find(settings, name)?.etag))?;
        settings.policies.retain(|policy| !policy.name.eq_ignore_ascii_case(name));
        Ok(())
    })
    .await?;
    Ok(body::no_content())
}

/// `POST /ironhub/v1/policies/{name}/regenerate-key`: a new primary or secondary key, or both keys change places.
pub(super) async fn regenerate_key(call: Call<'_>, name: &str) -> Result<Response<Body>, ApiError> {
    let front = &call.context.front;
    let input: RegenerateInput = body::read_json(front, call.body, front.config.https.body_bytes_max).await?;
    let drawn = key()?;
    let (settings, ()) = change(front, Section::Policies, |settings| {
        if_match::check(&call.parts.headers, Some(find(settings, name)?.etag))?;
        let mut policies = settings.policies.iter_mut();
        let Some(policy) = policies.find(|policy| policy.name.eq_ignore_ascii_case(name)) else { return Ok(()) };
        match input.key {
            WhichKey::Primary => policy.keys.primary = drawn.clone(),
            WhichKey::Secondary => policy.keys.secondary = drawn.clone(),
            WhichKey::Swap => std::mem::swap(&mut policy.keys.primary, &mut policy.keys.secondary),
        }
        Ok(())
    })
    .await?;
    answer(&settings, name, false)
}

fn find<'a>(settings: &'a HubSettings, name: &str) -> Result<&'a SharedAccessPolicy, ApiError> {
    settings.policy(name).ok_or_else(|| ApiError::no_such("policy", name))
}

fn answer(settings: &HubSettings, name: &str, is_new: bool) -> Result<Response<Body>, ApiError> {
    let policy = find(settings, name)?;
    Ok(body::versioned(&json_of(policy), policy.etag, is_new))
}

fn json_of(policy: &SharedAccessPolicy) -> Value {
    json!({
        "keyName": policy.name,
        "primaryKey": policy.keys.primary.as_base64(),
        "secondaryKey": policy.keys.secondary.as_base64(),
        "rights": policy.rights.names(),
        "etag": policy.etag.to_string(),
    })
}

fn given_key(text: Option<String>) -> Result<Option<SymmetricKey>, ApiError> {
    let text = text.filter(|text| !text.is_empty());
    text.map(|text| text.parse()).transpose().map_err(|error: model::InvalidAuthentication| {
        ApiError::argument(error.to_string().replace("device key", "policy key"))
    })
}

fn key() -> Result<SymmetricKey, ApiError> {
    Ok(SymmetricKey::from_bytes(&draw::<KEY_BYTES>()?))
}
