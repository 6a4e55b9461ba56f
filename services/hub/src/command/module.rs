//! `ironhub module ...`

use hyper::{Method, StatusCode};
use model::{DeviceId, ModuleId, Principal};
use serde_json::{Value, json};

use super::{
    api_client::{ApiClient, Call, Refused},
    identity,
    output::{Output, cells, table},
    target::Target,
};
use crate::{
    arguments::{ModuleCommand, TargetArguments},
    configuration::Environment,
};

/// Runs one command against the hub that the arguments name.
pub async fn run(arguments: TargetArguments, command: ModuleCommand, environment: &Environment) -> anyhow::Result<()> {
    let client = ApiClient::new(Target::find(&arguments, environment)?)?;
    let module = |device: DeviceId, module: ModuleId| Module { client: &client, device, module };
    let output = match command {
        ModuleCommand::Create { device, module: id, managed_by } => module(device, id).create(managed_by).await?,
        ModuleCommand::List { device } => list(&client, &device).await?,
        ModuleCommand::Show { device, module: id } => module(device, id).show().await?,
        ModuleCommand::Delete { device, module: id } => module(device, id).delete().await?,
        ModuleCommand::ConnectionString { device, module: id } => module(device, id).connection_string().await?,
        ModuleCommand::SasToken { device, module: id, valid_for } => module(device, id).sas_token(valid_for).await?,
    };
    output.print(arguments.json);
    Ok(())
}

async fn list(client: &ApiClient, device: &DeviceId) -> anyhow::Result<Output> {
    let json = client.call(Call::new(Method::GET, &["devices", device.as_str(), "modules"])).await?;
    let row = |module| {
        cells(module, ["/moduleId", "/managedBy", "/connectionState", "/authentication/type", "/lastActivityTime"])
    };
    let rows: Vec<_> = json.as_array().into_iter().flatten().map(row).collect();
    let text = if rows.is_empty() {
        format!("no modules yet; `ironhub module create {device} MODULE` makes one")
    } else {
        table(["ID", "MANAGED BY", "CONNECTION", "AUTHENTICATION", "LAST ACTIVITY"], rows)
    };
    Ok(Output { json, text })
}

struct Module<'a> {
    client: &'a ApiClient,
    device: DeviceId,
    module: ModuleId,
}

impl Module<'_> {
    fn path(&self) -> [&str; 4] {
        ["devices", self.device.as_str(), "modules", self.module.as_str()]
    }

    fn principal(&self) -> Principal {
        Principal::module(self.device.clone(), self.module.clone())
    }

    async fn get(&self) -> anyhow::Result<Value> {
        self.client.call(Call::new(Method::GET, &self.path())).await
    }

    async fn create(&self, managed_by: Option<String>) -> anyhow::Result<Output> {
        let (device, module) = (&self.device, &self.module);
        let body = json!({ "deviceId": device.as_str(), "moduleId": module.as_str(), "managedBy": managed_by });
        let path = self.path();
        let call = Call { body: Some(body), ..Call::new(Method::PUT, &path) };
        let json = self.client.call(call).await.map_err(|error| match error.downcast_ref::<Refused>() {
            Some(refused) if refused.status == StatusCode::CONFLICT => error.context(format!(
                "{device}/{module} exists; `ironhub module connection-string {device} {module}` prints how to connect it"
            )),
            _ => error,
        })?;
        let text = identity::connection_string(self.client.host_name(), &self.principal(), &json)?.text;
        Ok(Output { json, text })
    }

    async fn show(&self) -> anyhow::Result<Output> {
        Ok(Output::of_json(self.get().await?))
    }

    async fn delete(&self) -> anyhow::Result<Output> {
        let path = self.path();
        self.client.call(Call { if_match: Some("*"), ..Call::new(Method::DELETE, &path) }).await?;
        let deleted = self.principal().to_string();
        Ok(Output { text: format!("deleted {deleted}"), json: json!({ "deleted": deleted }) })
    }

    async fn connection_string(&self) -> anyhow::Result<Output> {
        identity::connection_string(self.client.host_name(), &self.principal(), &self.get().await?)
    }

    async fn sas_token(&self, valid_for: jiff::SignedDuration) -> anyhow::Result<Output> {
        identity::sas_token(self.client.host_name(), &self.principal(), &self.get().await?, valid_for)
    }
}
