//! `ironhub device ...`

use anyhow::Context;
use hyper::{Method, StatusCode};
use model::{DeviceId, Principal};
use serde_json::{Value, json};

use super::{
    api_client::{ApiClient, Call, Refused},
    identity, import,
    output::{Output, cells, table},
    simulate,
    target::Target,
};
use crate::{
    arguments::{CreateArguments, DeviceCommand, Key, SimulateArguments, TargetArguments, UpdateArguments},
    configuration::Environment,
};

/// Runs one command against the hub that the arguments name.
pub async fn run(arguments: TargetArguments, command: DeviceCommand, environment: &Environment) -> anyhow::Result<()> {
    let devices = Devices { client: ApiClient::new(Target::find(&arguments, environment)?)? };
    let output = match command {
        DeviceCommand::Create(create) => devices.create(&create).await?,
        DeviceCommand::List => devices.list().await?,
        DeviceCommand::Show { id } => devices.show(&id).await?,
        DeviceCommand::Update(update) => devices.update(&update).await?,
        DeviceCommand::RegenerateKey { id, key } => devices.regenerate_key(&id, key).await?,
        DeviceCommand::Import(import) => return import::run(devices.client, import, arguments.json).await,
        DeviceCommand::Simulate(simulate) => return devices.simulate(&simulate, arguments.json).await,
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
    async fn create(&self, arguments: &CreateArguments) -> anyhow::Result<Output> {
        let id = &arguments.id;
        let mut device = creation(arguments);
        if let Some(parent) = &arguments.parent {
            set_parent(&mut device, &self.scope_of(parent).await?);
        }
        let path = ["devices", id.as_str()];
        let call = Call { body: Some(device), ..Call::new(Method::PUT, &path) };
        let device = self.client.call(call).await.map_err(|error| match error.downcast_ref::<Refused>() {
            Some(refused) if refused.status == StatusCode::CONFLICT => {
                error.context(format!("{id} exists; `ironhub device connection-string {id}` prints how to connect it"))
            }
            _ => error,
        })?;
        let text = identity::connection_string(self.client.host_name(), &principal(id), &device)?.text;
        Ok(Output { json: device, text })
    }

    /// What the devices below an IoT Edge device name.
    async fn scope_of(&self, parent: &DeviceId) -> anyhow::Result<String> {
        let device = self.get(parent).await.with_context(|| format!("cannot read the parent {parent}"))?;
        anyhow::ensure!(
            is_edge(&device),
            "{parent} is no IoT Edge device; `ironhub device update {parent} --edge true` makes it one"
        );
        let scope = device.get("deviceScope").and_then(Value::as_str);
        Ok(scope.context("the hub gave the parent no scope")?.to_owned())
    }

    async fn get(&self, id: &DeviceId) -> anyhow::Result<Value> {
        self.client.call(Call::new(Method::GET, &["devices", id.as_str()])).await
    }

    async fn show(&self, id: &DeviceId) -> anyhow::Result<Output> {
        Ok(Output::of_json(self.get(id).await?))
    }

    async fn simulate(&self, arguments: &SimulateArguments, as_json: bool) -> anyhow::Result<()> {
        let (device_id, module_id) = (arguments.id.clone(), arguments.module.clone());
        let principal = Principal { device_id, module_id };
        let mut path = vec!["devices", arguments.id.as_str()];
        path.extend(arguments.module.iter().flat_map(|id| ["modules", id.as_str()]));
        let identity = self.client.call(Call::new(Method::GET, &path)).await?;
        let day = jiff::SignedDuration::from_hours(24);
        let token = identity::sas_token(self.client.host_name(), &principal, &identity, day)?.text;
        simulate::run(&self.client, &principal, token, arguments, as_json).await
    }

    async fn list(&self) -> anyhow::Result<Output> {
        let call = Call { query: &[("top", "1000")], ..Call::new(Method::GET, &["devices"]) };
        let json = self.client.call(call).await?;
        let row = |device| {
            cells(device, ["/deviceId", "/status", "/connectionState", "/authentication/type", "/lastActivityTime"])
        };
        let rows: Vec<_> = json.as_array().into_iter().flatten().map(row).collect();
        let text = if rows.is_empty() {
            "no devices yet; `ironhub device create ID` makes one".to_owned()
        } else {
            table(["ID", "STATUS", "CONNECTION", "AUTHENTICATION", "LAST ACTIVITY"], rows)
        };
        Ok(Output { json, text })
    }

    async fn update(&self, arguments: &UpdateArguments) -> anyhow::Result<Output> {
        let mut device = self.get(&arguments.id).await?;
        if let Some(status) = arguments.status {
            device["status"] = json!(status.as_str());
        }
        if let Some(reason) = &arguments.status_reason {
            device["statusReason"] = if reason.is_empty() { Value::Null } else { json!(reason) };
        }
        // A device gets or loses its own scope first: only then can it name a parent in the right place.
        if let Some(edge) = arguments.edge.filter(|edge| *edge != is_edge(&device)) {
            device["capabilities"] = json!({ "iotEdge": edge });
            device["deviceScope"] = json!("");
            device = self.replace(&arguments.id, device).await?;
        }
        if arguments.no_parent {
            remove_parent(&mut device);
        } else if let Some(parent) = &arguments.parent {
            set_parent(&mut device, &self.scope_of(parent).await?);
        }
        Ok(Output::of_json(self.replace(&arguments.id, device).await?))
    }

    async fn replace(&self, id: &DeviceId, device: Value) -> anyhow::Result<Value> {
        let etag = device.get("etag").and_then(Value::as_str).context("the hub gave the device no etag")?.to_owned();
        let path = ["devices", id.as_str()];
        let call = Call { if_match: Some(&etag), body: Some(device), ..Call::new(Method::PUT, &path) };
        self.client.call(call).await.map_err(|error| match error.downcast_ref::<Refused>() {
            Some(refused) if refused.status == StatusCode::PRECONDITION_FAILED => {
                error.context("somebody else changed the device meanwhile; run the command again")
            }
            _ => error,
        })
    }

    async fn regenerate_key(&self, id: &DeviceId, key: Key) -> anyhow::Result<Output> {
        let policy_key = match key {
            Key::Primary => "primaryKey",
            Key::Secondary => "secondaryKey",
            Key::Both => "both",
        };
        let body = json!({ "policyKey": policy_key, "devices": [{ "id": id.as_str() }] });
        let call = Call { body: Some(body), ..Call::new(Method::POST, &["devices", "keys", "regenerate"]) };
        let json = self.client.answer(call).await?.result()?;
        if let Some(why) = json.pointer("/errors/0/errorStatus").and_then(Value::as_str) {
            anyhow::bail!("{id} keeps its keys: {why}");
        }
        let keys = json.pointer("/rotatedKeys/0").cloned().context("the hub's answer has no keys")?;
        let text = |name| keys.get(name).and_then(Value::as_str).unwrap_or_default();
        let text = format!("primary key    {}\nsecondary key  {}", text("primaryKey"), text("secondaryKey"));
        Ok(Output { json: keys, text })
    }

    async fn delete(&self, id: &DeviceId) -> anyhow::Result<Output> {
        let path = ["devices", id.as_str()];
        let call = Call { if_match: Some("*"), ..Call::new(Method::DELETE, &path) };
        self.client.call(call).await?;
        Ok(Output { json: json!({ "deleted": id.as_str() }), text: format!("deleted {id}") })
    }

    async fn connection_string(&self, id: &DeviceId) -> anyhow::Result<Output> {
        identity::connection_string(self.client.host_name(), &principal(id), &self.get(id).await?)
    }

    async fn sas_token(&self, id: &DeviceId, valid_for: jiff::SignedDuration) -> anyhow::Result<Output> {
        identity::sas_token(self.client.host_name(), &principal(id), &self.get(id).await?, valid_for)
    }
}

fn principal(id: &DeviceId) -> Principal {
    Principal::device(id.clone())
}

fn creation(arguments: &CreateArguments) -> Value {
    let text = |key: &Option<model::SymmetricKey>| key.as_ref().map(|key| key.as_base64().to_owned());
    let kind = match (&arguments.x509_thumbprint, arguments.x509_ca) {
        (Some(_), _) => "selfSigned",
        (None, true) => "certificateAuthority",
        (None, false) => "sas",
    };
    json!({
        "deviceId": arguments.id.as_str(),
        "status": arguments.status.as_str(),
        "capabilities": { "iotEdge": arguments.edge },
        "authentication": {
            "type": kind,
            "symmetricKey": {
                "primaryKey": text(&arguments.primary_key),
                "secondaryKey": text(&arguments.secondary_key),
            },
            "x509Thumbprint": {
                "primaryThumbprint": arguments.x509_thumbprint,
                "secondaryThumbprint": arguments.x509_secondary_thumbprint,
            },
        },
    })
}

fn is_edge(device: &Value) -> bool {
    device.pointer("/capabilities/iotEdge").and_then(Value::as_bool).unwrap_or(false)
}

/// Where a device names its parent depends on what it is (rest §7).
fn set_parent(device: &mut Value, scope: &str) {
    if is_edge(device) {
        device["parentScopes"] = json!([scope]);
    } else {
        device["deviceScope"] = json!(scope);
    }
}

fn remove_parent(device: &mut Value) {
    device["parentScopes"] = json!([]);
    if !is_edge(device) {
        device["deviceScope"] = json!("");
    }
}
