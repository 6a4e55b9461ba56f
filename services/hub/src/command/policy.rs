//! `ironhub policy ...`

use anyhow::Context;
use auth::ConnectionString;
use hyper::Method;
use serde_json::{Value, json};

use super::{
    api_client::{ApiClient, Call},
    output::{Output, table},
    target::Target,
};
use crate::{
    arguments::{KeyName, PolicyCommand, TargetArguments},
    configuration::Environment,
};

/// Runs one command against the hub that the arguments name.
pub async fn run(arguments: TargetArguments, command: PolicyCommand, environment: &Environment) -> anyhow::Result<()> {
    let policies = Policies { client: ApiClient::new(Target::find(&arguments, environment)?)? };
    let output = match command {
        PolicyCommand::List => policies.list().await?,
        PolicyCommand::Show { name } => policies.shown(policies.get(&name).await?)?,
        PolicyCommand::Create { name, rights } => policies.create(&name, &rights).await?,
        PolicyCommand::Update { name, rights } => policies.update(&name, &rights).await?,
        PolicyCommand::Delete { name } => policies.delete(&name).await?,
        PolicyCommand::RegenerateKey { name, key } => policies.regenerate_key(&name, key).await?,
    };
    output.print(arguments.json);
    Ok(())
}

struct Policies {
    client: ApiClient,
}

impl Policies {
    async fn list(&self) -> anyhow::Result<Output> {
        let mut json = self.client.call(Call::new(Method::GET, &["ironhub", "v1", "policies"])).await?;
        let policies = json.pointer_mut("/value").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
        let text = |policy: &Value, name: &str| policy.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let rows = policies.iter().map(|policy| [text(policy, "keyName"), text(policy, "rights")]).collect();
        let listed = policies.iter().map(|it| json!({ "keyName": it["keyName"], "rights": it["rights"] })).collect();
        Ok(Output { json: Value::Array(listed), text: table(["NAME", "RIGHTS"], rows) })
    }

    async fn get(&self, name: &str) -> anyhow::Result<Value> {
        self.client.call(Call::new(Method::GET, &["ironhub", "v1", "policies", name])).await
    }

    async fn create(&self, name: &str, rights: &str) -> anyhow::Result<Output> {
        let list = self.client.call(Call::new(Method::GET, &["ironhub", "v1", "policies"])).await?;
        let mut names = list["value"].as_array().into_iter().flatten().filter_map(|policy| policy["keyName"].as_str());
        anyhow::ensure!(
            !names.any(|existing| existing.eq_ignore_ascii_case(name)),
            "the hub has a policy {name} already; `ironhub policy update` changes its rights"
        );
        let body = Some(json!({ "keyName": name, "rights": rights }));
        let path = ["ironhub", "v1", "policies", name];
        self.shown(self.client.call(Call { body, ..Call::new(Method::PUT, &path) }).await?)
    }

    async fn update(&self, name: &str, rights: &str) -> anyhow::Result<Output> {
        let etag = etag(&self.get(name).await?)?;
        let body = Some(json!({ "rights": rights }));
        let path = ["ironhub", "v1", "policies", name];
        let call = Call { body, if_match: Some(&etag), ..Call::new(Method::PUT, &path) };
        self.shown(self.client.call(call).await?)
    }

    async fn delete(&self, name: &str) -> anyhow::Result<Output> {
        self.client.call(Call::new(Method::DELETE, &["ironhub", "v1", "policies", name])).await?;
        Ok(Output { json: json!({ "deleted": name }), text: format!("deleted {name}") })
    }

    async fn regenerate_key(&self, name: &str, key: KeyName) -> anyhow::Result<Output> {
        let key = match key {
            KeyName::Primary => "primary",
            KeyName::Secondary => "secondary",
            KeyName::Swap => "swap",
        };
        let path = ["ironhub", "v1", "policies", name, "regenerate-key"];
        let call = Call { body: Some(json!({ "key": key })), ..Call::new(Method::POST, &path) };
        self.shown(self.client.call(call).await?)
    }

    /// The policy, and for people the connection strings that they came for.
    fn shown(&self, policy: Value) -> anyhow::Result<Output> {
        let text = |name: &str| policy[name].as_str().with_context(|| format!("the hub's answer has no {name}"));
        let connection_string = |key: &str| -> anyhow::Result<String> {
            let connection_string = ConnectionString {
                host_name: self.client.host_name().to_owned(),
                device_id: None,
                module_id: None,
                shared_access_key_name: Some(text("keyName")?.to_owned()),
                shared_access_key: Some(text(key)?.parse()?),
            };
            Ok(connection_string.to_string())
        };
        let (primary, secondary) = (connection_string("primaryKey")?, connection_string("secondaryKey")?);
        let lines = format!("{}: {}\nprimary    {primary}\nsecondary  {secondary}", text("keyName")?, text("rights")?);
        let mut json = policy.clone();
        json["primaryConnectionString"] = primary.into();
        json["secondaryConnectionString"] = secondary.into();
        Ok(Output { json, text: lines })
    }
}

/// The version of an object.
pub fn etag(object: &Value) -> anyhow::Result<String> {
    let etag = object.get("etag").and_then(Value::as_str).context("the hub's answer has no etag")?;
    Ok(format!("\"{etag}\""))
}
