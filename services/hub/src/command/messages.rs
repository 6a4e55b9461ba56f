//! `ironhub c2d ...`

use bytes::Bytes;
use hyper::{HeaderMap, Method, StatusCode};
use model::{DeviceId, Timestamp};
use serde_json::{Map, Value, json};

use super::{
    api_client::{Answer, ApiClient, Call},
    output::{Output, cells, table},
    target::Target,
};
use crate::{
    arguments::{MessageCommand, SendArguments, TargetArguments},
    configuration::Environment,
};

/// Runs one command against the hub that the arguments name.
pub async fn run(arguments: TargetArguments, command: MessageCommand, environment: &Environment) -> anyhow::Result<()> {
    let client = ApiClient::new(Target::find(&arguments, environment)?)?;
    let output = match command {
        MessageCommand::Send(send) => self::send(&client, &send).await?,
        MessageCommand::Receive { id } => receive(&client, &id).await?,
        MessageCommand::Complete { id, lock_token } => settle(&client, &id, &lock_token, "completed").await?,
        MessageCommand::Reject { id, lock_token } => settle(&client, &id, &lock_token, "rejected").await?,
        MessageCommand::Abandon { id, lock_token } => settle(&client, &id, &lock_token, "abandoned").await?,
        MessageCommand::Purge { id } => purge(&client, &id).await?,
        MessageCommand::Feedback { keep } => feedback(&client, keep).await?,
    };
    output.print(arguments.json);
    Ok(())
}

fn queue(id: &DeviceId) -> [&str; 4] {
    ["devices", id.as_str(), "messages", "devicebound"]
}

async fn send(client: &ApiClient, arguments: &SendArguments) -> anyhow::Result<Output> {
    let mut headers = vec![("iothub-ack".to_owned(), arguments.ack.as_str().to_owned())];
    let mut put = |name: &str, value: &Option<String>| {
        headers.extend(value.clone().map(|value| (name.to_owned(), value)));
    };
    put("iothub-messageid", &arguments.message_id);
    put("iothub-correlationid", &arguments.correlation_id);
    put("iothub-contenttype", &arguments.content_type);
    if let Some(time) = arguments.expires_in {
        let expires = jiff::Timestamp::now().checked_add(time)?;
        put("iothub-expiry", &Some(Timestamp::from_unix_milliseconds(expires.as_millisecond()).to_string()));
    }
    headers.extend(arguments.properties.iter().map(|(name, value)| (format!("iothub-app-{name}"), value.clone())));
    let path = queue(&arguments.id);
    let bytes = Some(Bytes::from(arguments.body.clone()));
    client.call(Call { headers: &headers, bytes, ..Call::new(Method::POST, &path) }).await?;
    let id = arguments.id.as_str();
    Ok(Output { text: format!("sent to {id}"), json: json!({ "deviceId": id, "messageId": arguments.message_id }) })
}

async fn receive(client: &ApiClient, id: &DeviceId) -> anyhow::Result<Output> {
    let answer = client.successful(Call::new(Method::GET, &queue(id))).await?;
    if answer.status == StatusCode::NO_CONTENT {
        return Ok(Output { text: format!("no message waits for {id}"), json: Value::Null });
    }
    let json = message(&answer);
    let text = format!(
        "{}\nlock token {}",
        json["body"].as_str().unwrap_or("(binary, see --json)"),
        json["lockToken"].as_str().unwrap_or_default()
    );
    Ok(Output { json, text })
}

/// The message as its headers and body say.
fn message(answer: &Answer) -> Value {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let header = |name: &str| text(&answer.headers, name);
    let mut properties = Map::new();
    for (name, value) in &answer.headers {
        if let Some(name) = name.as_str().strip_prefix("iothub-app-") {
            properties.insert(name.to_owned(), json!(String::from_utf8_lossy(value.as_bytes())));
        }
    }
    let body = std::str::from_utf8(&answer.body).ok();
    json!({
        "lockToken": header("etag").trim_matches('"'),
        "messageId": header("iothub-messageid"),
        "correlationId": header("iothub-correlationid"),
        "contentType": header("contenttype"),
        "ack": header("iothub-ack"),
        "sequenceNumber": header("iothub-sequencenumber"),
        "enqueuedTime": header("iothub-enqueuedtime"),
        "expiry": header("iothub-expiry"),
        "deliveryCount": header("iothub-deliverycount"),
        "properties": properties,
        "body": body,
        "bodyBase64": if body.is_none() { json!(BASE64_STANDARD.encode(&answer.body)) } else { Value::Null },
    })
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
}

async fn settle(client: &ApiClient, id: &DeviceId, lock_token: &str, how: &str) -> anyhow::Result<Output> {
    let mut path = queue(id).to_vec();
    path.push(lock_token);
    let mut call = Call::new(Method::DELETE, &path);
    let abandon = [path.as_slice(), &["abandon"]].concat();
    match how {
        "rejected" => call.query = &[("reject", "")],
        "abandoned" => call = Call::new(Method::POST, &abandon),
        _ => {}
    }
    client.call(call).await?;
    Ok(Output { text: how.to_owned(), json: json!({ how: lock_token }) })
}

async fn purge(client: &ApiClient, id: &DeviceId) -> anyhow::Result<Output> {
    let json = client.call(Call::new(Method::DELETE, &["devices", id.as_str(), "commands"])).await?;
    Ok(Output { text: format!("removed {} messages", json["totalMessagesPurged"]), json })
}

async fn feedback(client: &ApiClient, keep: bool) -> anyhow::Result<Output> {
    let path = ["messages", "servicebound", "feedback"];
    let answer = client.successful(Call::new(Method::GET, &path)).await?;
    if answer.status == StatusCode::NO_CONTENT {
        let text = "nothing to hear of (yet: outcomes are handed out about 15 seconds after they happened)";
        return Ok(Output { text: text.to_owned(), json: json!([]) });
    }
    let json: Value = serde_json::from_slice(&answer.body)?;
    if !keep {
        let lock_token = text(&answer.headers, "etag");
        let path = [path.as_slice(), &[lock_token.trim_matches('"')]].concat();
        client.call(Call::new(Method::DELETE, &path)).await?;
    }
    let row = |record| cells(record, ["/deviceId", "/originalMessageId", "/statusCode", "/enqueuedTimeUtc"]);
    let rows = json.as_array().into_iter().flatten().map(row).collect();
    Ok(Output { text: table(["DEVICE", "MESSAGE", "OUTCOME", "TIME"], rows), json })
}
