//! `ironhub consumer-group ...`

use hyper::Method;
use serde_json::{Value, json};

use super::{
    api_client::{ApiClient, Call},
    output::{Output, table},
    target::Target,
};
use crate::{
    arguments::{ConsumerGroupCommand, TargetArguments},
    configuration::Environment,
};

/// Runs one command against the hub that the arguments name.
pub async fn run(
    arguments: TargetArguments,
    command: ConsumerGroupCommand,
    environment: &Environment,
) -> anyhow::Result<()> {
    let client = ApiClient::new(Target::find(&arguments, environment)?)?;
    let output = match command {
        ConsumerGroupCommand::List => list(&client).await?,
        ConsumerGroupCommand::Create { name } => {
            let json = client.call(Call::new(Method::PUT, &["ironhub", "v1", "consumer-groups", &name])).await?;
            Output { json, text: format!("the events have a consumer group {name}") }
        }
        ConsumerGroupCommand::Delete { name } => {
            client.call(Call::new(Method::DELETE, &["ironhub", "v1", "consumer-groups", &name])).await?;
            Output { json: json!({ "deleted": name }), text: format!("deleted {name}") }
        }
    };
    output.print(arguments.json);
    Ok(())
}

async fn list(client: &ApiClient) -> anyhow::Result<Output> {
    let json = client.call(Call::new(Method::GET, &["ironhub", "v1", "consumer-groups"])).await?;
    let json = json["value"].clone();
    let text = |group: &Value, pointer: &str| group.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let row = |group: &Value| {
        let created = text(group, "/properties/created").unwrap_or_else(|| "with the hub".to_owned());
        [text(group, "/name").unwrap_or_default(), created]
    };
    let rows = json.as_array().into_iter().flatten().map(row).collect();
    Ok(Output { text: table(["NAME", "CREATED"], rows), json })
}
