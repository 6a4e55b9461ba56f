//! What each client needs and others do not notice (rest §25), one test for each row that the SDK suites do not prove:
//! requests as that client builds them, and the one thing of the answer that it stumbles over.

use ironhub_tests::{Device, Hub, HubOptions, OTHER_KEY, Response, TestResult};
use serde_json::{Value, json};

/// One request with that token, in the API version of the client.
struct Client<'a> {
    hub: &'a Hub,
    token: String,
    version: &'a str,
}

impl<'a> Client<'a> {
    fn owner(hub: &'a Hub, version: &'a str) -> TestResult<Self> {
        Ok(Self { hub, token: hub.policy_token("iothubowner")?, version })
    }

    fn device(hub: &'a Hub, device: &Device, version: &'a str) -> Self {
        Self { hub, token: device.token(), version }
    }

    async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> TestResult<Response> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let target = format!("{path}{separator}api-version={}", self.version);
        let headers = [&[("Authorization", self.token.as_str())], headers].concat();
        self.hub.https().await?.request(method, &target, &headers, body.as_bytes()).await
    }

    async fn get(&self, path: &str) -> TestResult<Response> {
        self.call("GET", path, &[], "").await
    }
}

/// Row 1: libcurl, HTTP/1.1 forced; strings in batches come as they are; large bodies wait for 100.
#[tokio::test]
async fn c_device_sdk() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let to = format!("/devices/{}/messages/events", device.device_id);
    let path = format!("{to}?api-version=2016-11-14");
    let (authorization, to) = (format!("Authorization: {}", device.token()), format!("iothub-to:{to}"));
    let post = async |more: &[&str]| {
        let mut arguments = vec!["--http1.1"];
        for header in
            ["Connection: Keep-Alive", "Accept: application/json", "Expect: 100-continue", &authorization, &to]
        {
            arguments.extend(["--header", header]);
        }
        TestResult::Ok(hub.curl(&[&arguments, more].concat(), &[&path]).await?.remove(0).response)
    };
    let batch = r#"[{"body":"aGVsbG8=","properties":{"iothub-app-a":"1"}},{"body":"text","base64Encoded":false}]"#;
    for (content_type, body) in
        [("application/octet-stream", "single"), ("application/vnd.microsoft.iothub.json", batch)]
    {
        let content_type = format!("Content-Type: {content_type}");
        let answer = post(&["--header", &content_type, "--data-raw", body]).await?.to_string();
        let (first, last) = answer.split_once("\n\n").unwrap_or_default();
        assert_eq!(
            (first, last.lines().next()),
            ("HTTP/1.1 100 Continue", Some("HTTP/1.1 204 No Content")),
            "{answer}"
        );
    }
    let events = hub.wait_for_events(&device.device_id, 3).await?;
    let bodies: Vec<_> = events.iter().map(|event| &event["body"]).collect();
    assert_eq!(bodies, ["single", "hello", "text"]);
    let missing = hub.call_as(&device.token(), "POST", "/devices/nobody/messages/events", &[], b"x").await?;
    assert_eq!(missing.status, 401, "{missing}");
    Ok(())
}

/// Row 3: HttpURLConnection knows no PATCH.
#[tokio::test]
async fn java_service_sdk() -> TestResult {
    let hub = Hub::shared().await?;
    let owner = Client::owner(&hub, "2021-04-12")?;
    let path = "/ironhub/v1/settings";
    assert_eq!(owner.call("POST", path, &[], "{}").await?.status, 405);
    for name in ["X-HTTP-Method-Override", "x-http-method-override"] {
        owner.call("POST", path, &[(name, "PATCH")], "{}").await?.expect(200)?;
    }
    let device = hub.new_device().await?;
    let path = format!("/devices/{}", device.device_id);
    assert_eq!(owner.call("POST", &path, &[("X-HTTP-Method-Override", "PATCH")], "{}").await?.status, 405);
    let ignored = owner.call("GET", &path, &[("X-HTTP-Method-Override", "DELETE")], "").await?;
    assert_eq!(ignored.status, 200, "only POST is overridden: {ignored}");
    Ok(())
}

/// Row 4: modules send over HTTPS; JSON of batches is put together by hand.
#[tokio::test]
async fn java_device_sdk() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let module = hub.new_module(&device, "m").await?;
    let client = Client::device(&hub, &module, "2020-09-30");
    let path = format!("/devices/{}/modules/m/messages/events", device.device_id);
    let headers = [
        ("iothub-to", path.as_str()),
        ("iothub-messageid", "1"),
        ("iothub-contenttype", "application/json"),
        ("iothub-creation-time-utc", "2030-01-01T00:00:00Z"),
        ("iothub-app-level", "high"),
        ("Content-Type", "binary/octet-stream"),
    ];
    let sent = client.call("POST", &path, &headers, "{}").await?;
    assert!(matches!(sent.status, 200 | 204), "{sent}");
    let json = [("Content-Type", "application/vnd.microsoft.iothub.json")];
    let batch = r#"[{"body":"e30=","base64Encoded":true,"properties":{"iothub-app-level":"low"}}]"#;
    client.call("POST", &path, &json, batch).await?.expect(204)?;
    let broken = r#"[{"body":"e30=","base64Encoded":true,"properties":{"iothub-app-level":"a"b"}}]"#;
    let refused = client.call("POST", &path, &json, broken).await?.expect(400)?;
    assert_eq!(refused.error_name()?, "ArgumentInvalid");
    let events = hub.wait_for_events(&device.device_id, 2).await?;
    let levels: Vec<_> = events.iter().map(|event| &event["properties"]["level"]).collect();
    assert_eq!(levels, ["high", "low"]);
    assert_eq!(events[0]["properties"]["iothub-creation-time-utc"], "2030-01-01T00:00:00Z");
    Ok(())
}

/// Row 5: the body of a bulk answer is read only behind a second header; the code of an error is looked up by its name.
#[tokio::test]
async fn csharp_service_sdk() -> TestResult {
    let hub = Hub::shared().await?;
    let owner = Client::owner(&hub, "2021-04-12")?;
    let device = hub.new_device().await?;
    let id = &device.device_id;
    let list = owner.get("/devices/?top=1").await?.expect(200)?.json()?;
    assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
    let entries = json!([{ "id": id, "eTag": "\"AAAA\"", "importMode": "updateIfMatchETag" }]).to_string();
    let bulk = owner.call("POST", "/devices/", &[], &entries).await?.expect(400)?;
    assert!(bulk.has_header_spelled("IotHubErrorCode"), "{bulk}");
    assert_eq!(bulk.header("IotHubErrorCode"), Some("BulkRegistryOperationFailure"));
    assert_eq!(bulk.json()?["errors"][0]["errorCode"], 412_001);
    // The quotes that the response header brought are sent back.
    let read = owner.get(&format!("/devices/{id}")).await?.expect(200)?;
    let etag = read.header("ETag").unwrap().to_owned();
    assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag}");
    owner
        .call("PUT", &format!("/devices/{id}"), &[("If-Match", &etag)], &read.json()?.to_string())
        .await?
        .expect(200)?;
    let stale = owner.call("DELETE", &format!("/devices/{id}"), &[("If-Match", &etag)], "").await?.expect(412)?;
    assert_eq!(stale.error_name()?, "PreconditionFailed");
    Ok(())
}

/// Row 6: lower-case headers of its own; non-strings among the properties of a batch.
#[tokio::test]
async fn csharp_device_sdk() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let client = Client::device(&hub, &device, "2020-09-30");
    let path = format!("/devices/{}/messages/events", device.device_id);
    let headers = [
        ("iothub-operation", "d2c"),
        ("iothub-to", path.as_str()),
        ("iothub-messageschema", "s1"),
        ("iothub-creationtimeutc", "2030-01-01T00:00:00.0000000Z"),
        ("iothub-app-Level", "high"),
    ];
    client.call("POST", &path, &headers, "one").await?.expect(204)?;
    let batch = r#"[{"body":"dHdv","properties":{"iothub-messageid":2,"iothub-app-Urgent":true}}]"#;
    let json = [("Content-Type", "application/vnd.microsoft.iothub.json")];
    client.call("POST", &path, &json, batch).await?.expect(204)?;
    let events = hub.wait_for_events(&device.device_id, 2).await?;
    let first = json!({
        "Level": "high", "iothub-message-schema": "s1", "iothub-creation-time-utc": "2030-01-01T00:00:00.0000000Z",
    });
    assert_eq!((&events[0]["body"], &events[0]["properties"]), (&json!("one"), &first));
    assert_eq!((&events[1]["body"], &events[1]["properties"]), (&json!("two"), &json!({ "Urgent": "true" })));
    assert_eq!(events[1]["systemProperties"]["message-id"], "2");
    Ok(())
}

/// Row 7: members of long ago come along; 409 and 404 are told apart from all else; `Connected` is compared.
#[tokio::test]
async fn c_service_sdk() -> TestResult {
    let hub = Hub::shared().await?;
    let owner = Client::owner(&hub, "2020-09-30")?;
    let id = hub.new_id();
    let path = format!("/devices/{id}");
    let body = json!({
        "deviceId": id, "isManaged": false, "configuration": null, "deviceProperties": {}, "serviceProperties": {},
        "status": "enabled", "authentication": { "symmetricKey": { "primaryKey": "", "secondaryKey": "" } },
    });
    assert_eq!(owner.get(&path).await?.status, 404);
    let created = owner.call("PUT", &path, &[], &body.to_string()).await?.expect(200)?.json()?;
    assert_eq!((&created["status"], &created["connectionState"]), (&json!("enabled"), &json!("Disconnected")));
    assert_eq!(owner.call("PUT", &path, &[], &body.to_string()).await?.status, 409);
    let list = owner.get("/devices/?top=1000").await?.expect(200)?.json()?;
    assert!(list.as_array().is_some_and(|list| !list.is_empty()), "{list}");
    let statistics = owner.get("/statistics/devices").await?.expect(200)?.json()?;
    assert!(statistics.as_object().is_some_and(|counts| counts.values().all(Value::is_u64)), "{statistics}");
    owner.call("DELETE", &path, &[("If-Match", "*")], "").await?.expect(204)?;
    Ok(())
}

/// Row 8: each operation has a list of statuses, and any other one raises.
#[tokio::test]
async fn python_service_sdk() -> TestResult {
    let hub = Hub::shared().await?;
    let owner = Client::owner(&hub, "2021-04-12")?;
    let device = format!("/devices/{}", hub.new_id());
    let module = format!("{device}/modules/m");
    let any = [("If-Match", "\"*\"")];
    for (method, path, headers, statuses) in [
        ("PUT", &device, &[][..], &[200][..]),
        ("PUT", &device, &any, &[200]),
        ("GET", &device, &[], &[200]),
        ("PUT", &module, &[], &[200, 201]),
        ("PUT", &module, &any, &[200, 201]),
        ("GET", &module, &[], &[200]),
        ("GET", &format!("{device}/modules"), &[], &[200]),
        ("GET", &"/devices?top=1".to_owned(), &[], &[200]),
        ("GET", &"/statistics/devices".to_owned(), &[], &[200]),
        ("GET", &"/statistics/service".to_owned(), &[], &[200]),
        ("DELETE", &module, &any, &[204]),
        ("DELETE", &device, &any, &[204]),
    ] {
        let body = if method == "PUT" { "{}" } else { "" };
        let response = owner.call(method, path, headers, body).await?;
        assert!(statuses.contains(&response.status), "{method} {path}: {response}");
    }
    Ok(())
}

/// Row 11: the whole path is encoded as one segment; every body but that of 204 is read as JSON.
#[tokio::test]
async fn explorer_of_any_host() -> TestResult {
    let hub = Hub::shared().await?;
    let owner = Client::owner(&hub, "2020-09-30")?;
    let id = format!("{}-a'(b)*!", hub.new_id());
    let (device, module) = (format!("/devices%2F{id}"), format!("/devices%2F{id}%2Fmodules%2Fm"));
    let any = [("If-Match", "*")];
    let body = json!({ "deviceId": id, "capabilities": { "iotEdge": false }, "etag": null, "unknown": {} }).to_string();
    for (method, path, headers, status) in [
        ("GET", &device, &[][..], 404),
        ("PUT", &device, &[], 200),
        ("PUT", &device, &[], 409),
        ("GET", &device, &[], 200),
        ("PUT", &module, &[], 200),
        ("GET", &format!("{device}%2Fmodules"), &[], 200),
        ("GET", &format!("{device}%2Ftwin"), &[], 404),
        ("DELETE", &module, &any, 204),
        ("DELETE", &device, &any, 204),
    ] {
        let body = if method == "PUT" { &body } else { "" };
        let response = owner.call(method, path, headers, body).await?.expect(status)?;
        assert_eq!(response.json().is_ok(), status != 204, "{method} {path}: {response}");
    }
    Ok(())
}

/// Row 12: only hosts under names of Azure are talked to, so the hub bears such a name behind split DNS; few headers pass.
#[tokio::test]
async fn explorer_of_allowed_hosts() -> TestResult {
    let arguments = ["--host-name", "hub1.azure-devices.net"].map(str::to_owned).to_vec();
    let hub = Hub::start_with(HubOptions { arguments, ..HubOptions::default() }).await?;
    assert_eq!(hub.host_name, "hub1.azure-devices.net");
    let owner = Client::owner(&hub, "2020-09-30")?;
    let headers = [("content-type", "application/json"), ("accept", "application/json"), ("if-none-match", "x")];
    owner.call("PUT", "/devices%2Fd1", &headers, "{}").await?.expect(200)?;
    owner.call("PUT", "/devices%2Fd1", &[("if-match", "*"), headers[0]], "{}").await?.expect(200)?;
    Ok(())
}

/// Row 13: 400 of a bulk request is a result; the parent of a device is cut out of its scope.
#[tokio::test]
async fn azure_cli() -> TestResult {
    let hub = Hub::shared().await?;
    let owner = Client::owner(&hub, "2024-03-31")?;
    let (parent, child) = (hub.new_id(), hub.new_id());
    let path = format!("/devices/{child}");
    let edge = json!({ "deviceId": parent, "capabilities": { "iotEdge": true }, "attributes": null }).to_string();
    let edge = owner.call("PUT", &format!("/devices/{parent}"), &[], &edge).await?.expect(200)?.json()?;
    let leaf = json!({ "deviceId": child, "deviceScope": edge["deviceScope"] }).to_string();
    let leaf = owner.call("PUT", &path, &[], &leaf).await?.expect(200)?.json()?;
    let scope = leaf["parentScopes"][0].as_str().unwrap();
    let cut = scope.split_once("://").and_then(|(_, rest)| rest.rsplit_once('-'));
    assert_eq!(cut.map(|(id, _)| id), Some(parent.as_str()), "{scope}");
    let detached = json!({ "deviceId": child, "deviceScope": "", "parentScopes": [] }).to_string();
    let detached = owner.call("PUT", &path, &[("If-Match", "\"*\"")], &detached).await?.expect(200)?.json()?;
    assert_eq!(detached.get("parentScopes"), None);
    let entries = json!([{ "id": child, "importMode": "create" }]).to_string();
    let bulk = owner.call("POST", "/devices", &[], &entries).await?.expect(400)?.json()?;
    assert_eq!((&bulk["isSuccessful"], bulk["errors"].as_array().map(Vec::len)), (&json!(false), Some(1)), "{bulk}");
    let regenerate = json!({ "policyKey": "secondaryKey", "devices": [{ "id": child }] }).to_string();
    let rotated = owner.call("POST", "/devices/keys/regenerate", &[], &regenerate).await?.expect(200)?.json()?;
    assert_eq!(rotated["rotatedKeys"][0]["id"], child.as_str(), "{rotated}");
    Ok(())
}

/// Row 16: it comes as its device; success is exactly 200; a list with a word that it does not know is lost as a whole.
#[tokio::test]
async fn identity_service_of_edge_devices() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let client = Client::device(&hub, &device, "2017-11-08-preview");
    let modules = format!("/devices/{}/modules", device.device_id);
    let module = |name: &str, authentication: Value| {
        json!({ "moduleId": name, "deviceId": device.device_id, "managedBy": "iotEdge", "authentication": authentication })
            .to_string()
    };
    let keys = json!({ "primaryKey": OTHER_KEY, "secondaryKey": OTHER_KEY });
    let thumbprints = json!({ "primaryThumbprint": "ab".repeat(20), "secondaryThumbprint": "cd".repeat(20) });
    for (name, authentication, kind) in [
        ("m1", json!({ "type": "sas", "symmetricKey": keys }), "sas"),
        ("m2", json!({ "type": "x509", "x509Thumbprint": thumbprints }), "x509"),
        ("m3", json!({ "type": "x509" }), "x509"),
        ("m4", Value::Null, "sas"),
    ] {
        let path = format!("{modules}/{name}");
        let body = module(name, authentication);
        for headers in [&[][..], &[("If-Match", "*")]] {
            let put = client.call("PUT", &path, headers, &body).await?.expect(200)?;
            assert!(put.header("Content-Type").is_some_and(|kind| kind.contains("application/json")), "{put}");
            assert_eq!(put.json()?["authentication"]["type"], kind, "{put}");
        }
    }
    let list = client.get(&modules).await?.expect(200)?.json()?;
    let kinds = list.as_array().unwrap().iter().map(|module| module["authentication"]["type"].as_str().unwrap());
    assert!(kinds.clone().count() == 4 && kinds.clone().all(|kind| ["none", "sas", "x509"].contains(&kind)), "{list}");
    client.call("DELETE", &format!("{modules}/m1"), &[("If-Match", "*")], "").await?.expect(204)?;
    let missing = client.get(&format!("{modules}/m1")).await?.expect(404)?.json()?;
    assert!(missing["Message"].is_string(), "{missing}");
    Ok(())
}

/// Row 17: error codes of entries are decoded as unsigned integers; etags are sent in quotes.
#[tokio::test]
async fn go_client() -> TestResult {
    let hub = Hub::shared().await?;
    let owner = Client::owner(&hub, "2018-06-30")?;
    let device = hub.new_device().await?;
    let path = format!("/devices/{}", device.device_id);
    let entries = json!([
        { "id": device.device_id, "importMode": "create" },
        { "id": "not valid", "importMode": "create" },
        { "id": hub.new_id(), "importMode": "delete" },
    ]);
    let bulk = owner.call("POST", "/devices", &[], &entries.to_string()).await?.expect(400)?.json()?;
    let codes: Vec<_> = bulk["errors"].as_array().unwrap().iter().map(|error| error["errorCode"].as_u64()).collect();
    assert_eq!(codes, [Some(409_001), Some(400_004), Some(404_001)], "{bulk}");
    let etag = format!("\"{}\"", device.etag);
    owner.call("PUT", &path, &[("If-Match", &etag)], "{}").await?.expect(200)?;
    assert_eq!(owner.call("PUT", &path, &[("If-Match", &etag)], "{}").await?.status, 412);
    Ok(())
}

/// Row 19: left out keys are minted and known afterwards; conflicts are told from changed versions; nothing waits.
#[tokio::test]
async fn terraform() -> TestResult {
    let hub = Hub::shared().await?;
    let owner = Client::owner(&hub, "2021-04-12")?;
    let path = format!("/devices/{}", hub.new_id());
    let created = owner.call("PUT", &path, &[], "{}").await?.expect(200)?.json()?;
    let keys = &created["authentication"]["symmetricKey"];
    assert!(keys["primaryKey"].is_string() && keys["secondaryKey"].is_string(), "{created}");
    assert_eq!(owner.get(&path).await?.expect(200)?.json()?["authentication"], created["authentication"]);
    let missing = format!("/devices/{}", hub.new_id());
    for (method, path, if_match, status, name) in [
        ("PUT", &path, None, 409, "DeviceAlreadyExists"),
        ("PUT", &path, Some("\"AAAA\""), 412, "PreconditionFailed"),
        ("PUT", &missing, Some("\"AAAA\""), 404, "DeviceNotFound"),
        ("DELETE", &path, None, 412, "PreconditionFailed"),
        ("DELETE", &path, Some("AAAA"), 412, "PreconditionFailed"),
        ("DELETE", &missing, Some("*"), 404, "DeviceNotFound"),
    ] {
        let headers: Vec<_> = if_match.map(|value| ("If-Match", value)).into_iter().collect();
        let response = owner.call(method, path, &headers, "{}").await?;
        assert_eq!((response.status, response.error_name()?.as_str()), (status, name), "{method} {path} {if_match:?}");
        assert_eq!(response.header("Retry-After"), None, "{response}");
    }
    Ok(())
}
