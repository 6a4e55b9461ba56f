//! `ironhub events tail`

use std::io::{self, Write};

use anyhow::Context;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::{Method, body::Incoming};
use serde_json::Value;

use super::{
    api_client::{ApiClient, Call},
    target::Target,
};
use crate::{
    arguments::{EventsCommand, Since, TailArguments, TargetArguments},
    configuration::Environment,
};

/// Longest line that is accepted: the largest event, all of its bytes written as escapes.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Runs one command against the hub that the arguments name.
pub async fn run(arguments: TargetArguments, command: EventsCommand, environment: &Environment) -> anyhow::Result<()> {
    let EventsCommand::Tail(tail) = command;
    let client = ApiClient::new(Target::find(&arguments, environment)?)?;
    let since = tail.since.unwrap_or(if tail.follow { Since::Latest } else { Since::Earliest }).to_string();
    let query = query(&tail, &since);
    let call = Call { query: &query, ..Call::new(Method::GET, &["ironhub", "v1", "events"]) };
    let mut lines = Lines::new(client.send(call).await?.into_body());
    while let Some(line) = lines.next().await? {
        if !print(&line, arguments.json)? {
            break;
        }
    }
    Ok(())
}

fn query<'a>(tail: &'a TailArguments, since: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut query = vec![("since", since)];
    query.extend(tail.device.as_ref().map(|device| ("device", device.as_str())));
    query.extend(tail.follow.then_some(("follow", "true")));
    query
}

/// Returns false when nobody reads the output any more (`| head`).
fn print(line: &[u8], json: bool) -> anyhow::Result<bool> {
    let mut output = io::stdout().lock();
    let written = if json {
        output.write_all(line).and_then(|()| output.write_all(b"\n"))
    } else {
        let event: Value = serde_json::from_slice(line).context("the hub sent something that is no event")?;
        writeln!(output, "{}", human(&event))
    };
    match written.and_then(|()| output.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        result => Ok(result.map(|()| true)?),
    }
}

/// `TIME  DEVICE  BODY  {PROPERTIES}`
fn human(event: &Value) -> String {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
    let time = text("/enqueuedTime").unwrap_or_default();
    let device = text("/systemProperties/iothub-connection-device-id").unwrap_or("-");
    let module = text("/systemProperties/iothub-connection-module-id").map(|module| format!("/{module}"));
    let body = match (event.get("body"), text("/bodyBase64")) {
        (Some(Value::String(text)), _) => text.clone(),
        (Some(json), _) => json.to_string(),
        (None, Some(base64)) => format!("base64:{base64}"),
        (None, None) => String::new(),
    };
    let properties =
        event.get("properties").filter(|properties| properties.as_object().is_some_and(|map| !map.is_empty()));
    let properties = properties.map(|properties| format!("  {properties}"));
    format!("{time}  {device}{}  {body}{}", module.unwrap_or_default(), properties.unwrap_or_default())
}

/// Splits a body into lines as they arrive.
struct Lines {
    body: Incoming,
    buffer: BytesMut,
}

impl Lines {
    fn new(body: Incoming) -> Self {
        Self { body, buffer: BytesMut::new() }
    }

    async fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.buffer.iter().skip(searched).position(|byte| *byte == b'\n') {
                let mut line = self.buffer.split_to(searched + end + 1);
                line.truncate(searched + end);
                if !line.is_empty() {
                    return Ok(Some(line.freeze()));
                }
                searched = 0;
                continue;
            }
            searched = self.buffer.len();
            anyhow::ensure!(searched <= LINE_BYTES_MAX, "the hub sent a line without an end");
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => {
                    let frame = frame.context("the hub broke off; start again with --since to go on")?;
                    self.buffer.extend(frame.into_data());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_one_line_for_people() {
        let event = json!({
            "partition": 0, "offset": "7", "enqueuedTime": "2026-01-31T08:00:00.0000000Z",
            "systemProperties": { "iothub-connection-device-id": "d", "iothub-connection-module-id": "m" },
            "properties": { "alert": "yes" }, "body": { "t": 21.5 },
        });
        assert_eq!(human(&event), r#"2026-01-31T08:00:00.0000000Z  d/m  {"t":21.5}  {"alert":"yes"}"#);
        let binary = json!({ "systemProperties": {}, "properties": {}, "bodyBase64": "AAE=" });
        assert_eq!(human(&binary), "  -  base64:AAE=");
    }
}
