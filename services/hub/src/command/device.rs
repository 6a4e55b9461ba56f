//! `ironhub device ...`

use anyhow::Context;
use auth::ConnectionString;
use hyper::{Method, StatusCode};
use model::{DeviceId, SymmetricKey, Timestamp};
use serde_json::{Value, json};

use super::{
    api_client::{ApiClient, Call, Refused},
    output::{Output, table},
    target::Target,
};
use crate::{
    arguments::{DeviceCommand, TargetArguments},
    configuration::Environment,
};

/// Runs one command against the hub that the arguments name.
pub async fn run(arguments: TargetArguments, command: DeviceCommand, environment: &Environment) -> anyhow::Result<()> {
    let devices = Devices { client: ApiClient::new(Target::find(&arguments, environment)?)? };
    let output = match command {
        DeviceCommand::Create { id } => devices.create(&id).await?,
        DeviceCommand::List => devices.list().await?,
        DeviceCommand::Show { id } => devices.show(&id).await?,
        DeviceCommand::Delete { id } => devices.delete(&id).await?,
        DeviceCommand::ConnectionString { id } => devices.connection_string(&id).await?,
        DeviceCommand::SasToken { id, valid_for } => devices.sas_token(&id, valid_for).await?,
    };
    output.print(arguments.json);
    Ok(())
}

struct Devices {
    client: ApiClient,
}

impl Devices {
    async fn create(&self, id: &DeviceId) -> anyhow::Result<Output> {
        let path = ["devices", id.as_str()];
        let call = Call { body: Some(json!({ "deviceId": id.as_str() })), ..Call::new(Method::PUT, &path) };
        let device = self.client.call(call).await.map_err(|error| match error.downcast_ref::<Refused>() {
            Some(refused) if refused.status == StatusCode::CONFLICT => {
                error.context(format!("{id} exists; `ironhub device connection-string {id}` prints how to connect it"))
            }
            _ => error,
        })?;
        let text = connection_string(self.client.host_name(), id, &device)?;
        Ok(Output { json: device, text })
    }

    async fn get(&self, id: &DeviceId) -> anyhow::Result<Value> {
        self.client.call(Call::new(Method::GET, &["devices", id.as_str()])).await
    }

    async fn show(&self, id: &DeviceId) -> anyhow::Result<Output> {
        let json = self.get(id).await?;
        let text = format!("{json:#}");
        Ok(Output { json, text })
    }

    async fn list(&self) -> anyhow::Result<Output> {
        let call = Call { query: &[("top", "1000")], ..Call::new(Method::GET, &["devices"]) };
        let json = self.client.call(call).await?;
        let rows: Vec<[String; 5]> = json.as_array().into_iter().flatten().map(row).collect();
        let text = if rows.is_empty() {
            "no devices yet; `ironhub device create ID` makes one".to_owned()
        } else {
            table(["ID", "STATUS", "CONNECTION", "AUTHENTICATION", "LAST ACTIVITY"].map(str::to_owned), rows)
        };
        Ok(Output { json, text })
    }

    async fn delete(&self, id: &DeviceId) -> anyhow::Result<Output> {
        let path = ["devices", id.as_str()];
        let call = Call { if_match: Some("*"), ..Call::new(Method::DELETE, &path) };
        self.client.call(call).await?;
        Ok(Output { json: json!({ "deleted": id.as_str() }), text: format!("deleted {id}") })
    }

    async fn connection_string(&self, id: &DeviceId) -> anyhow::Result<Output> {
        let text = connection_string(self.client.host_name(), id, &self.get(id).await?)?;
        Ok(Output { json: json!({ "connectionString": text }), text })
    }

    async fn sas_token(&self, id: &DeviceId, valid_for: jiff::SignedDuration) -> anyhow::Result<Output> {
        let device = self.get(id).await?;
        let key = primary_key(id, &device)?;
        let expires = jiff::Timestamp::now().checked_add(valid_for).context("that is too far in the future")?;
        let resource = format!("{}/devices/{id}", self.client.host_name());
        let expires = Timestamp::from_unix_milliseconds(expires.as_millisecond());
        let token = auth::sign(&resource, &key, None, expires);
        Ok(Output { json: json!({ "sasToken": token }), text: token })
    }
}

/// What a device's SDK takes.
fn connection_string(host_name: &str, id: &DeviceId, device: &Value) -> anyhow::Result<String> {
    let connection_string = ConnectionString {
        host_name: host_name.to_owned(),
        device_id: Some(id.clone()),
        module_id: None,
        shared_access_key_name: None,
        shared_access_key: Some(primary_key(id, device)?),
    };
    Ok(connection_string.to_string())
}

fn primary_key(id: &DeviceId, device: &Value) -> anyhow::Result<SymmetricKey> {
    let key = device.pointer("/authentication/symmetricKey/primaryKey").and_then(Value::as_str);
    Ok(key.with_context(|| format!("{id} has no key: it proves itself with a certificate"))?.parse()?)
}

fn row(device: &Value) -> [String; 5] {
    ["/deviceId", "/status", "/connectionState", "/authentication/type", "/lastActivityTime"].map(|pointer| {
        let text = device.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        if text.starts_with("0001-01-01") { "never".to_owned() } else { text.to_owned() }
    })
}
