//! `ironhub method ...`

use std::time::Duration;

use hyper::Method;
use serde_json::json;

use super::{
    api_client::{ApiClient, Call},
    output::Output,
    target::Target,
    twin,
};
use crate::{
    arguments::{InvokeArguments, MethodCommand, TargetArguments},
    configuration::Environment,
};

/// How much later than the device the hub may answer.
const ANSWER_GRACE: Duration = Duration::from_secs(15);

/// Runs one command against the hub that the arguments name.
pub async fn run(arguments: TargetArguments, command: MethodCommand, environment: &Environment) -> anyhow::Result<()> {
    let client = ApiClient::new(Target::find(&arguments, environment)?)?;
    let MethodCommand::Invoke(invoke) = command;
    let answer = self::invoke(&client, &invoke).await?;
    let status = answer["status"].as_i64().unwrap_or_default();
    let text = format!("{status}\n{:#}", answer["payload"]);
    Output { json: answer, text }.print(arguments.json);
    anyhow::ensure!(status < 400, "{} answered {status}", invoke.id);
    Ok(())
}

async fn invoke(client: &ApiClient, invoke: &InvokeArguments) -> anyhow::Result<serde_json::Value> {
    let mut path = twin::path(&invoke.id, invoke.module.as_ref());
    path.push("methods");
    let body = json!({
        "methodName": invoke.name,
        "payload": invoke.payload,
        "responseTimeoutInSeconds": invoke.response_timeout,
        "connectTimeoutInSeconds": invoke.connect_timeout,
    });
    let within = Duration::from_secs((invoke.response_timeout + invoke.connect_timeout).into()) + ANSWER_GRACE;
    client.call(Call { body: Some(body), within, ..Call::new(Method::POST, &path) }).await
}
