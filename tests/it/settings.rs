//! The settings API: policies, consumer groups, what changes without a restart (security §4, §5; rest §23).

use std::time::{Duration, Instant};

use ironhub_tests::{Hub, TestResult, binary, eventually, token};
use serde_json::{Value, json};
use tokio::process::Command;

/// A change holds everywhere within a second; the rest is for loaded machines.
const SOON: Duration = Duration::from_secs(5);

async fn get(hub: &Hub, path: &str) -> TestResult<Value> {
    hub.call("GET", &format!("/ironhub/v1/{path}"), &[], &Value::Null).await?.expect(200)?.json()
}

async fn status(hub: &Hub, method: &str, path: &str, if_match: Option<&str>, body: Value) -> TestResult<u16> {
    let headers: Vec<_> = if_match.map(|etag| ("If-Match", etag)).into_iter().collect();
    Ok(hub.call(method, &format!("/ironhub/v1/{path}"), &headers, &body).await?.status)
}

#[tokio::test]
async fn a_policy_lives_from_its_first_put_to_its_delete() -> TestResult {
    let hub = Hub::start().await?;
    let rights = json!({ "rights": "RegistryRead, ServiceConnect" });
    let made = hub.call("PUT", "/ironhub/v1/policies/Dashboard", &[], &rights).await?.expect(201)?;
    let (policy, etag) = (made.json()?, made.header("etag").unwrap().to_owned());
    assert_eq!((&policy["keyName"], &policy["rights"]), (&json!("Dashboard"), &json!("RegistryRead, ServiceConnect")));
    assert_eq!(etag, format!("\"{}\"", policy["etag"].as_str().unwrap()));
    assert_eq!(get(&hub, "policies/dashboard").await?, policy, "names compare without case");
    let key = policy["primaryKey"].as_str().unwrap().parse()?;
    let by_policy = token(&hub.host_name, &key, Some("dashboard"));
    eventually("the policy opens", async || {
        Ok(hub.call_as(&by_policy, "GET", "/devices", &[], b"").await?.status == 200)
    })
    .await?;
    let changed = json!({ "keyName": "dashboard", "rights": "ServiceConnect" });
    assert_eq!(status(&hub, "PUT", "policies/dashboard", Some("\"MA==\""), changed.clone()).await?, 412);
    assert_eq!(status(&hub, "PUT", "policies/dashboard", Some(&etag), changed).await?, 200);
    assert_eq!(get(&hub, "policies/dashboard").await?["primaryKey"], policy["primaryKey"], "its keys stay");
    eventually("the right is gone", async || {
        Ok(hub.call_as(&by_policy, "GET", "/devices", &[], b"").await?.status == 401)
    })
    .await?;
    assert_eq!(status(&hub, "DELETE", "policies/dashboard", Some(&etag), Value::Null).await?, 412);
    assert_eq!(status(&hub, "DELETE", "policies/dashboard", None, Value::Null).await?, 204);
    assert_eq!(status(&hub, "GET", "policies/dashboard", None, Value::Null).await?, 404);
    assert_eq!(status(&hub, "DELETE", "policies/dashboard", None, Value::Null).await?, 404);
    Ok(())
}

#[tokio::test]
async fn policies_that_cannot_be_are_refused() -> TestResult {
    let hub = Hub::start().await?;
    let all = "RegistryRead, RegistryWrite, ServiceConnect, DeviceConnect";
    for (path, body) in [
        ("policies/p", json!({ "rights": "Everything" })),
        ("policies/p", json!({ "rights": "" })),
        ("policies/p", json!({})),
        ("policies/p", json!({ "rights": all, "primaryKey": "short" })),
        ("policies/p", json!({ "rights": all, "keyName": "q" })),
        ("policies/p%20q", json!({ "rights": all })),
        ("policies/iothubowner", json!({ "rights": "ServiceConnect" })),
    ] {
        assert_eq!(status(&hub, "PUT", path, None, body.clone()).await?, 400, "{path} {body}");
    }
    assert_eq!(status(&hub, "DELETE", "policies/iothubowner", None, Value::Null).await?, 400, "the last owner");
    for number in 5..16 {
        assert_eq!(status(&hub, "PUT", &format!("policies/p{number}"), None, json!({ "rights": all })).await?, 201);
    }
    assert_eq!(status(&hub, "PUT", "policies/one-more", None, json!({ "rights": all })).await?, 403);
    assert_eq!(get(&hub, "policies").await?["value"].as_array().unwrap().len(), 16);
    assert_eq!(status(&hub, "PATCH", "policies/p5", None, Value::Null).await?, 405);
    assert_eq!(status(&hub, "GET", "nothing", None, Value::Null).await?, 404);
    assert_eq!(status(&hub, "DELETE", "policies/iothubowner", None, Value::Null).await?, 204, "others have all rights");
    Ok(())
}

#[tokio::test]
async fn a_regenerated_key_closes_the_connections_that_used_it() -> TestResult {
    let hub = Hub::start().await?;
    let device = hub.new_device().await?;
    let by_primary = mqtt::Connect { password: Some(hub.policy_token("device")?), ..device.connect() };
    let mut client = hub.connect_as(&by_primary).await?;
    let regenerate = async |key: &str| {
        hub.call("POST", "/ironhub/v1/policies/device/regenerate-key", &[], &json!({ "key": key }))
            .await?
            .expect(200)?
            .json()
    };
    let before = get(&hub, "policies/device").await?;
    let swapped = regenerate("swap").await?;
    assert_eq!((&swapped["primaryKey"], &swapped["secondaryKey"]), (&before["secondaryKey"], &before["primaryKey"]));
    let other = regenerate("primary").await?;
    assert_ne!(other["primaryKey"], swapped["primaryKey"]);
    assert_eq!(other["secondaryKey"], swapped["secondaryKey"]);
    client.ping().await.map_err(|error| error.context("its key is still there, in the second place"))?;
    let begin = Instant::now();
    regenerate("secondary").await?;
    client.expect_closed().await?;
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    assert_eq!(hub.connect_code(&by_primary).await?, 5);
    assert_eq!(status(&hub, "POST", "policies/device/regenerate-key", None, json!({ "key": "both" })).await?, 400);
    Ok(())
}

#[tokio::test]
async fn consumer_groups_beside_the_default_one() -> TestResult {
    let hub = Hub::start().await?;
    let names = async || {
        let list = get(&hub, "consumer-groups").await?;
        let names = list["value"].as_array().unwrap().iter().map(|group| group["name"].as_str().unwrap().to_owned());
        Ok::<_, anyhow::Error>(names.collect::<Vec<_>>())
    };
    assert_eq!(names().await?, ["$Default"]);
    assert_eq!(status(&hub, "PUT", "consumer-groups/analytics", None, Value::Null).await?, 201);
    let group = get(&hub, "consumer-groups/Analytics").await?;
    assert!(group["properties"]["created"].as_str().unwrap().ends_with(" GMT"), "{group}");
    assert_eq!(status(&hub, "PUT", "consumer-groups/analytics", None, Value::Null).await?, 200, "it is there already");
    assert_eq!(get(&hub, "consumer-groups/analytics").await?, group);
    assert_eq!(names().await?, ["$Default", "analytics"]);
    assert_eq!(status(&hub, "PUT", "consumer-groups/$default", None, Value::Null).await?, 200);
    assert_eq!(status(&hub, "DELETE", "consumer-groups/$Default", None, Value::Null).await?, 400);
    assert_eq!(status(&hub, "PUT", "consumer-groups/a%20b", None, Value::Null).await?, 400);
    assert_eq!(status(&hub, "DELETE", "consumer-groups/analytics", Some("\"MQ==\""), Value::Null).await?, 412);
    let etag = group["etag"].as_str().unwrap();
    assert_eq!(status(&hub, "DELETE", "consumer-groups/analytics", Some(etag), Value::Null).await?, 204);
    assert_eq!(status(&hub, "DELETE", "consumer-groups/analytics", None, Value::Null).await?, 404);
    for number in 0..20 {
        assert_eq!(status(&hub, "PUT", &format!("consumer-groups/g{number}"), None, Value::Null).await?, 201);
    }
    assert_eq!(status(&hub, "PUT", "consumer-groups/one-more", None, Value::Null).await?, 403);
    Ok(())
}

#[tokio::test]
async fn limits_hold_without_a_restart() -> TestResult {
    let hub = Hub::start().await?;
    let device = hub.new_device().await?;
    let path = format!("/devices/{}/messages/events", device.device_id);
    let send = async || TestResult::Ok(hub.call_as(&device.token(), "POST", &path, &[], &[b'x'; 3000]).await?.status);
    assert_eq!(send().await?, 204);
    assert_eq!(
        status(&hub, "PATCH", "settings", None, json!({ "messageBytesMax": 2000, "subscriptionsMax": 1 })).await?,
        200
    );
    let begin = Instant::now();
    eventually("the message is too large", async || Ok(send().await? == 413)).await?;
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    let mut client = hub.connect(&device).await?;
    let granted = client.subscribe(1, &[("a", 0), ("b", 0)]).await?;
    assert_eq!(granted, ironhub_tests::Received::SubAck { packet_id: 1, codes: vec![0, 0x80] });
    let settings = get(&hub, "settings").await?;
    assert_eq!((&settings["messageBytesMax"], &settings["tokenGraceSeconds"]), (&json!(2000), &Value::Null));
    assert_eq!(status(&hub, "PATCH", "settings", Some("\"MA==\""), json!({ "connectionsMax": 5 })).await?, 412);
    for wrong in [json!({ "messageBytesMax": 300_000 }), json!({ "nonsense": 1 }), json!({ "retentionTimeInDays": 0 })]
    {
        assert_eq!(status(&hub, "PATCH", "settings", None, wrong.clone()).await?, 400, "{wrong}");
    }
    let etag = settings["etag"].as_str().unwrap();
    assert_eq!(status(&hub, "PUT", "settings", Some(etag), json!({ "retentionTimeInDays": 2 })).await?, 200);
    let settings = get(&hub, "settings").await?;
    assert_eq!((&settings["retentionTimeInHours"], &settings["messageBytesMax"]), (&json!(48), &Value::Null));
    eventually("the message fits again", async || Ok(send().await? == 204)).await
}

#[tokio::test]
async fn as_many_connections_as_the_settings_say() -> TestResult {
    let hub = Hub::start().await?;
    let (device, other) = (hub.new_device().await?, hub.new_device().await?);
    let mut client = hub.connect(&device).await?;
    assert_eq!(status(&hub, "PATCH", "settings", None, json!({ "connectionsMax": 1 })).await?, 200);
    eventually("others are turned away", async || Ok(hub.connect(&other).await.is_err())).await?;
    client.ping().await?;
    client.disconnect().await?;
    eventually("there is room", async || Ok(hub.connect(&other).await.is_ok())).await
}

#[tokio::test]
async fn a_restart_keeps_the_settings_and_hub_json_follows_them() -> TestResult {
    let hub = Hub::start().await?;
    let key = json!({ "key": "primary" });
    let owner =
        hub.call("POST", "/ironhub/v1/policies/iothubowner/regenerate-key", &[], &key).await?.expect(200)?.json()?;
    let key = owner["primaryKey"].as_str().unwrap().to_owned();
    let hub_json = hub.data_dir().join("hub.json");
    eventually("hub.json has the new key", async || Ok(std::fs::read_to_string(&hub_json)?.contains(&key))).await?;
    let by_new_key = token(&hub.host_name, &key.parse()?, Some("iothubowner"));
    let put = async |hub: &Hub, path: &str, body: &str| {
        let path = format!("/ironhub/v1/{path}");
        Ok::<_, anyhow::Error>(hub.call_as(&by_new_key, "PUT", &path, &[], body.as_bytes()).await?.status)
    };
    eventually("the key opens", async || Ok(put(&hub, "consumer-groups/kept", "").await? < 300)).await?;
    assert_eq!(put(&hub, "settings", r#"{"subscriptionsMax": 7}"#).await?, 200);
    let hub = hub.kill_and_restart().await?;
    assert_eq!(get(&hub, "policies/iothubowner").await?["primaryKey"], json!(key));
    assert_eq!(get(&hub, "consumer-groups/kept").await?["name"], "kept");
    assert_eq!(get(&hub, "settings").await?["subscriptionsMax"], 7);
    Ok(())
}

#[tokio::test]
async fn the_command_line_does_the_same() -> TestResult {
    let hub = Hub::start().await?;
    let run = async |arguments: &[&str]| {
        let mut command = Command::new(binary()?);
        let output = command.args(arguments).arg("--data-dir").arg(hub.data_dir()).output().await?;
        let text = String::from_utf8([output.stdout, output.stderr].concat())?;
        anyhow::ensure!(output.status.success(), "{arguments:?}: {text}");
        Ok(text)
    };
    let made = run(&["policy", "create", "dashboard", "--rights", "ServiceConnect"]).await?;
    assert!(
        made.contains(&format!("HostName={};SharedAccessKeyName=dashboard;SharedAccessKey=", hub.host_name)),
        "{made}"
    );
    assert!(run(&["policy", "create", "Dashboard", "--rights", "DeviceConnect"]).await.is_err());
    run(&["policy", "update", "dashboard", "--rights", "RegistryRead,ServiceConnect"]).await?;
    let shown: Value = serde_json::from_str(&run(&["policy", "show", "dashboard", "--json"]).await?)?;
    assert_eq!(shown["rights"], "RegistryRead, ServiceConnect");
    let again: Value =
        serde_json::from_str(&run(&["policy", "regenerate-key", "dashboard", "secondary", "--json"]).await?)?;
    assert_eq!(again["primaryKey"], shown["primaryKey"]);
    assert_ne!(again["secondaryKey"], shown["secondaryKey"]);
    let list = run(&["policy", "list", "--json"]).await?;
    assert!(list.contains("dashboard") && !list.contains("Key\": \"A") && !list.contains("primaryKey"), "{list}");
    run(&["policy", "delete", "dashboard"]).await?;
    let refused = run(&["policy", "delete", "iothubowner"]).await.unwrap_err().to_string();
    assert!(refused.contains("all four rights must remain"), "{refused}");
    run(&["consumer-group", "create", "analytics"]).await?;
    assert!(run(&["consumer-group", "list"]).await?.contains("analytics"));
    run(&["consumer-group", "delete", "analytics"]).await?;
    run(&["settings", "set", "retentionTimeInDays=3", "messageBytesMax=65536"]).await?;
    let settings: Value = serde_json::from_str(&run(&["settings", "show", "--json"]).await?)?;
    assert_eq!((&settings["retentionTimeInHours"], &settings["messageBytesMax"]), (&json!(72), &json!(65536)));
    assert!(run(&["settings", "set", "messageBytesMax=default"]).await?.contains("what each process says"));
    let change = ["cloudToDevice.maxDeliveryCount=3", "cloudToDevice.feedback.ttlAsIso8601=PT90M"];
    let shown = run(&[&["settings", "set"][..], &change].concat()).await?;
    assert!(shown.contains("cloudToDevice.feedback.ttlAsIso8601") && shown.contains("PT1H30M"), "{shown}");
    let refused = run(&["settings", "set", "cloudToDevice.maxDeliveryCount=101"]).await.unwrap_err().to_string();
    assert!(refused.contains("between 1 and 100"), "{refused}");
    let unknown = run(&["settings", "set", "nonsense=1"]).await.unwrap_err().to_string();
    assert!(unknown.contains("there are retentionTimeInHours"), "{unknown}");
    Ok(())
}
