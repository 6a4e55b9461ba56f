//! `ironhub statistics`

use hyper::Method;
use serde_json::Value;

use super::{
    api_client::{ApiClient, Call},
    output::Output,
    target::Target,
};
use crate::{arguments::TargetArguments, configuration::Environment};

/// Counts the devices of the hub that the arguments name.
pub async fn run(arguments: TargetArguments, environment: &Environment) -> anyhow::Result<()> {
    let client = ApiClient::new(Target::find(&arguments, environment)?)?;
    let mut counts = client.call(Call::new(Method::GET, &["statistics", "devices"])).await?;
    let connected = client.call(Call::new(Method::GET, &["statistics", "service"])).await?;
    if let (Value::Object(counts), Value::Object(connected)) = (&mut counts, connected) {
        counts.extend(connected);
    }
    let count = |name: &str| counts.get(name).and_then(Value::as_u64).unwrap_or_default();
    let text = format!(
        "devices    {}\nenabled    {}\ndisabled   {}\nconnected  {}",
        count("totalDeviceCount"),
        count("enabledDeviceCount"),
        count("disabledDeviceCount"),
        count("connectedDeviceCount")
    );
    Output { json: counts, text }.print(arguments.json);
    Ok(())
}
