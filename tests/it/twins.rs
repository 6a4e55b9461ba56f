//! Twins as back ends read and write them (rest §9, twins-jobs-query §2).

use ironhub_tests::{Hub, Response, TestResult};
use serde_json::{Value, json};

async fn twin(hub: &Hub, id: &str) -> TestResult<Value> {
    hub.call("GET", &format!("/twins/{id}"), &[], &Value::Null).await?.expect(200)?.json()
}

async fn patch(hub: &Hub, id: &str, headers: &[(&str, &str)], body: Value) -> TestResult<Response> {
    hub.call("PATCH", &format!("/twins/{id}"), headers, &body).await
}

fn without_metadata(section: &Value) -> Value {
    let mut section = section.clone();
    section.as_object_mut().map(|members| members.remove("$metadata"));
    section
}

#[tokio::test]
async fn a_new_twin_is_the_documented_one() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let response = hub.call("GET", &format!("/twins/{}", device.device_id), &[], &Value::Null).await?.expect(200)?;
    assert_eq!(response.header("etag"), Some("\"AAAAAAAAAAE=\""));
    assert!(response.has_header_spelled("ETag"), "{response}");
    let section = json!({ "$metadata": { "$lastUpdated": "0001-01-01T00:00:00Z" }, "$version": 1 });
    let expected = json!({
        "deviceId": device.device_id,
        "etag": "AAAAAAAAAAE=",
        "deviceEtag": device.etag,
        "status": "enabled",
        "statusUpdateTime": "0001-01-01T00:00:00Z",
        "connectionState": "Disconnected",
        "lastActivityTime": "0001-01-01T00:00:00Z",
        "cloudToDeviceMessageCount": 0,
        "authenticationType": "sas",
        "x509Thumbprint": { "primaryThumbprint": null, "secondaryThumbprint": null },
        "modelId": "",
        "version": 2,
        "properties": { "desired": section, "reported": section },
        "capabilities": { "iotEdge": false },
    });
    assert_eq!(response.json()?, expected);
    let module = hub.new_module(&device, "m").await?;
    let of_module = twin(&hub, &format!("{}/modules/m", device.device_id)).await?;
    assert_eq!((&of_module["moduleId"], &of_module["deviceEtag"]), (&json!("m"), &json!(module.etag)));
    Ok(())
}

#[tokio::test]
async fn patches_merge_and_count() -> TestResult {
    let hub = Hub::shared().await?;
    let id = hub.new_device().await?.device_id;
    let body = json!({ "tags": { "site": { "floor": 1 } }, "properties": { "desired": { "fan": { "speed": 1, "on": true } } } });
    let patched = patch(&hub, &id, &[], body).await?.expect(200)?;
    assert_eq!(patched.header("etag"), Some("\"AAAAAAAAAAI=\""));
    // What is not a back end's to write is ignored, as is what it sends back of what it read.
    let body = json!({
        "deviceId": "other", "etag": "x", "status": "disabled", "version": 99,
        "properties": {
            "desired": { "fan": { "speed": null }, "list": [1, { "a": 2 }], "$version": 77, "$metadata": { "x": 1 } },
            "reported": { "hacked": true },
        },
    });
    let patched = patch(&hub, &id, &[], body).await?.expect(200)?.json()?;
    assert_eq!(patched, twin(&hub, &id).await?);
    let desired = json!({ "fan": { "on": true }, "list": [1, { "a": 2 }], "$version": 3 });
    assert_eq!(without_metadata(&patched["properties"]["desired"]), desired);
    assert_eq!(without_metadata(&patched["properties"]["reported"]), json!({ "$version": 1 }));
    assert_eq!((&patched["tags"], &patched["version"]), (&json!({ "site": { "floor": 1 } }), &json!(4)));
    assert_eq!((&patched["etag"], &patched["status"]), (&json!("AAAAAAAAAAM="), &json!("enabled")));
    let metadata = &patched["properties"]["desired"]["$metadata"];
    assert_eq!(
        (&metadata["fan"]["on"]["$lastUpdatedVersion"], &metadata["fan"]["$lastUpdatedVersion"]),
        (&json!(2), &json!(3))
    );
    let time = metadata["$lastUpdated"].as_str().unwrap_or_default();
    assert!(time.len() == "2026-01-01T00:00:00.1234567Z".len() && time.ends_with('Z'), "{time}");
    // As Java sends it.
    let headers = [("X-HTTP-Method-Override", "PATCH"), ("If-Match", "\"*\"")];
    let posted = hub.call("POST", &format!("/twins/{id}"), &headers, &json!({ "tags": null })).await?.expect(200)?;
    assert_eq!(posted.json()?.get("tags"), None);
    Ok(())
}

#[tokio::test]
async fn a_put_replaces_what_it_names_and_empties_the_rest() -> TestResult {
    let hub = Hub::shared().await?;
    let id = hub.new_device().await?.device_id;
    patch(&hub, &id, &[], json!({ "tags": { "a": 1 }, "properties": { "desired": { "a": 1, "b": 2 } } }))
        .await?
        .expect(200)?;
    let body = json!({ "properties": { "desired": { "c": 3 } } });
    let put = hub.call("PUT", &format!("/twins/{id}"), &[("If-Match", "*")], &body).await?.expect(200)?.json()?;
    assert_eq!(without_metadata(&put["properties"]["desired"]), json!({ "c": 3, "$version": 3 }));
    assert_eq!(put.get("tags"), None);
    // The paths of parts, from older versions.
    let tags = format!("/twins/{id}/tags");
    let put = hub.call("PUT", &tags, &[], &json!({ "t": 1 })).await?.expect(200)?.json()?;
    assert_eq!((&put["tags"], &put["properties"]["desired"]["$version"]), (&json!({ "t": 1 }), &json!(3)));
    let desired = format!("/twins/{id}/properties/desired");
    let patched = hub.call("PATCH", &desired, &[], &json!({ "d": 4 })).await?.expect(200)?.json()?;
    assert_eq!(without_metadata(&patched["properties"]["desired"]), json!({ "c": 3, "d": 4, "$version": 4 }));
    Ok(())
}

#[tokio::test]
async fn the_version_that_was_read_is_the_one_written_over() -> TestResult {
    let hub = Hub::shared().await?;
    let id = hub.new_device().await?.device_id;
    let body = json!({ "tags": { "a": 1 } });
    for if_match in ["\"AAAAAAAAAAE=\"", "AAAAAAAAAAI=", "*", "\"*\""] {
        patch(&hub, &id, &[("If-Match", if_match)], body.clone()).await?.expect(200)?;
    }
    for if_match in ["\"AAAAAAAAAAE=\"", "\"MA==\"", "\"nonsense\""] {
        let refused = patch(&hub, &id, &[("If-Match", if_match)], body.clone()).await?.expect(412)?;
        assert_eq!(refused.error_name()?, "PreconditionFailed", "{if_match}");
    }
    assert_eq!(twin(&hub, &id).await?["etag"], "AAAAAAAAAAU=");
    Ok(())
}

#[tokio::test]
async fn what_is_refused_changes_nothing() -> TestResult {
    let hub = Hub::shared().await?;
    let id = hub.new_device().await?.device_id;
    let before = twin(&hub, &id).await?;
    let desired = |value: Value| json!({ "tags": { "written": true }, "properties": { "desired": value } });
    let large = "x".repeat(4096);
    let many: Value = (0..9).map(|n| (format!("k{n}"), json!(large))).collect::<serde_json::Map<_, _>>().into();
    for (body, words) in [
        (desired(json!({ "a.b": 1 })), "invalid characters"),
        (desired(json!({ "a": [1, null] })), "cannot be null"),
        (desired(json!({ "a": 4_503_599_627_370_496_i64 })), "out of bound value"),
        (desired(json!({ "a": "x".repeat(4097) })), "exceeds maximum length of 4096"),
        (desired(json!([])), "not a valid"),
        (desired(many), "exceeds maximum 32768"),
        (json!({ "tags": 7 }), "not a valid"),
        (json!({ "properties": 7 }), "properties must be"),
    ] {
        let refused = patch(&hub, &id, &[], body).await?.expect(400)?;
        assert_eq!(refused.error_name()?, "ArgumentInvalid");
        assert!(refused.json()?["Message"].as_str().unwrap_or_default().contains(words), "{refused}");
    }
    assert_eq!(patch(&hub, &id, &[], Value::Null).await?.expect(400)?.error_name()?, "ArgumentNull");
    assert_eq!(twin(&hub, &id).await?, before);
    Ok(())
}

#[tokio::test]
async fn twins_come_and_go_with_their_identities() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let id = &device.device_id;
    for missing in ["nobody", &format!("{id}/modules/nobody")] {
        for (method, body) in [("GET", Value::Null), ("PATCH", json!({})), ("PUT", json!({}))] {
            let refused = hub.call(method, &format!("/twins/{missing}"), &[], &body).await?.expect(404)?;
            assert_eq!(refused.error_name()?, "DeviceNotFound", "{method} {missing}");
        }
    }
    hub.new_module(&device, "m").await?;
    let module = format!("{id}/modules/m");
    for path in [id, &module] {
        patch(&hub, path, &[], json!({ "properties": { "desired": { "a": 1 } } })).await?.expect(200)?;
    }
    hub.delete_device(&device).await?.expect(204)?;
    let device = hub.create_device(id).await?;
    hub.new_module(&device, "m").await?;
    for path in [id, &module] {
        assert_eq!(twin(&hub, path).await?["version"], 2, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn bulk_requests_write_twins_too() -> TestResult {
    let hub = Hub::shared().await?;
    let (first, second) = (hub.new_id(), hub.new_id());
    let entries = json!([
        { "id": first, "importMode": "create", "tags": { "a": 1 }, "properties": { "desired": { "d": 1 } } },
        { "id": second, "importMode": "create" },
    ]);
    hub.call("POST", "/devices", &[], &entries).await?.expect(200)?;
    let made = twin(&hub, &first).await?;
    assert_eq!((&made["tags"]["a"], &made["properties"]["desired"]["d"]), (&json!(1), &json!(1)));
    let entries = json!([
        { "id": first, "importMode": "updateTwinIfMatchETag", "twinETag": "AAAAAAAAAAE=", "tags": { "b": 2 } },
        { "id": second, "importMode": "updateTwin", "tags": { "b": 2 } },
        { "id": "nobody", "importMode": "updateTwin", "tags": { "b": 2 } },
        { "id": hub.new_id(), "importMode": "create", "tags": { "b.c": 2 } },
    ]);
    let failed = hub.call("POST", "/devices", &[], &entries).await?.expect(400)?.json()?;
    let codes: Vec<_> =
        failed["errors"].as_array().into_iter().flatten().map(|error| error["errorCode"].clone()).collect();
    assert_eq!(codes, [json!(412_001), json!(404_001), json!(400_004)], "{failed}");
    assert_eq!(twin(&hub, &first).await?["tags"], json!({ "a": 1 }));
    assert_eq!(twin(&hub, &second).await?["tags"], json!({ "b": 2 }));
    let entry =
        json!([{ "id": first, "importMode": "updateTwinIfMatchETag", "twinETag": made["etag"], "tags": { "b": 2 } }]);
    hub.call("POST", "/devices", &[], &entry).await?.expect(200)?;
    assert_eq!(twin(&hub, &first).await?["tags"], json!({ "a": 1, "b": 2 }));
    Ok(())
}

#[tokio::test]
async fn an_announced_model_is_remembered() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let username = format!("{}&model-id=dtmi:com:example:Thermostat;1", device.username());
    hub.connect_as(&mqtt::Connect { username: Some(username), ..device.connect() }).await?.disconnect().await?;
    assert_eq!(twin(&hub, &device.device_id).await?["modelId"], "dtmi:com:example:Thermostat;1");
    hub.connect(&device).await?.disconnect().await?;
    let kept = twin(&hub, &device.device_id).await?;
    assert_eq!((&kept["modelId"], &kept["version"]), (&json!("dtmi:com:example:Thermostat;1"), &json!(2)));
    Ok(())
}

#[tokio::test]
async fn twins_survive_a_kill() -> TestResult {
    let hub = Hub::start().await?;
    let id = hub.new_device().await?.device_id;
    let body = json!({ "tags": { "a": 1 }, "properties": { "desired": { "b": [1, 2] } } });
    let written = patch(&hub, &id, &[], body).await?.expect(200)?.json()?;
    let hub = hub.kill_and_restart().await?;
    assert_eq!(twin(&hub, &id).await?, written);
    Ok(())
}
