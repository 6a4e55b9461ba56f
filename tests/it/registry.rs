//! The identity registry over HTTPS, on the raw wire (rest §1, §3, §6, §8, §21).

use ironhub_tests::{Hub, OTHER_KEY, Response, TestResult};
use serde_json::{Value, json};

async fn put(hub: &Hub, path: &str, if_match: Option<&str>, body: Value) -> TestResult<Response> {
    let headers: Vec<_> = if_match.map(|value| ("If-Match", value)).into_iter().collect();
    hub.call("PUT", path, &headers, &body).await
}

async fn refused(response: Response, status: u16, name: &str) -> TestResult {
    assert_eq!((response.status, response.error_name()?.as_str()), (status, name), "{response}");
    Ok(())
}

#[tokio::test]
async fn a_created_device_has_every_member() -> TestResult {
    let hub = Hub::shared().await?;
    let id = hub.new_id();
    let response =
        put(&hub, &format!("/devices/{id}"), None, json!({ "deviceId": id, "unknown": 1 })).await?.expect(200)?;
    let device = response.json()?;
    let expected = json!({
        "deviceId": id, "connectionState": "Disconnected", "status": "enabled", "statusReason": null,
        "connectionStateUpdatedTime": "0001-01-01T00:00:00", "statusUpdatedTime": "0001-01-01T00:00:00",
        "lastActivityTime": "0001-01-01T00:00:00", "cloudToDeviceMessageCount": 0, "capabilities": { "iotEdge": false },
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(device.get(name), Some(value), "{name} in {device}");
    }
    let authentication = &device["authentication"];
    assert_eq!(authentication["type"], "sas");
    assert_eq!(authentication["x509Thumbprint"], json!({ "primaryThumbprint": null, "secondaryThumbprint": null }));
    assert_ne!(authentication["symmetricKey"]["primaryKey"], authentication["symmetricKey"]["secondaryKey"]);
    assert_eq!(authentication["symmetricKey"]["primaryKey"].as_str().map(str::len), Some(44), "32 bytes");
    assert!(device["generationId"].as_str().is_some_and(|id| id.chars().all(|c| c.is_ascii_digit())), "{device}");
    assert_eq!(response.header("ETag"), Some(format!("\"{}\"", device["etag"].as_str().unwrap()).as_str()));
    let read = hub.call("GET", &format!("/devices/{id}"), &[], &Value::Null).await?.expect(200)?;
    assert_eq!(read.json()?, device);
    assert_eq!(read.header("ETag"), response.header("ETag"));
    Ok(())
}

#[tokio::test]
async fn headers_are_spelled_as_clients_need_them() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let response = hub.call("GET", &format!("/devices/{}", device.device_id), &[], &Value::Null).await?.expect(200)?;
    assert!(response.has_header_spelled("ETag"), "{response}");
    assert!(response.has_header_spelled("x-ms-request-id"), "{response}");
    assert_eq!(response.header("Content-Type"), Some("application/json; charset=utf-8"));
    let missing = hub.call("GET", "/devices/nobody", &[], &Value::Null).await?.expect(404)?;
    assert!(missing.has_header_spelled("iothub-errorcode"), "{missing}");
    assert!(missing.has_header_spelled("x-ms-request-id"), "{missing}");
    assert_eq!(missing.header("Content-Encoding"), None);
    Ok(())
}

/// rest §1.11: create-only without If-Match, update-only with it, in all four spellings.
#[tokio::test]
async fn etags_decide() -> TestResult {
    let hub = Hub::shared().await?;
    let id = hub.new_id();
    let path = format!("/devices/{id}");
    let body = json!({ "deviceId": id });
    refused(put(&hub, &path, Some("*"), body.clone()).await?, 404, "DeviceNotFound").await?;
    refused(hub.call("DELETE", &path, &[("If-Match", "*")], &Value::Null).await?, 404, "DeviceNotFound").await?;
    let mut current = put(&hub, &path, None, body.clone()).await?.expect(200)?.json()?;
    refused(put(&hub, &path, None, body.clone()).await?, 409, "DeviceAlreadyExists").await?;
    refused(put(&hub, &path, None, current.clone()).await?, 409, "DeviceAlreadyExists").await?;
    for spelling in ["*", "\"*\"", "{etag}", "\"{etag}\""] {
        let if_match = spelling.replace("{etag}", current["etag"].as_str().unwrap());
        let updated = put(&hub, &path, Some(&if_match), current.clone()).await?.expect(200)?.json()?;
        assert_ne!(updated["etag"], current["etag"], "{spelling}");
        assert_eq!(updated["generationId"], current["generationId"]);
        assert_eq!(updated["authentication"], current["authentication"], "keys that are sent are kept");
        refused(put(&hub, &path, current["etag"].as_str(), current.clone()).await?, 412, "PreconditionFailed").await?;
        current = updated;
    }
    refused(put(&hub, &path, Some("nonsense"), current.clone()).await?, 412, "PreconditionFailed").await?;
    refused(hub.call("DELETE", &path, &[], &Value::Null).await?, 412, "PreconditionFailed").await?;
    refused(hub.call("DELETE", &path, &[("If-Match", "\"AAAA\"")], &Value::Null).await?, 412, "PreconditionFailed")
        .await?;
    let deleted = hub
        .call("DELETE", &path, &[("If-Match", current["etag"].as_str().unwrap())], &Value::Null)
        .await?
        .expect(204)?;
    assert_eq!(deleted.body, b"");
    refused(hub.call("GET", &path, &[], &Value::Null).await?, 404, "DeviceNotFound").await?;
    let again = put(&hub, &path, None, body).await?.expect(200)?.json()?;
    assert_ne!(again["generationId"], current["generationId"], "another device of the same name");
    assert_ne!(again["authentication"], current["authentication"]);
    Ok(())
}

#[tokio::test]
async fn status_and_reason_are_kept() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let change = json!({ "status": "disabled", "statusReason": "being repaired ☃" });
    let updated = hub.update_device(&device, change).await?.expect(200)?.json()?;
    assert_eq!((&updated["status"], &updated["statusReason"]), (&"disabled".into(), &"being repaired ☃".into()));
    assert_ne!(updated["statusUpdatedTime"], "0001-01-01T00:00:00");
    let updated = hub.update_device(&device, json!({ "statusReason": null })).await?.expect(200)?.json()?;
    assert_eq!((&updated["status"], &updated["statusReason"]), (&"enabled".into(), &Value::Null));
    Ok(())
}

#[tokio::test]
async fn bodies_are_validated() -> TestResult {
    let hub = Hub::shared().await?;
    let key = |text: &str| json!({ "authentication": { "type": "sas", "symmetricKey": { "primaryKey": text, "secondaryKey": text } } });
    let thumbprint = |text: &str| json!({ "authentication": { "type": "selfSigned", "x509Thumbprint": { "primaryThumbprint": text } } });
    let cases = [
        (json!({}), 200),
        (key(""), 200),
        (key(OTHER_KEY), 200),
        (key("AAECAwQFBgcICQoLDA0ODw=="), 200),
        (key("c2hvcnQ="), 400),
        (key("not base64 at all"), 400),
        (
            json!({ "authentication": { "type": "sas", "symmetricKey": { "primaryKey": OTHER_KEY, "secondaryKey": null } } }),
            400,
        ),
        (thumbprint(&"AB".repeat(20)), 200),
        (thumbprint(&"cd".repeat(32)), 200),
        (thumbprint(&"AB:".repeat(20)), 400),
        (json!({ "authentication": { "type": "selfSigned" } }), 200),
        (json!({ "authentication": { "x509Thumbprint": { "primaryThumbprint": "AB".repeat(20) } } }), 200),
        (json!({ "authentication": { "type": "certificateAuthority" } }), 200),
        (json!({ "authentication": { "type": "none" } }), 400),
        (json!({ "status": "sleeping" }), 400),
        (json!({ "statusReason": "x".repeat(129) }), 400),
        (json!({ "deviceId": "another" }), 400),
        (json!({ "capabilities": { "iotEdge": true } }), 200),
    ];
    for (body, status) in cases {
        let response = put(&hub, &format!("/devices/{}", hub.new_id()), None, body.clone()).await?;
        assert_eq!(response.status, status, "{body}: {response}");
        if status == 400 {
            response.error_name()?;
        }
    }
    let owner = hub.policy_token("iothubowner")?;
    for (what, body) in [("broken JSON", &b"{"[..]), ("no object", b"[]"), ("no JSON", b"\xff\xfe")] {
        let response = hub.call_as(&owner, "PUT", &format!("/devices/{}", hub.new_id()), &[], body).await?;
        assert_eq!(response.status, 400, "{what}: {response}");
        response.error_name()?;
    }
    let with_mark = [b"\xef\xbb\xbf", &b"{}"[..]].concat();
    hub.call_as(&owner, "PUT", &format!("/devices/{}", hub.new_id()), &[], &with_mark).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn paths_are_understood_however_they_are_written() -> TestResult {
    let hub = Hub::shared().await?;
    let id = format!("{}-a%b#c?d*!'($),=@:.+_", hub.new_id());
    let encoded: String = id
        .bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    put(&hub, &format!("/devices/{encoded}"), None, json!({ "deviceId": id })).await?.expect(200)?;
    let partly =
        encoded.replace("%27", "'").replace("%28", "(").replace("%29", ")").replace("%2A", "*").replace("%21", "!");
    for path in [
        format!("/devices/{encoded}"),
        format!("/devices/{partly}"),
        format!("/devices/{encoded}/"),
        format!("/Devices/{encoded}"),
        format!("//devices//{encoded}"),
        format!("%2Fdevices%2F{}", encoded).replacen("%2F", "/", 1),
    ] {
        let device = hub.call("GET", &path, &[], &Value::Null).await?.expect(200)?.json()?;
        assert_eq!(device["deviceId"], id.as_str(), "{path}");
    }
    let other_case = encoded.to_uppercase();
    hub.call("GET", &format!("/devices/{other_case}"), &[], &Value::Null).await?.expect(404)?;
    for invalid in ["a%20b", "a%2Fb%20c", "%C3%BC", &"x".repeat(129)] {
        assert_eq!(put(&hub, &format!("/devices/{invalid}"), None, json!({})).await?.status, 400, "{invalid}");
    }
    Ok(())
}

#[tokio::test]
async fn the_api_version_is_needed_and_any_date_will_do() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let token = hub.policy_token("iothubowner")?;
    let get = async |query: &str| {
        let target = format!("/devices/{}{query}", device.device_id);
        hub.https().await?.request("GET", &target, &[("Authorization", &token)], b"").await
    };
    for version in ["2016-02-03", "2018-08-30-preview", "2021-04-12", "2024-03-31", "2031-01-01"] {
        get(&format!("?api-version={version}")).await?.expect(200)?;
        get(&format!("?unknown=1&API-Version={version}")).await?.expect(200)?;
    }
    for query in ["", "?", "?api-version=", "?api-version=latest", "?api-version=2021-4-12"] {
        refused(get(query).await?, 400, "InvalidProtocolVersion").await?;
    }
    Ok(())
}

#[tokio::test]
async fn unknown_routes_and_verbs_have_their_answers() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    assert_eq!(hub.call("GET", "/nothing/here", &[], &Value::Null).await?.status, 404);
    assert_eq!(hub.call("GET", "/", &[], &Value::Null).await?.status, 404);
    assert_eq!(hub.call("PATCH", &format!("/devices/{}", device.device_id), &[], &json!({})).await?.status, 405);
    Ok(())
}

#[tokio::test]
async fn lists_and_statistics_count() -> TestResult {
    let hub = Hub::start().await?;
    for number in 0..7 {
        let body = json!({ "status": if number < 3 { "disabled" } else { "enabled" } });
        put(&hub, &format!("/devices/d{number}"), None, body).await?.expect(200)?;
    }
    let list = async |path: &str| hub.call("GET", path, &[], &Value::Null).await?.expect(200)?.json();
    let ids = |list: &Value| {
        let mut ids: Vec<_> =
            list.as_array().unwrap().iter().map(|device| device["deviceId"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    let all: Vec<_> = (0..7).map(|number| format!("d{number}")).collect();
    for path in ["/devices", "/devices/", "/devices?top=1000", "/devices/?top=0", "/devices?top=5000"] {
        assert_eq!(ids(&list(path).await?), all, "{path}");
    }
    assert_eq!(list("/devices?top=3").await?.as_array().map(Vec::len), Some(3));
    let counts = json!({ "totalDeviceCount": 7, "enabledDeviceCount": 4, "disabledDeviceCount": 3 });
    assert_eq!(list("/statistics/devices").await?, counts);
    assert_eq!(list("/statistics/service").await?, json!({ "connectedDeviceCount": 0 }));
    let device = hub.new_device().await?;
    let _connected = hub.connect(&device).await?;
    ironhub_tests::eventually("one is connected", async || {
        Ok(list("/statistics/service").await? == json!({ "connectedDeviceCount": 1 }))
    })
    .await
}

#[tokio::test]
async fn connection_state_follows_the_connection() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let path = format!("/devices/{}", device.device_id);
    let state = async || {
        anyhow::Ok(hub.call("GET", &path, &[], &Value::Null).await?.expect(200)?.json()?["connectionState"].clone())
    };
    let etag = device.etag.clone();
    let client = hub.connect(&device).await?;
    ironhub_tests::eventually("connected", async || Ok::<_, anyhow::Error>(state().await? == "Connected")).await?;
    client.disconnect().await?;
    ironhub_tests::eventually("disconnected", async || Ok::<_, anyhow::Error>(state().await? == "Disconnected"))
        .await?;
    let now = hub.call("GET", &path, &[], &Value::Null).await?.json()?;
    assert_eq!(now["etag"], etag.as_str(), "connections do not change the identity's version");
    assert_ne!(now["connectionStateUpdatedTime"], "0001-01-01T00:00:00");
    Ok(())
}

#[tokio::test]
async fn modules_live_and_die_with_their_device() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let modules = format!("/devices/{}/modules", device.device_id);
    let path = format!("{modules}/m1");
    refused(hub.call("GET", &path, &[], &Value::Null).await?, 404, "ModuleNotFound").await?;
    refused(put(&hub, "/devices/nobody/modules/m1", None, json!({})).await?, 404, "DeviceNotFound").await?;
    refused(hub.call("GET", "/devices/nobody/modules", &[], &Value::Null).await?, 404, "DeviceNotFound").await?;
    let body = json!({ "moduleId": "m1", "deviceId": device.device_id, "managedBy": "me" });
    let created = put(&hub, &path, None, body.clone()).await?;
    assert!(matches!(created.status, 200 | 201), "{created}");
    let created = created.json()?;
    assert_eq!((&created["moduleId"], &created["managedBy"]), (&"m1".into(), &"me".into()));
    assert_ne!(created["authentication"]["symmetricKey"]["primaryKey"], device.primary_key.as_base64());
    refused(put(&hub, &path, None, body.clone()).await?, 409, "ModuleAlreadyExistsOnDevice").await?;
    let updated = put(&hub, &path, Some("*"), json!({ "managedBy": "you" })).await?.expect(200)?.json()?;
    assert_ne!(updated["etag"], created["etag"]);
    refused(hub.call("DELETE", &path, &[], &Value::Null).await?, 412, "PreconditionFailed").await?;
    let list = hub.call("GET", &modules, &[], &Value::Null).await?.expect(200)?.json()?;
    assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
    hub.delete_device(&device).await?.expect(204)?;
    refused(hub.call("GET", &path, &[], &Value::Null).await?, 404, "DeviceNotFound").await?;
    hub.create_device(&device.device_id).await?;
    let list = hub.call("GET", &modules, &[], &Value::Null).await?.expect(200)?.json()?;
    assert_eq!(list, json!([]), "a new device has no old modules");
    Ok(())
}

#[tokio::test]
async fn the_events_of_the_past_and_the_future_can_be_read() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = hub.connect(&device).await?;
    client.publish_acknowledged(&device.events_topic(), b"past").await?;
    let middle = jiff::Timestamp::now();
    let path = |since: &str| format!("/ironhub/v1/events?device={}&since={since}", device.device_id);
    let read = async |since: &str| {
        let response = hub.call("GET", &path(since), &[], &Value::Null).await?.expect(200)?;
        anyhow::Ok(String::from_utf8(response.body)?.lines().count())
    };
    assert_eq!((read("earliest").await?, read("latest").await?), (1, 0));
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    client.publish_acknowledged(&device.events_topic(), b"future").await?;
    assert_eq!((read("earliest").await?, read(&middle.to_string()).await?), (2, 1));
    assert_eq!(hub.call("GET", &path("yesterday"), &[], &Value::Null).await?.status, 400);
    Ok(())
}
