//! What a device or module connects with.

use anyhow::Context;
use auth::ConnectionString;
use model::{Principal, SymmetricKey, Timestamp};
use serde_json::{Value, json};

use super::output::Output;

/// What its SDK takes.
pub fn connection_string(host_name: &str, principal: &Principal, identity: &Value) -> anyhow::Result<Output> {
    let Principal { device_id, module_id } = principal;
    let text = match kind(identity) {
        "selfSigned" | "certificateAuthority" => {
            let module = module_id.as_ref().map(|id| format!(";ModuleId={id}")).unwrap_or_default();
            format!("HostName={host_name};DeviceId={device_id}{module};x509=true")
        }
        _ => ConnectionString {
            host_name: host_name.to_owned(),
            device_id: Some(device_id.clone()),
            module_id: module_id.clone(),
            shared_access_key_name: None,
            shared_access_key: Some(primary_key(principal, identity)?),
        }
        .to_string(),
    };
    Ok(Output { json: json!({ "connectionString": text }), text })
}

/// A token signed with its primary key.
pub fn sas_token(
    host_name: &str,
    principal: &Principal,
    identity: &Value,
    valid_for: jiff::SignedDuration,
) -> anyhow::Result<Output> {
    let key = primary_key(principal, identity)?;
    let expires = jiff::Timestamp::now().checked_add(valid_for).context("that is too far in the future")?;
    let Principal { device_id, module_id } = principal;
    let module = module_id.as_ref().map(|id| format!("/modules/{id}")).unwrap_or_default();
    let resource = format!("{host_name}/devices/{device_id}{module}");
    let token = auth::sign(&resource, &key, None, Timestamp::from_unix_milliseconds(expires.as_millisecond()));
    Ok(Output { json: json!({ "sasToken": token }), text: token })
}

fn kind(identity: &Value) -> &str {
    identity.pointer("/authentication/type").and_then(Value::as_str).unwrap_or_default()
}

fn primary_key(principal: &Principal, identity: &Value) -> anyhow::Result<SymmetricKey> {
    let key = identity.pointer("/authentication/symmetricKey/primaryKey").and_then(Value::as_str);
    Ok(key.with_context(|| format!("{principal} has no key: its authentication is {}", kind(identity)))?.parse()?)
}
