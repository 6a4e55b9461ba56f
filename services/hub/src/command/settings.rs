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

/// `KEY=NUMBER`, `KEY=DURATION` or `KEY=default`; a dot in a key leads into an object. The hub knows the keys.
fn parse(changes: &[String]) -> anyhow::Result<Map<String, Value>> {
    let mut settings = Map::new();
    for change in changes {
        let (key, value) = change.split_once('=').with_context(|| format!("{change:?} is not KEY=VALUE"))?;
        let key = key.trim();
        let value = parse_value(value.trim()).with_context(|| {
            format!("{key} takes a whole number, a duration such as PT1H, or `default`, not {value:?}")
        })?;
        insert(&mut settings, key, value).with_context(|| format!("{key} is named twice"))?;
    }
    Ok(settings)
}

fn parse_value(text: &str) -> Option<Value> {
    match text {
        "default" => Some(Value::Null),
        duration if duration.starts_with('P') => Some(duration.into()),
        number => number.parse::<u32>().ok().map(Value::from),
    }
}

/// `None` when something is there already.
fn insert(settings: &mut Map<String, Value>, key: &str, value: Value) -> Option<()> {
    match key.split_once('.') {
        None if settings.contains_key(key) => None,
        None => {
            settings.insert(key.to_owned(), value);
            Some(())
        }
        Some((section, rest)) => {
            let section = settings.entry(section).or_insert_with(|| Map::new().into());
            insert(section.as_object_mut()?, rest, value)
        }
    }
}

fn text(json: &Value) -> String {
    let mut rows = Vec::new();
    add_rows(&mut rows, "", json);
    table(["SETTING", "VALUE"], rows)
}

/// One row for each value, named as `set` names it.
fn add_rows(rows: &mut Vec<[String; 2]>, section: &str, json: &Value) {
    for (name, value) in json.as_object().into_iter().flatten().filter(|(name, _)| *name != "etag") {
        let key = format!("{section}{name}");
        match value {
            Value::Object(_) => add_rows(rows, &format!("{key}."), value),
            Value::Null => rows.push([key, "default: what each process says".to_owned()]),
            Value::String(text) => rows.push([key, text.clone()]),
            value => rows.push([key, value.to_string()]),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changes_are_numbers_durations_or_the_default() -> anyhow::Result<()> {
        let changes = [
            "messageBytesMax=65536",
            "retentionTimeInDays=default",
            "cloudToDevice.maxDeliveryCount=5",
            "cloudToDevice.feedback.ttlAsIso8601=PT2H",
        ];
        let expected = json!({
            "messageBytesMax": 65536,
            "retentionTimeInDays": null,
            "cloudToDevice": { "maxDeliveryCount": 5, "feedback": { "ttlAsIso8601": "PT2H" } },
        });
        assert_eq!(Value::Object(parse(&changes.map(str::to_owned))?), expected);
        for wrong in [&["messageBytesMax"][..], &["messageBytesMax=1k"], &["a=1", "a=2"], &["a=1", "a.b=1"]] {
            let wrong: Vec<_> = wrong.iter().map(|text| (*text).to_owned()).collect();
            assert!(parse(&wrong).is_err(), "{wrong:?}");
        }
        Ok(())
    }

    #[test]
    fn every_value_has_a_row() {
        let settings = json!({ "etag": "x", "a": 1, "cloudToDevice": { "b": null, "feedback": { "c": "PT1H" } } });
        let text = text(&settings);
        for row in ["a", "cloudToDevice.b", "cloudToDevice.feedback.c"] {
            assert!(text.lines().any(|line| line.split_whitespace().next() == Some(row)), "{row}: {text}");
        }
        assert!(text.contains("default: what each process says") && text.contains("PT1H"), "{text}");
    }
}
