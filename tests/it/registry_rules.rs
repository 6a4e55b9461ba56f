//! What the registry demands of devices and modules (rest §3, §6, §7, §19.3), row by row.

use ironhub_tests::{Hub, OTHER_KEY, Response, TestResult};
use serde_json::{Value, json};

async fn put(hub: &Hub, path: &str, if_match: Option<&str>, body: Value) -> TestResult<Response> {
    let headers: Vec<_> = if_match.map(|value| ("If-Match", value)).into_iter().collect();
    hub.call("PUT", path, &headers, &body).await
}

async fn get(hub: &Hub, path: &str) -> TestResult<Value> {
    hub.call("GET", path, &[], &Value::Null).await?.expect(200)?.json()
}

/// The name of the error, `None` for 200.
fn outcome(response: &Response) -> TestResult<Option<String>> {
    if response.status == 200 { Ok(None) } else { response.error_name().map(Some) }
}

#[tokio::test]
async fn bodies_that_are_refused_say_why() -> TestResult {
    let hub = Hub::shared().await?;
    let keys = |primary: Value, secondary: Value| json!({ "authentication": { "symmetricKey": { "primaryKey": primary, "secondaryKey": secondary } } });
    let thumbprint = |text: String| json!({ "authentication": { "type": "selfSigned", "x509Thumbprint": { "primaryThumbprint": text } } });
    let edge = |parents: Value| json!({ "capabilities": { "iotEdge": true }, "parentScopes": parents });
    for (body, name, words) in [
        (keys(json!(OTHER_KEY), Value::Null), "ArgumentInvalid", "Either no keys or both keys can be set"),
        (keys(json!(""), json!(OTHER_KEY)), "ArgumentInvalid", "Either no keys or both keys can be set"),
        (keys(json!("c2hvcnQ="), json!("c2hvcnQ=")), "ArgumentInvalid", "Invalid device key length"),
        (thumbprint("AB:".repeat(20)), "ArgumentInvalid", "StringIsNotThumbprint"),
        (thumbprint("AB ".repeat(20)), "ArgumentInvalid", "StringIsNotThumbprint"),
        (thumbprint("AB".repeat(21)), "ArgumentInvalid", "StringIsNotThumbprint"),
        (json!({ "authentication": { "type": "none" } }), "ArgumentInvalid", "DeviceAuthenticationTypeIsMissing"),
        (json!({ "authentication": { "type": "x509" } }), "ArgumentInvalid", "authentication.type"),
        (json!({ "status": "asleep" }), "ArgumentInvalid", "status"),
        (json!({ "statusReason": "ü".repeat(129) }), "ArgumentInvalid", "statusReason"),
        (json!({ "deviceScope": "x".repeat(513) }), "ArgumentInvalid", "deviceScope"),
        (json!({ "deviceId": "other" }), "ArgumentInvalid", "deviceId"),
        (json!({ "status": 1 }), "IotHubFormatError", "JSON"),
        (edge(json!(["a", "b"])), "InvalidDeviceScope", "parentScopes"),
    ] {
        let response = put(&hub, &format!("/devices/{}", hub.new_id()), None, body.clone()).await?;
        assert_eq!(outcome(&response)?.as_deref(), Some(name), "{body}");
        assert!(response.to_string().contains(words), "{body}: {response}");
    }
    let longest = json!({ "statusReason": "ü".repeat(128) });
    put(&hub, &format!("/devices/{}", hub.new_id()), None, longest).await?.expect(200)?;
    let null = hub.call_as(&hub.policy_token("iothubowner")?, "PUT", "/devices/d", &[], b"null").await?;
    assert_eq!(outcome(&null)?.as_deref(), Some("ArgumentNull"));
    Ok(())
}

#[tokio::test]
async fn an_update_without_keys_makes_new_ones() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let path = format!("/devices/{}", device.device_id);
    for body in [
        json!({}),
        json!({ "authentication": { "type": "sas", "symmetricKey": { "primaryKey": "", "secondaryKey": "" } } }),
    ] {
        let before = get(&hub, &path).await?["authentication"].clone();
        let after = put(&hub, &path, Some("*"), body).await?.expect(200)?.json()?;
        assert_ne!(after["authentication"], before);
    }
    Ok(())
}

/// rest §6: the hub's own modules may be updated only; nobody makes more with a `$`.
#[tokio::test]
async fn modules_of_the_hub_are_its_own() -> TestResult {
    let hub = Hub::shared().await?;
    let id = hub.new_id();
    put(&hub, &format!("/devices/{id}"), None, json!({ "capabilities": { "iotEdge": true } })).await?.expect(200)?;
    let modules = format!("/devices/{id}/modules");
    let list = get(&hub, &modules).await?;
    let kinds: Vec<_> = list.as_array().unwrap().iter().map(|module| &module["authentication"]["type"]).collect();
    assert_eq!(kinds, ["none", "none"], "{list}");
    let sas = json!({ "managedBy": "iotEdge", "authentication": { "type": "sas" } });
    for (method, module, if_match, body, expected) in [
        ("PUT", "$edgeAgent", None, json!({}), Some("SystemModuleModifyUnauthorizedAccess")),
        ("PUT", "%24edgeHub", None, json!({}), Some("SystemModuleModifyUnauthorizedAccess")),
        ("DELETE", "$edgeAgent", Some("*"), Value::Null, Some("SystemModuleModifyUnauthorizedAccess")),
        ("PUT", "$edgeAgent", Some("*"), json!({ "authentication": { "type": "none" } }), None),
        ("PUT", "$edgeAgent", Some("*"), sas, None),
        ("PUT", "$mine", None, json!({}), Some("ArgumentInvalid")),
        ("PUT", "$mine", Some("*"), json!({}), Some("ArgumentInvalid")),
        ("DELETE", "$mine", Some("*"), Value::Null, Some("ModuleNotFound")),
    ] {
        let headers: Vec<_> = if_match.map(|value| ("If-Match", value)).into_iter().collect();
        let response = hub.call(method, &format!("{modules}/{module}"), &headers, &body).await?;
        assert_eq!(outcome(&response)?.as_deref(), expected, "{method} {module} {if_match:?} {body}");
    }
    let agent = get(&hub, &format!("{modules}/$edgeAgent")).await?;
    assert_eq!(agent["authentication"]["type"], "sas");
    assert!(agent["authentication"]["symmetricKey"]["primaryKey"].is_string());
    Ok(())
}

#[tokio::test]
async fn modules_of_users_have_credentials_and_a_limit() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let modules = format!("/devices/{}/modules", device.device_id);
    let none = json!({ "managedBy": "me", "authentication": { "type": "none" } });
    let module = put(&hub, &format!("{modules}/m0"), None, none).await?.expect(200)?.json()?;
    assert_eq!(module["authentication"]["type"], "sas");
    let updated = put(&hub, &format!("{modules}/m0"), Some("*"), json!({})).await?.expect(200)?.json()?;
    assert_eq!(updated["managedBy"], Value::Null, "what is left out is cleared");
    assert_ne!(updated["authentication"], module["authentication"]);
    let entries: Vec<_> = (1..50)
        .map(|number| json!({ "id": device.device_id, "moduleId": format!("m{number}"), "importMode": "create" }))
        .collect();
    hub.call("POST", "/devices", &[], &json!(entries)).await?.expect(200)?;
    let response = put(&hub, &format!("{modules}/m50"), None, json!({})).await?;
    assert_eq!((response.status, outcome(&response)?.as_deref()), (413, Some("TooManyModulesOnDevice")));
    Ok(())
}

/// rest §7.
#[tokio::test]
async fn scopes_say_who_stands_behind_whom() -> TestResult {
    let hub = Hub::shared().await?;
    let (parent, child, leaf) = (hub.new_id(), hub.new_id(), hub.new_id());
    let edge = |members: Value| {
        let mut body = json!({ "capabilities": { "iotEdge": true } });
        body.as_object_mut().unwrap().extend(members.as_object().cloned().unwrap_or_default());
        body
    };
    let path = |id: &str| format!("/devices/{id}");
    let created = put(&hub, &path(&parent), None, edge(json!({ "deviceScope": "mine" }))).await?.expect(200)?.json()?;
    let scope = created["deviceScope"].as_str().unwrap().to_owned();
    assert!(scope.starts_with(&format!("ms-azure-iot-edge://{parent}-")), "{scope}");
    assert_eq!(created["parentScopes"], json!([]));

    for wrong in [json!({}), json!({ "deviceScope": "" }), json!({ "deviceScope": "other" })] {
        let response = put(&hub, &path(&parent), Some("*"), edge(wrong.clone())).await?;
        assert_eq!(outcome(&response)?.as_deref(), Some("InvalidDeviceScope"), "{wrong}");
    }
    put(&hub, &path(&parent), Some("*"), edge(json!({ "deviceScope": scope }))).await?.expect(200)?;

    let nested = put(&hub, &path(&child), None, edge(json!({ "parentScopes": [scope] }))).await?.expect(200)?.json()?;
    assert_eq!(nested["parentScopes"], json!([scope]));
    assert_ne!(nested["deviceScope"], scope.as_str());

    let ignored = put(&hub, &path(&leaf), None, json!({ "parentScopes": [scope] })).await?.expect(200)?.json()?;
    assert_eq!((ignored.get("deviceScope"), ignored.get("parentScopes")), (None, None), "{ignored}");
    let attached = put(&hub, &path(&leaf), Some("*"), json!({ "deviceScope": scope })).await?.expect(200)?.json()?;
    assert_eq!((&attached["deviceScope"], &attached["parentScopes"]), (&json!(scope), &json!([scope])));
    let detached = json!({ "deviceScope": "", "parentScopes": [] });
    let detached = put(&hub, &path(&leaf), Some("*"), detached).await?.expect(200)?.json()?;
    assert_eq!((detached.get("deviceScope"), detached.get("parentScopes")), (None, None), "{detached}");

    let toggled = put(&hub, &path(&leaf), Some("*"), edge(json!({ "deviceScope": "" }))).await?.expect(200)?.json()?;
    assert!(toggled["deviceScope"].as_str().is_some_and(|scope| scope.contains(&leaf)), "{toggled}");
    assert_eq!(get(&hub, &format!("/devices/{leaf}/modules")).await?.as_array().map(Vec::len), Some(2));
    let back = json!({ "deviceScope": toggled["deviceScope"], "capabilities": { "iotEdge": false } });
    let back = put(&hub, &path(&leaf), Some("*"), back).await?.expect(200)?.json()?;
    assert_eq!((back.get("deviceScope"), back.get("parentScopes")), (None, None), "{back}");
    assert_eq!(get(&hub, &format!("/devices/{leaf}/modules")).await?, json!([]));
    Ok(())
}

/// rest §19.3: the runtime of IoT Edge knows one word for certificates, in its version of the API only.
#[tokio::test]
async fn the_edge_runtime_speaks_its_own_version() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let token = hub.policy_token("iothubowner")?;
    let modules = format!("/devices/{}/modules", device.device_id);
    let call = async |method: &str, path: &str, version: &str, body: Value| {
        let target = format!("{path}?api-version={version}");
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        hub.https().await?.request(method, &target, &[("Authorization", &token)], &body).await
    };
    const RUNTIME: &str = "2017-11-08-preview";
    let thumbprint = json!({ "primaryThumbprint": "ab".repeat(20) });
    let x509 = json!({ "authentication": { "type": "x509", "x509Thumbprint": thumbprint } });
    let refused = call("PUT", &format!("{modules}/m1"), "2021-04-12", x509.clone()).await?;
    assert_eq!(outcome(&refused)?.as_deref(), Some("ArgumentInvalid"));
    let made = call("PUT", &format!("{modules}/m1"), RUNTIME, x509).await?.expect(200)?.json()?;
    assert_eq!(made["authentication"]["type"], "x509");
    let authority = json!({ "authentication": { "type": "certificateAuthority" } });
    call("PUT", &format!("{modules}/m2"), "2021-04-12", authority).await?.expect(200)?;
    for (version, kinds) in [(RUNTIME, ["x509", "x509"]), ("2021-04-12", ["selfSigned", "certificateAuthority"])] {
        let list = call("GET", &modules, version, Value::Null).await?.expect(200)?.json()?;
        let found: Vec<_> = list.as_array().unwrap().iter().map(|module| &module["authentication"]["type"]).collect();
        assert_eq!(found, kinds, "{version}");
    }
    Ok(())
}
