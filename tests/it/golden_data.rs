//! Data folders of earlier versions: opened by this one, everything is there (`tests/fixtures/data`, one for each version).
//!
//! An archive holds `data`, the folder as `ironhub all` left it, and `answers.json`, what that version said of it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Context;
use ironhub_tests::{
    Authority, Device, Hub, HubOptions, Mqtt, OTHER_KEY, Received, TestResult, eventually, self_signed,
};
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use crate::amqp_telemetry::{address, message};

const FIXTURES: &str = "fixtures/data";
/// Who was connected is written down by then.
const PRESENCE_WRITTEN: Duration = Duration::from_secs(5);
/// What is in the folder stays in it for ten years: messages and events too.
const CONFIG: &str = "
[event_log]
retention_seconds = 315000000
[gateway.cloud_to_device]
default_ttl_seconds = 315000000
feedback_ttl_seconds = 315000000
[shard]
groups = 2
";
/// What is asked of the folder's hub by the version that made it, and again by this one.
const QUESTIONS: [&str; 15] = [
    "/devices/by-key",
    "/devices/by-key/modules/sensor",
    "/devices/by-key/modules",
    "/devices/by-thumbprint",
    "/devices/by-authority",
    "/devices/disabled",
    "/devices/edge",
    "/twins/by-key",
    "/twins/by-key/modules/sensor",
    "/twins/by-thumbprint",
    "/statistics/devices",
    "/ironhub/v1/settings",
    "/ironhub/v1/policies",
    "/ironhub/v1/certificates",
    "/ironhub/v1/consumer-groups",
];

fn options() -> HubOptions {
    HubOptions { config: CONFIG.to_owned(), ..HubOptions::default() }
}

async fn get(hub: &Hub, path: &str) -> TestResult<Value> {
    hub.call("GET", path, &[], &Value::Null).await?.expect(200)?.json()
}

/// What the hub says of everything in it.
async fn answers(hub: &Hub) -> TestResult<Map<String, Value>> {
    let mut answers = Map::new();
    for path in QUESTIONS {
        answers.insert(path.to_owned(), get(hub, path).await?);
    }
    answers.insert("events".to_owned(), hub.all_events().await?.into());
    answers.insert("connection strings".to_owned(), hub.json["connectionStrings"].clone());
    Ok(answers)
}

/// Later versions may say more, not less and nothing else.
fn assert_says(said: &Value, expected: &Value, whereof: &str) {
    match (said, expected) {
        (Value::Object(said), Value::Object(expected)) => {
            for (name, expected) in expected {
                let said = said.get(name).unwrap_or_else(|| panic!("{whereof} has no {name}"));
                assert_says(said, expected, &format!("{whereof}/{name}"));
            }
        }
        (Value::Array(said), Value::Array(expected)) => {
            assert_eq!(said.len(), expected.len(), "{whereof}");
            said.iter().zip(expected).for_each(|(said, expected)| assert_says(said, expected, whereof));
        }
        _ => assert_eq!(said, expected, "{whereof}"),
    }
}

async fn device(hub: &Hub, path: &str) -> TestResult<Device> {
    Device::from_identity(&hub.host_name, &get(hub, path).await?)
}

/// The messages that wait for a device, until there are so many: topic and body; they are taken.
async fn receive(client: &mut Mqtt, count: usize) -> TestResult<Vec<(String, String)>> {
    let mut messages = Vec::new();
    while messages.len() < count {
        let Received::Publish { topic, payload, packet_id, .. } = client.receive().await? else { continue };
        let mut acknowledgement = Vec::new();
        mqtt::client::puback(packet_id.context("a message at most once")?, &mut acknowledgement);
        client.send(&acknowledgement).await?;
        messages.push((topic, String::from_utf8(payload)?));
    }
    Ok(messages)
}

#[tokio::test]
async fn data_folders_of_every_version_are_opened_with_all_that_is_in_them() -> TestResult {
    let archives: Vec<PathBuf> = fs::read_dir(FIXTURES)?.map(|file| Ok(file?.path())).collect::<TestResult<_>>()?;
    assert!(!archives.is_empty(), "the fixtures are missing");
    for archive in archives {
        opened(&archive).await.with_context(|| archive.display().to_string())?;
    }
    Ok(())
}

async fn opened(archive: &Path) -> TestResult {
    let folder = tempfile::tempdir()?;
    let status = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(folder.path()).status()?;
    assert!(status.success());
    let expected: Value = serde_json::from_str(&fs::read_to_string(folder.path().join("answers.json"))?)?;
    let hub = Hub::start_on(folder.path(), options()).await?;
    let said = Value::Object(answers(&hub).await?);
    assert_says(&said, &expected, "");

    // The stored session is there, and what waited comes by it.
    let by_key = device(&hub, "/devices/by-key").await?;
    let mut client = hub.mqtt().await?;
    let connected = client.connect(&mqtt::Connect { clean_session: false, ..by_key.connect() }).await?;
    assert_eq!(connected, Received::ConnAck { session_present: true, code: 0 });
    let messages = receive(&mut client, 2).await?;
    let (topics, bodies): (Vec<_>, Vec<_>) = messages.into_iter().unzip();
    assert_eq!(bodies, ["first", "second"]);
    assert!(topics[0].contains("colour=blue") && topics[0].contains("%24.mid=m1"), "{topics:?}");
    let sensor = device(&hub, "/devices/by-key/modules/sensor").await?;
    hub.connect(&sensor).await?.publish_acknowledged(&sensor.events_topic(), b"after").await?;
    // It is handed out some seconds after it came about, which may have been just now.
    let (token, mut feedback) = (hub.policy_token("service")?, Value::Null);
    eventually("feedback", async || {
        let answer = hub.call_as(&token, "GET", "/messages/serviceBound/feedback", &[], b"").await?;
        feedback = if answer.status == 200 { answer.json()? } else { Value::Null };
        Ok(answer.status == 200)
    })
    .await?;
    assert_eq!(feedback[0]["originalMessageId"], "done", "{feedback}");
    assert_eq!(feedback[0]["statusCode"], "Success", "{feedback}");

    // And it goes on as a hub.
    let tags = json!({ "tags": { "place": "cellar" } });
    let etag = expected["/twins/by-key"]["etag"].as_str().context("no etag")?;
    let if_match = format!("\"{etag}\"");
    hub.call("PATCH", "/twins/by-key", &[("If-Match", &if_match)], &tags).await?.expect(200)?;
    hub.call("PATCH", "/twins/by-key", &[("If-Match", &if_match)], &tags).await?.expect(412)?;
    let hub = hub.kill_and_restart().await?;
    let events = hub.all_events().await?;
    assert_eq!(events.len(), expected["events"].as_array().map_or(0, Vec::len) + 1);
    assert_eq!(get(&hub, "/twins/by-key").await?["tags"]["place"], "cellar");
    Ok(())
}

/// Only for a version that nobody has yet:
/// `deploy/development/cargo test --profile ci -p ironhub-tests --test it golden_data -- --ignored`.
#[tokio::test]
#[ignore = "makes the data folder of this version"]
async fn make_the_data_folder_of_this_version() -> TestResult {
    let folder = tempfile::tempdir()?;
    let mut hub = Hub::start_on(folder.path(), options()).await?;
    fill(&hub).await?;
    hub.terminate()?;
    hub.ended().await?;
    // Killed, so that the newest of it stands in logs only.
    let mut hub = Hub::start_on(folder.path(), options()).await?;
    send(&hub, &[], b"second").await?;
    let answers = serde_json::to_string_pretty(&answers(&hub).await?)?;
    fs::write(folder.path().join("answers.json"), answers)?;
    hub.kill()?;
    let archive = Path::new(FIXTURES).join(concat!(env!("CARGO_PKG_VERSION"), ".tar.gz"));
    let mut tar = Command::new("tar");
    tar.arg("-czf").arg(archive).arg("-C").arg(folder.path()).args(["--exclude=LOG*", "data", "answers.json"]);
    anyhow::ensure!(tar.status()?.success(), "tar failed");
    Ok(())
}

async fn send(hub: &Hub, headers: &[(&str, &str)], body: &[u8]) -> TestResult {
    let (token, path) = (hub.policy_token("service")?, "/devices/by-key/messages/devicebound");
    hub.call_as(&token, "POST", path, headers, body).await?.expect(204).map(drop)
}

/// A little of everything that a hub keeps.
async fn fill(hub: &Hub) -> TestResult {
    let call = async |method: &str, path: &str, body: Value| {
        hub.call(method, path, &[], &body).await?.expect(if method == "PUT" { 201 } else { 200 })
    };
    let created = async |path: &str, body: Value| hub.call("PUT", path, &[], &body).await?.expect(200);
    let root = Authority::root("Factory root")?;
    let certificate = json!({ "properties": { "certificate": root.base64(), "isVerified": true } });
    call("PUT", "/ironhub/v1/certificates/factory", certificate).await?;
    call("PUT", "/ironhub/v1/policies/dashboard", json!({ "rights": "ServiceConnect" })).await?;
    call("PUT", "/ironhub/v1/consumer-groups/analytics", Value::Null).await?;
    hub.call("PATCH", "/ironhub/v1/settings", &[("If-Match", "*")], &json!({ "subscriptionsMax": 20 }))
        .await?
        .expect(200)?;

    let by_key = hub.create_device("by-key").await?;
    let sensor = hub.new_module(&by_key, "sensor").await?;
    let thumbprint = self_signed("by-thumbprint")?.thumbprint();
    let by_thumbprint = json!({ "primaryThumbprint": thumbprint, "secondaryThumbprint": null });
    let authentication = json!({ "type": "selfSigned", "x509Thumbprint": by_thumbprint });
    created("/devices/by-thumbprint", json!({ "deviceId": "by-thumbprint", "authentication": authentication })).await?;
    let authentication = json!({ "type": "certificateAuthority" });
    created("/devices/by-authority", json!({ "deviceId": "by-authority", "authentication": authentication })).await?;
    let keys = json!({ "type": "sas", "symmetricKey": { "primaryKey": OTHER_KEY, "secondaryKey": OTHER_KEY } });
    let disabled =
        json!({ "deviceId": "disabled", "status": "disabled", "statusReason": "lost ü", "authentication": keys });
    created("/devices/disabled", disabled).await?;
    created("/devices/edge", json!({ "deviceId": "edge", "capabilities": { "iotEdge": true } })).await?;

    let twin = json!({ "tags": { "floor": 3, "rooms": ["a", { "b": true }] }, "properties": { "desired": { "interval": 5 } } });
    call("PATCH", "/twins/by-key", twin).await?;
    call("PATCH", "/twins/by-key", json!({ "properties": { "desired": { "interval": null, "text": "größer" } } }))
        .await?;
    call("PATCH", "/twins/by-key/modules/sensor", json!({ "properties": { "desired": { "on": true } } })).await?;

    let mut client = hub.connect_as(&mqtt::Connect { clean_session: false, ..by_key.connect() }).await?;
    let filters = [("devices/by-key/messages/devicebound/#", 1), ("$iothub/twin/res/#", 0)];
    client.subscribe(1, &filters).await?;
    client.publish("$iothub/twin/PATCH/properties/reported/?$rid=1", br#"{"temperature":21.5}"#, None).await?;
    client.message().await?;
    send(hub, &[("iothub-messageid", "done"), ("iothub-ack", "full")], b"done").await?;
    receive(&mut client, 1).await?;
    let topic = by_key.events_topic();
    client
        .publish_acknowledged(&format!("{topic}alert=true&%24.mid=e1&%24.ct=application%2Fjson"), b"{\"by\":\"mqtt\"}")
        .await?;
    client.publish_acknowledged(&topic, b"\x00\xff binary").await?;
    client.disconnect().await?;
    send(hub, &[("iothub-messageid", "m1"), ("iothub-ack", "full"), ("iothub-app-colour", "blue")], b"first").await?;

    let mut client = hub.amqp_as(&sensor.token()).await?;
    let link = client.attach_sender(&address(&sensor)).await?.map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?;
    client.send(link, &message(b"by amqp")).await?;
    let path = "/devices/by-key/messages/events";
    hub.call_as(&by_key.token(), "POST", path, &[("iothub-app-by", "https")], b"by https").await?.expect(204)?;
    sleep(PRESENCE_WRITTEN).await;
    Ok(())
}
