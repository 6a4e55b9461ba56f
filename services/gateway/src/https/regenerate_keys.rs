//! New keys for many identities (rest §5).

use auth::Operation;
use http::{HeaderValue, Response, StatusCode};
use model::{Principal, SymmetricKeys};
use serde::Deserialize;
use serde_json::{Value, json};
use shard_client::{Change, Changed};

use super::{
    authentication_json::draw_key,
    authorization::authorize,
    body::{self, Body},
    bulk::{check_count, check_distinct, refused},
    error::ApiError,
    route::Call,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    policy_key: Option<String>,
    #[serde(default)]
    devices: Vec<Identity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Identity {
    id: String,
    module_id: Option<String>,
}

/// Which keys are replaced.
#[derive(Clone, Copy)]
pub(super) struct Keys {
    name: &'static str,
    primary: bool,
    secondary: bool,
}

const KEYS: [Keys; 3] = [
    Keys { name: "primaryKey", primary: true, secondary: false },
    Keys { name: "secondaryKey", primary: false, secondary: true },
    Keys { name: "both", primary: true, secondary: true },
];

/// `POST /devices/keys/regenerate`: 200 when all were given new keys, 207 when some were, 400 when none was.
pub(super) async fn run(call: Call<'_>) -> Result<Response<Body>, ApiError> {
    authorize(call.context, &call.parts.headers, Operation::WriteDevice, &["devices"])?;
    let front = &call.context.front;
    let input: Input = body::read_json(front, call.body, front.config.https.body_bytes_max).await?;
    let keys = input.check()?;
    let parsed = input.changes(keys);
    let changes: Vec<Change> = parsed.iter().flatten().cloned().collect();
    let mut results = front.shard_client.change_identities(&changes).await.into_iter();
    let (mut rotated, mut errors) = (Vec::new(), Vec::new());
    for (identity, change) in input.devices.iter().zip(parsed) {
        match change.and_then(|change| outcome(results.next(), &change)) {
            Ok(keys) => rotated.push(identity.rotated(&keys)),
            Err(error) => errors.push(identity.failed(&error)),
        }
    }
    Ok(answer(keys.name, &rotated, &errors))
}

impl Input {
    /// Which keys, unless the request is wrong as a whole.
    pub fn check(&self) -> Result<Keys, ApiError> {
        let name = self.policy_key.as_deref().unwrap_or_default();
        let keys = KEYS.into_iter().find(|keys| keys.name.eq_ignore_ascii_case(name));
        let keys = keys.ok_or_else(ApiError::policy_key)?;
        check_count(self.devices.len())?;
        check_distinct(
            self.devices.iter().map(|identity| (Some(identity.id.as_str()), identity.module_id.as_deref())),
        )?;
        Ok(keys)
    }

    /// One for each identity, in their order.
    pub fn changes(&self, keys: Keys) -> Vec<Result<Change, ApiError>> {
        self.devices.iter().map(|identity| identity.change(keys)).collect()
    }
}

fn outcome(
    result: Option<Result<Changed, shard_client::RegistryError>>,
    change: &Change,
) -> Result<SymmetricKeys, ApiError> {
    match result {
        Some(Ok(Changed::Keys(keys))) => Ok(keys),
        Some(Err(error)) => Err(refused(error, change)),
        Some(Ok(Changed::Done)) | None => Err(ApiError::timeout()),
    }
}

impl Identity {
    fn change(&self, keys: Keys) -> Result<Change, ApiError> {
        let invalid = |error: model::InvalidIdentifier| ApiError::argument(format!("Invalid id: {error}"));
        let device_id = self.id.parse().map_err(invalid)?;
        let module_id = self.module_id.as_deref().map(str::parse).transpose().map_err(invalid)?;
        Ok(Change::RegenerateKeys {
            principal: Principal { device_id, module_id },
            primary: keys.primary.then(draw_key).transpose()?,
            secondary: keys.secondary.then(draw_key).transpose()?,
        })
    }

    fn rotated(&self, keys: &SymmetricKeys) -> Value {
        json!({
            "id": self.id,
            "moduleId": self.module_id,
            "primaryKey": keys.primary.as_base64(),
            "secondaryKey": keys.secondary.as_base64(),
        })
    }

    fn failed(&self, error: &ApiError) -> Value {
        json!({
            "id": self.id,
            "moduleId": self.module_id,
            "errorCode": error.name(),
            "errorStatus": error.message(),
        })
    }
}

fn answer(policy_key: &str, rotated: &[Value], errors: &[Value]) -> Response<Body> {
    let status = match (rotated.is_empty(), errors.is_empty()) {
        (_, true) => StatusCode::OK,
        (false, false) => StatusCode::MULTI_STATUS,
        (true, false) => StatusCode::BAD_REQUEST,
    };
    let result = json!({ "policyKey": policy_key, "rotatedKeys": rotated, "errors": errors });
    let mut response = body::with_json(status, result.to_string().into_bytes());
    if status == StatusCode::BAD_REQUEST {
        let name = HeaderValue::from_static("BulkRegenerateDeviceKeyOperationFailure");
        response.headers_mut().insert("iothub-errorcode", name);
    }
    response
}
