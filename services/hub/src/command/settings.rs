//! `ironhub settings ...`

use anyhow::Context;
use hyper::Method;
use serde_json::{Map, Value};

use super::{
    api_client::{ApiClient, Call},
    output::{Output, table},
    target::Target,
};
use crate::{
    arguments::{SettingsCommand, TargetArguments},
    configuration::Environment,
};

const PATH: [&str; 3] = ["ironhub", "v1", "settings"];

/// Runs one command against the hub that the arguments name.
pub async fn run(
    arguments: TargetArguments,
    command: SettingsCommand,
    environment: &Environment,
) -> anyhow::Result<()> {
    let call = match command {
        SettingsCommand::Show => Call::new(Method::GET, &PATH),
        SettingsCommand::Set { changes } => {
            Call { body: Some(Value::Object(parse(&changes)?)), ..Call::new(Method::PATCH, &PATH) }
        }
    };
    let client = ApiClient::new(Target::find(&arguments, environment)?)?;
    let json = client.call(call).await?;
    Output { text: text(&json), json }.print(arguments.json);
    Ok(())
}

/// `KEY=NUMBER` or `KEY=default`; the hub knows the keys.
fn parse(changes: &[String]) -> anyhow::Result<Map<String, Value>> {
    let parse = |change: &String| {
        let (key, value) = change.split_once('=').with_context(|| format!("{change:?} is not KEY=VALUE"))?;
        let value = match value.trim() {
            "default" => Value::Null,
            number => {
                let number = number.parse::<u32>();
                number.with_context(|| format!("{key} takes a whole number or `default`, not {value:?}"))?.into()
            }
        };
        Ok((key.trim().to_owned(), value))
    };
    changes.iter().map(parse).collect()
}

fn text(json: &Value) -> String {
    let settings = json.as_object().into_iter().flatten().filter(|(key, _)| *key != "etag");
    let row = |(key, value): (&String, &Value)| {
        let value = if value.is_null() { "default: what each process says".to_owned() } else { value.to_string() };
        [key.clone(), value]
    };
    table(["SETTING", "VALUE"], settings.map(row).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changes_are_numbers_or_the_default() -> anyhow::Result<()> {
        let changes = ["messageBytesMax=65536", "retentionTimeInDays=default"].map(str::to_owned);
        let expected = json!({ "messageBytesMax": 65536, "retentionTimeInDays": null });
        assert_eq!(Value::Object(parse(&changes)?), expected);
        assert!(parse(&["messageBytesMax".to_owned()]).is_err());
        assert!(parse(&["messageBytesMax=1k".to_owned()]).is_err());
        Ok(())
    }
}
