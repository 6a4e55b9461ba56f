//! Many identities in one request (rest §4) and new keys (rest §5), on the raw wire.

use ironhub_tests::{Hub, HubOptions, OTHER_KEY, Response, TestResult};
use serde_json::{Value, json};

async fn bulk(hub: &Hub, entries: &Value) -> TestResult<Response> {
    hub.call("POST", "/devices", &[], entries).await
}

/// The errors as (device, module, number, operation), after checking what every failed answer has.
/// Device, module, number and operation of an entry that failed.
type EntryError = (String, Option<String>, u64, String);

fn errors(response: &Response) -> TestResult<Vec<EntryError>> {
    assert_eq!(response.status, 400, "{response}");
    for header in ["iothub-errorcode", "IotHubErrorCode"] {
        assert!(response.has_header_spelled(header), "{response}");
        assert_eq!(response.header(header), Some("BulkRegistryOperationFailure"));
    }
    let result = response.json()?;
    assert_eq!((&result["isSuccessful"], &result["warnings"]), (&json!(false), &json!([])), "{result}");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let errors = result["errors"].as_array().unwrap().iter().map(|error| {
        assert!(text(&error["errorStatus"]).is_some_and(|status| !status.is_empty()), "{error}");
        let device = text(&error["deviceId"]).unwrap_or_default();
        let operation = text(&error["operation"]).unwrap_or_default();
        (device, text(&error["moduleId"]), error["errorCode"].as_u64().unwrap_or_default(), operation)
    });
    Ok(errors.collect())
}

#[tokio::test]
async fn all_good_is_200() -> TestResult {
    let hub = Hub::shared().await?;
    let ids: Vec<_> = (0..100).map(|_| hub.new_id()).collect();
    let entries: Vec<_> =
        ids.iter().map(|id| json!({ "id": id, "importMode": "create", "status": "disabled" })).collect();
    let response = bulk(&hub, &json!(entries)).await?.expect(200)?;
    assert_eq!(response.json()?, json!({ "isSuccessful": true, "errors": [], "warnings": [] }));
    let mut keys = std::collections::HashSet::new();
    for id in &ids {
        let device = hub.call("GET", &format!("/devices/{id}"), &[], &Value::Null).await?.expect(200)?.json()?;
        assert_eq!(device["status"], "disabled");
        keys.insert(device["authentication"]["symmetricKey"]["primaryKey"].to_string());
    }
    assert_eq!(keys.len(), 100, "each device has keys of its own");
    Ok(())
}

#[tokio::test]
async fn what_fails_is_named_and_the_rest_is_done() -> TestResult {
    let hub = Hub::shared().await?;
    let (there, new) = (hub.new_device().await?.device_id, hub.new_id());
    let entries = json!([
        { "id": there, "importMode": "Create" },
        { "id": new, "importMode": "create" },
        { "id": "not valid", "importMode": "create" },
        { "id": new, "moduleId": "m1", "importMode": "create" },
        { "id": new, "moduleId": "$made", "importMode": "create" },
        { "id": new, "moduleId": "$edgeAgent", "importMode": "create" },
        { "id": hub.new_id(), "importMode": "upsert" },
        { "id": "nobody", "importMode": "update" },
        { "id": "nobody", "moduleId": "m", "importMode": "delete" },
        { "id": "no-twins", "importMode": "updateTwin", "tags": {} },
        { "importMode": "create" },
        { "id": "unreadable", "moduleId": "m", "importMode": 7 },
        "no object",
    ]);
    let found: Vec<_> =
        errors(&bulk(&hub, &entries).await?)?.into_iter().map(|error| (error.0, error.1, error.2)).collect();
    let module = |name: &str| Some(name.to_owned());
    let unknown_mode = entries[6]["id"].as_str().unwrap().to_owned();
    let expected = [
        (there, None, 409_001),
        ("not valid".to_owned(), None, 400_004),
        (new.clone(), module("$made"), 400_004),
        (new.clone(), module("$edgeAgent"), 401_100),
        (unknown_mode, None, 400_004),
        ("nobody".to_owned(), None, 404_001),
        ("nobody".to_owned(), module("m"), 404_001),
        ("no-twins".to_owned(), None, 404_001),
        (String::new(), None, 400_004),
        ("unreadable".to_owned(), module("m"), 400_006),
        (String::new(), None, 400_006),
    ];
    assert_eq!(found, expected);
    hub.call("GET", &format!("/devices/{new}/modules/m1"), &[], &Value::Null).await?.expect(200)?;
    Ok(())
}

/// rest §4: every mode against a device that is there and one that is missing.
#[tokio::test]
async fn modes_do_what_the_table_says() -> TestResult {
    let hub = Hub::shared().await?;
    // (mode, etag, error when it exists, error when it is missing)
    #[expect(clippy::type_complexity, reason = "a table")]
    let table: [(&str, Option<&str>, Option<u64>, Option<u64>); 15] = [
        ("create", None, Some(409_001), None),
        ("createOrUpdate", None, None, None),
        ("createOrUpdateIfMatchETag", Some("{etag}"), None, None),
        ("createOrUpdateIfMatchETag", Some("\"{etag}\""), None, None),
        ("createOrUpdateIfMatchETag", Some("AAAA"), Some(412_001), None),
        ("createOrUpdateIfMatchETag", Some("*"), None, None),
        ("Update", None, None, Some(404_001)),
        ("updateIfMatchETag", Some("{etag}"), None, Some(404_001)),
        ("UpdateIfMatchETag", Some("AAAA"), Some(412_001), Some(404_001)),
        ("updateIfMatchETag", None, Some(412_001), Some(412_001)),
        ("delete", None, None, Some(404_001)),
        ("DeleteIfMatchETag", Some("{etag}"), None, Some(404_001)),
        ("deleteIfMatchETag", Some("AAAA"), Some(412_001), Some(404_001)),
        ("deleteIfMatchETag", Some("*"), None, Some(404_001)),
        ("updateTwinIfMatchETag", Some("*"), Some(412_001), Some(412_001)),
    ];
    for (mode, etag, of_existing, of_missing) in table {
        let (there, missing) = (hub.new_device().await?, hub.new_id());
        for (id, expected) in [(&there.device_id, of_existing), (&missing, of_missing)] {
            let etag = etag.map(|text| text.replace("{etag}", &there.etag));
            let entry = json!([{ "id": id, "importMode": mode, "eTag": etag, "statusReason": "changed" }]);
            let response = bulk(&hub, &entry).await?;
            let Some(expected) = expected else {
                response.expect(200)?;
                let read = hub.call("GET", &format!("/devices/{id}"), &[], &Value::Null).await?;
                let deleted = mode.to_ascii_lowercase().starts_with("delete");
                assert_eq!(read.status, if deleted { 404 } else { 200 }, "{mode} {etag:?}");
                assert!(deleted || read.json()?["statusReason"] == "changed", "{mode} {etag:?}");
                continue;
            };
            assert_eq!(errors(&response)?, [(id.clone(), None, expected, mode.to_owned())], "{mode} {etag:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn requests_that_are_wrong_as_a_whole_change_nothing() -> TestResult {
    let hub = Hub::shared().await?;
    let id = hub.new_id();
    let create = |module: Option<&str>| json!({ "id": id, "moduleId": module, "importMode": "create" });
    let many: Vec<_> =
        (0..101).map(|number| json!({ "id": format!("{id}-{number}"), "importMode": "create" })).collect();
    for (entries, status, name) in [
        (json!([create(None), create(None)]), 400, "DeviceDefinedMultipleTimes"),
        (json!([create(None), create(Some("m")), create(Some("m"))]), 400, "DeviceDefinedMultipleTimes"),
        (json!(many), 413, "TooManyDevices"),
        (json!([]), 400, "ArgumentInvalid"),
        (json!({ "id": id }), 400, "IotHubFormatError"),
    ] {
        let response = bulk(&hub, &entries).await?;
        assert_eq!((response.status, response.error_name()?.as_str()), (status, name), "{response}");
    }
    let null = hub.call_as(&hub.policy_token("iothubowner")?, "POST", "/devices", &[], b"null").await?;
    assert_eq!((null.status, null.error_name()?.as_str()), (400, "ArgumentNull"));
    assert_eq!(hub.call("GET", &format!("/devices/{id}"), &[], &Value::Null).await?.status, 404);
    for policy in ["registryRead", "service", "device"] {
        let token = hub.policy_token(policy)?;
        for path in ["/devices", "/devices/keys/regenerate"] {
            assert_eq!(hub.call_as(&token, "POST", path, &[], b"[]").await?.status, 401, "{policy} {path}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn twin_parts_and_unknown_members_are_ignored() -> TestResult {
    let hub = Hub::shared().await?;
    let id = hub.new_id();
    let keys = json!({ "primaryKey": OTHER_KEY, "secondaryKey": OTHER_KEY });
    let entry = json!({
        "id": id, "eTag": null, "importMode": "createOrUpdate", "status": "enabled", "statusReason": null,
        "authentication": { "symmetricKey": keys, "x509Thumbprint": null, "type": "sas" }, "twinETag": "AAAAAAAAAAE=",
        "tags": { "floor": 1 }, "properties": { "desired": { "$metadata": {} }, "reported": {} },
        "capabilities": { "iotEdge": false }, "deviceScope": null, "parentScopes": [],
    });
    bulk(&hub, &json!([entry])).await?.expect(200)?;
    let device = hub.call("GET", &format!("/devices/{id}"), &[], &Value::Null).await?.json()?;
    assert_eq!(device["authentication"]["symmetricKey"], keys);
    Ok(())
}

#[tokio::test]
async fn the_hub_holds_so_many_identities() -> TestResult {
    let config = "[gateway.limits]\nidentities_max = 4\n".to_owned();
    let hub = Hub::start_with(HubOptions { config, ..HubOptions::default() }).await?;
    let put = async |path: &str, body: Value| hub.call("PUT", path, &[], &body).await;
    let full = async |response: Response| {
        assert_eq!((response.status, response.error_name()?.as_str()), (403, "IotHubQuotaExceeded"), "{response}");
        TestResult::Ok(())
    };
    put("/devices/d1", json!({})).await?.expect(200)?;
    put("/devices/d1/modules/m1", json!({})).await?.expect(200)?;
    full(put("/devices/e1", json!({ "capabilities": { "iotEdge": true } })).await?).await?;
    let entries: Vec<_> = (2..5).map(|number| json!({ "id": format!("d{number}"), "importMode": "create" })).collect();
    assert_eq!(errors(&bulk(&hub, &json!(entries)).await?)?, [("d4".to_owned(), None, 403_002, "create".to_owned())]);
    full(put("/devices/d5", json!({})).await?).await?;
    full(put("/devices/d1/modules/m2", json!({})).await?).await?;
    hub.call("PUT", "/devices/d1", &[("If-Match", "*")], &json!({ "status": "disabled" })).await?.expect(200)?;
    hub.call("DELETE", "/devices/d2", &[("If-Match", "*")], &Value::Null).await?.expect(204)?;
    put("/devices/d5", json!({})).await?.expect(200)?;
    full(put("/devices/d6", json!({})).await?).await
}

#[tokio::test]
async fn keys_are_regenerated() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let module = hub.new_module(&device, "m1").await?;
    let regenerate = async |key: &str, identities: Value| {
        let body = json!({ "policyKey": key, "devices": identities });
        hub.call("POST", "/devices/keys/regenerate", &[], &body).await
    };
    let id = device.device_id.as_str();
    let answer =
        regenerate("primaryKey", json!([{ "id": id }, { "id": id, "moduleId": "m1" }])).await?.expect(200)?.json()?;
    assert_eq!((&answer["policyKey"], &answer["errors"]), (&json!("primaryKey"), &json!([])));
    for (rotated, before) in answer["rotatedKeys"].as_array().unwrap().iter().zip([&device, &module]) {
        assert_ne!(rotated["primaryKey"], before.primary_key.as_base64());
        assert_eq!(rotated["secondaryKey"], before.secondary_key.as_base64());
    }
    let read = hub.call("GET", &format!("/devices/{id}"), &[], &Value::Null).await?.json()?;
    assert_eq!(read["authentication"]["symmetricKey"]["primaryKey"], answer["rotatedKeys"][0]["primaryKey"]);
    assert_ne!(read["etag"], device.etag.as_str());
    let both = regenerate("both", json!([{ "id": id }])).await?.expect(200)?.json()?;
    assert_ne!(both["rotatedKeys"][0]["secondaryKey"], device.secondary_key.as_base64());

    let partly = regenerate("secondaryKey", json!([{ "id": id }, { "id": "nobody" }])).await?.expect(207)?.json()?;
    assert_eq!(partly["rotatedKeys"].as_array().map(Vec::len), Some(1), "{partly}");
    assert_eq!(partly["errors"][0]["errorCode"], "DeviceNotFound", "{partly}");
    let none = regenerate("both", json!([{ "id": "nobody" }])).await?.expect(400)?;
    assert_eq!(none.header("iothub-errorcode"), Some("BulkRegenerateDeviceKeyOperationFailure"));
    let wrong = regenerate("thirdKey", json!([{ "id": id }])).await?.expect(400)?;
    assert_eq!(wrong.error_name()?, "InvalidPolicyKey");
    Ok(())
}
