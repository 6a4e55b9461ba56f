//! The worked examples of rest §27 and the rules of rest §1, on the wire as the real `curl` sees it: status lines, the
//! spelling of headers, the members of bodies.

use ironhub_tests::{Hub, OTHER_KEY, Response, TestResult, Transfer};
use serde_json::{Value, json};

const VERSION: &str = "api-version=2021-04-12";
/// Headers of every failure, sorted; of successes the same without the name of an error.
const OF_FAILURES: &[&str] = &["Content-Length", "Content-Type", "Date", "iothub-errorcode", "x-ms-request-id"];
const OF_SUCCESSES: &[&str] = &["Content-Length", "Content-Type", "Date", "x-ms-request-id"];
const OF_IDENTITIES: &[&str] = &["Content-Length", "Content-Type", "Date", "ETag", "x-ms-request-id"];

/// Requests of the owner of the hub.
async fn transfers(hub: &Hub, arguments: &[&str], paths: &[&str]) -> TestResult<Vec<Transfer>> {
    let authorization = format!("Authorization: {}", hub.policy_token("iothubowner")?);
    hub.curl(&[&["--header", authorization.as_str()], arguments].concat(), paths).await
}

/// One of them, over HTTP/1.1.
async fn answer(hub: &Hub, arguments: &[&str], path: &str) -> TestResult<Response> {
    let mut transfers = transfers(hub, &[&["--http1.1"], arguments].concat(), &[path]).await?;
    Ok(transfers.remove(0).response)
}

async fn put(hub: &Hub, if_match: Option<&str>, path: &str, body: &Value) -> TestResult<Response> {
    let (body, header) = (body.to_string(), if_match.map(|value| format!("If-Match: {value}")));
    let mut arguments = vec!["--request", "PUT", "--header", "Content-Type: application/json", "--data-raw", &body];
    arguments.extend(header.as_deref().into_iter().flat_map(|header| ["--header", header]));
    answer(hub, &arguments, path).await
}

fn status_line(response: &Response) -> &str {
    response.head.lines().next().unwrap_or_default()
}

/// The names of the headers as they are spelled, sorted.
fn names(response: &Response) -> Vec<&str> {
    let lines = response.head.lines().skip(1);
    let mut names: Vec<_> = lines.filter_map(|line| line.split_once(':')).map(|(name, _)| name).collect();
    names.sort_unstable();
    names
}

/// Whether letters and digits stand where they do in the form: `0` is any digit, `x` any hexadecimal one.
fn has_form(text: &str, form: &str) -> bool {
    let fits = |(found, expected): (char, char)| match expected {
        '0' => found.is_ascii_digit(),
        'x' => found.is_ascii_hexdigit(),
        _ => found == expected,
    };
    text.chars().count() == form.chars().count() && text.chars().zip(form.chars()).all(fits)
}

/// The classic envelope (rest §21.1) and nothing else.
fn assert_envelope(response: &Response, name: &str, text: &str) -> TestResult {
    let envelope = response.json()?;
    assert_eq!(envelope["Message"], format!("ErrorCode:{name};{text}"), "{response}");
    let tracking = envelope["ExceptionMessage"].as_str().unwrap_or_default();
    let form = format!("Tracking ID:{}-G:0-TimeStamp:00/00/0000 00:00:00", "x".repeat(32));
    assert!(has_form(tracking, &form), "{response}");
    assert_eq!(envelope.as_object().map(serde_json::Map::len), Some(2), "{response}");
    assert_eq!(response.header("iothub-errorcode"), Some(name), "{response}");
    Ok(())
}

fn assert_failure(response: &Response, line: &str, name: &str) -> TestResult {
    assert_eq!(status_line(response), format!("HTTP/1.1 {line}"), "{response}");
    assert_eq!(names(response), OF_FAILURES, "{response}");
    assert_eq!(response.error_name()?, name, "{response}");
    Ok(())
}

/// rest §27, first example, in the words of the Node SDK.
#[tokio::test]
async fn a_device_is_created() -> TestResult {
    let hub = Hub::shared().await?;
    let id = hub.new_id();
    let keys = json!({ "primaryKey": "", "secondaryKey": "" });
    let authentication = json!({ "type": "sas", "symmetricKey": keys });
    let body = json!({ "deviceId": id, "status": "enabled", "authentication": authentication }).to_string();
    let mut arguments = vec!["--request", "PUT", "--data-raw", &body];
    for header in ["Content-Type: application/json; charset=utf-8", "Request-Id: 7c1f0000-0000-4000-8000-000000000000"]
    {
        arguments.extend(["--header", header]);
    }
    let created = answer(&hub, &arguments, &format!("/devices/{id}?{VERSION}")).await?;
    assert_eq!(status_line(&created), "HTTP/1.1 200 OK");
    assert_eq!(names(&created), OF_IDENTITIES);
    assert_eq!(created.header("Content-Type"), Some("application/json; charset=utf-8"));
    let request_id = created.header("x-ms-request-id").unwrap();
    assert!(has_form(request_id, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"), "{created}");
    let device = created.json()?;
    let (etag, generation_id) = (device["etag"].as_str().unwrap(), device["generationId"].as_str().unwrap());
    assert_eq!(created.header("ETag"), Some(format!("\"{etag}\"").as_str()));
    assert!(has_form(generation_id, &"0".repeat(18)), "ticks: {generation_id}");
    let key = |name: &str| device["authentication"]["symmetricKey"][name].clone();
    assert!(key("primaryKey").is_string() && key("secondaryKey").is_string(), "{device}");
    let expected = json!({
        "deviceId": id, "generationId": generation_id, "etag": etag, "connectionState": "Disconnected",
        "status": "enabled", "statusReason": null, "connectionStateUpdatedTime": "0001-01-01T00:00:00",
        "statusUpdatedTime": "0001-01-01T00:00:00", "lastActivityTime": "0001-01-01T00:00:00",
        "cloudToDeviceMessageCount": 0, "capabilities": { "iotEdge": false },
        "authentication": {
            "type": "sas",
            "symmetricKey": { "primaryKey": key("primaryKey"), "secondaryKey": key("secondaryKey") },
            "x509Thumbprint": { "primaryThumbprint": null, "secondaryThumbprint": null },
        },
    });
    assert_eq!(device, expected);
    Ok(())
}

/// rest §27, second example: PUT without If-Match creates only.
#[tokio::test]
async fn a_second_put_is_a_conflict() -> TestResult {
    let hub = Hub::shared().await?;
    let id = hub.new_device().await?.device_id;
    let again = put(&hub, None, &format!("/devices/{id}?{VERSION}"), &json!({ "deviceId": id })).await?;
    assert_eq!(status_line(&again), "HTTP/1.1 409 Conflict");
    assert_eq!(names(&again), OF_FAILURES);
    assert_eq!(again.header("Content-Type"), Some("application/json; charset=utf-8"));
    assert_envelope(&again, "DeviceAlreadyExists", &format!("A device with ID '{id}' is already registered."))
}

/// rest §27, "bulk failure answer headers", and the body of rest §4.
#[tokio::test]
async fn a_bulk_request_fails_in_part() -> TestResult {
    let hub = Hub::shared().await?;
    let (there, new) = (hub.new_device().await?.device_id, hub.new_id());
    let entries = json!([{ "id": there, "importMode": "create" }, { "id": new, "importMode": "create" }]).to_string();
    let post = ["--header", "Content-Type: application/json", "--data-raw", entries.as_str()];
    let answered = answer(&hub, &post, &format!("/devices?{VERSION}")).await?;
    assert_eq!(status_line(&answered), "HTTP/1.1 400 Bad Request");
    assert_eq!(
        names(&answered),
        ["Content-Length", "Content-Type", "Date", "IotHubErrorCode", "iothub-errorcode", "x-ms-request-id",]
    );
    for name in ["IotHubErrorCode", "iothub-errorcode"] {
        assert_eq!(answered.header(name), Some("BulkRegistryOperationFailure"));
    }
    let error = json!({
        "deviceId": there, "moduleId": null, "errorCode": 409_001, "operation": "create",
        "errorStatus": format!("A device with ID '{there}' is already registered."),
    });
    assert_eq!(answered.json()?, json!({ "isSuccessful": false, "errors": [error], "warnings": [] }));
    Ok(())
}

/// rest §1.2, §1.8, §21: status line, headers and error of every kind of failure; in particular no `Retry-After`.
#[tokio::test]
async fn failures_have_their_status_lines_and_the_same_headers() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let path = format!("/devices/{}?{VERSION}", device.device_id);
    let module = format!("/devices/{}/modules/m?{VERSION}", device.device_id);
    hub.new_module(&device, "m").await?;
    let missing = format!("/devices/nobody?{VERSION}");
    let many = json!(vec![json!({ "id": "x" }); 101]).to_string();
    let stale = ["--request", "PUT", "--header", "If-Match: \"AAAA\"", "--data-raw", "{}"];
    for (arguments, path, line, name) in [
        (&["--data-raw", "[]"][..], &format!("/devices?{VERSION}"), "400 Bad Request", "ArgumentInvalid"),
        (&[], &"/devices?api-version=x".to_owned(), "400 Bad Request", "InvalidProtocolVersion"),
        (&[], &missing, "404 Not Found", "DeviceNotFound"),
        (&[], &format!("/nothing?{VERSION}"), "404 Not Found", "GenericNotFound"),
        (&["--request", "PUT", "--data-raw", "{}"], &path, "409 Conflict", "DeviceAlreadyExists"),
        (&["--request", "PUT", "--data-raw", "{}"], &module, "409 Conflict", "ModuleAlreadyExistsOnDevice"),
        (&stale, &path, "412 Precondition Failed", "PreconditionFailed"),
        (&stale, &module, "412 Precondition Failed", "PreconditionFailed"),
        (&["--request", "DELETE"], &path, "412 Precondition Failed", "PreconditionFailed"),
        (&["--data-raw", &many], &format!("/devices?{VERSION}"), "413 Payload Too Large", "TooManyDevices"),
    ] {
        assert_failure(&answer(&hub, arguments, path).await?, line, name)?;
    }
    let by_nobody = hub.curl(&["--http1.1"], &[&path]).await?.remove(0).response;
    assert_failure(&by_nobody, "401 Unauthorized", "IotHubUnauthorizedAccess")
}

/// HTTP itself demands `Allow` (RFC 9110 §15.5.6): the methods of the path, whatever its object.
#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() -> TestResult {
    let hub = Hub::shared().await?;
    for (method, path, allowed) in [
        ("PATCH", "/devices", "GET, POST"),
        ("PATCH", "/devices/d", "GET, PUT, DELETE"),
        ("POST", "/devices/d/modules", "GET"),
        ("POST", "/devices/d/modules/m", "GET, PUT, DELETE"),
        ("GET", "/devices/d/commands", "DELETE"),
        ("PUT", "/devices/d/messages/devicebound", "GET, POST"),
        ("GET", "/devices/d/messages/devicebound/token", "DELETE"),
        ("GET", "/devices/d/messages/devicebound/token/abandon", "POST"),
        ("GET", "/devices/d/messages/events", "POST"),
        ("POST", "/messages/servicebound/feedback", "GET"),
        ("POST", "/messages/servicebound/feedback/token", "DELETE"),
        ("GET", "/messages/servicebound/feedback/token/abandon", "POST"),
        ("DELETE", "/twins/d", "GET, PATCH, PUT"),
        ("GET", "/twins/d/tags", "PATCH, PUT"),
        ("GET", "/twins/d/methods", "POST"),
        ("DELETE", "/ironhub/v1/settings", "GET, PATCH, PUT"),
        ("POST", "/ironhub/v1/policies", "GET"),
        ("POST", "/ironhub/v1/policies/p", "GET, PUT, DELETE"),
        ("GET", "/ironhub/v1/policies/p/regenerate-key", "POST"),
        ("POST", "/ironhub/v1/events", "GET"),
    ] {
        let response = answer(&hub, &["--request", method], &format!("{path}?{VERSION}")).await?;
        assert_eq!(status_line(&response), "HTTP/1.1 405 Method Not Allowed", "{method} {path}");
        assert_eq!(response.header("Allow"), Some(allowed), "{method} {path}");
        assert_envelope(&response, "GenericMethodNotAllowed", &format!("The path has other methods: {allowed}"))?;
    }
    Ok(())
}

/// rest §1.11: the header `ETag` is quoted, the member `etag` is not, and all four spellings are taken back.
#[tokio::test]
async fn etags_are_quoted_in_headers_only() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let path = format!("/devices/{}?{VERSION}", device.device_id);
    let mut etag = device.etag;
    for spelling in ["*", "\"*\"", "{etag}", "\"{etag}\""] {
        let if_match = spelling.replace("{etag}", &etag);
        let updated = put(&hub, Some(&if_match), &path, &json!({})).await?.expect(200)?;
        let stale = put(&hub, Some(&format!("\"{etag}\"")), &path, &json!({})).await?.expect(412)?;
        assert_envelope(&stale, "PreconditionFailed", "PreconditionFailed, ETag may be invalid.")?;
        etag = updated.json()?["etag"].as_str().unwrap().to_owned();
        assert_eq!(updated.header("ETag"), Some(format!("\"{etag}\"").as_str()), "{spelling}");
        assert!(etag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte)), "{etag}");
    }
    let absent = answer(&hub, &["--request", "DELETE"], &path).await?.expect(412)?;
    assert!(absent.json()?["Message"].as_str().is_some_and(|message| message.contains("Etag missing")), "{absent}");
    let deleted = answer(&hub, &["--request", "DELETE", "--header", "If-Match: *"], &path).await?;
    assert_eq!((status_line(&deleted), names(&deleted)), ("HTTP/1.1 204 No Content", vec!["Date", "x-ms-request-id"]));
    assert_eq!(deleted.body, b"");
    Ok(())
}

/// rest §1.1: HTTP/1.1 with keep-alive, whether it is asked for or not.
#[tokio::test]
async fn two_requests_go_over_one_connection() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let path = format!("/devices/{}?{VERSION}", device.device_id);
    let statistics = format!("/statistics/devices?{VERSION}");
    for keep_alive in [&[][..], &["--header", "Connection: Keep-Alive"]] {
        let transfers = transfers(&hub, &[&["--http1.1"], keep_alive].concat(), &[&path, &statistics]).await?;
        let connections: Vec<_> = transfers.iter().map(|transfer| transfer.connections).collect();
        assert_eq!(connections, [1, 0], "{transfers:?}");
        for (transfer, headers) in transfers.iter().zip([OF_IDENTITIES, OF_SUCCESSES]) {
            assert_eq!(status_line(&transfer.response), "HTTP/1.1 200 OK");
            assert_eq!(names(&transfer.response), headers);
        }
    }
    Ok(())
}

/// HTTP/2 says the same, in lower case as it must.
#[tokio::test]
async fn http2_is_there_for_who_offers_it() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let path = format!("/devices/{}?{VERSION}", device.device_id);
    let missing = format!("/devices/nobody?{VERSION}");
    let by_one = answer(&hub, &[], &path).await?;
    let transfers = transfers(&hub, &["--http2"], &[&path, &missing]).await?;
    let [found, not_found] = transfers.as_slice() else { panic!("{transfers:?}") };
    assert_eq!((found.http_version.as_str(), found.connections, not_found.connections), ("2", 1, 0));
    let lower = |names: &[&str]| names.iter().map(|name| name.to_lowercase()).collect::<Vec<_>>();
    for (transfer, line, headers) in [(found, "HTTP/2 200 ", OF_IDENTITIES), (not_found, "HTTP/2 404 ", OF_FAILURES)] {
        assert_eq!(status_line(&transfer.response), line);
        assert_eq!(names(&transfer.response), lower(headers));
    }
    assert_eq!(found.response.json()?, by_one.json()?);
    assert_eq!(found.response.header("etag"), by_one.header("ETag"));
    assert_envelope(&not_found.response, "DeviceNotFound", "A device with ID 'nobody' was not found.")
}

/// rest §1.3 to §1.7: paths, queries, methods, bodies and headers as clients send them.
#[tokio::test]
async fn requests_of_every_shape_are_understood() -> TestResult {
    let hub = Hub::shared().await?;
    let (device, new) = (hub.new_device().await?, hub.new_id());
    let id = &device.device_id;
    let body = json!({ "authentication": { "symmetricKey": { "primaryKey": OTHER_KEY, "secondaryKey": OTHER_KEY } } });
    let body = body.to_string();
    let marked = format!("\u{feff}{body}");
    let update = ["--request", "PUT", "--header", "If-Match: *", "--data-raw"];
    let put = |more: &[&'static str]| [&update[..], &[&body], more].concat();
    for (arguments, path, line) in [
        (vec![], format!("/devices/?top=1&{VERSION}"), "200 OK"),
        (vec![], format!("/devices/?{VERSION}"), "200 OK"),
        (vec![], format!("/DEVICES/{id}/?{VERSION}"), "200 OK"),
        (vec![], format!("/devices%2F{id}?api-version=2020-09-30"), "200 OK"),
        (vec![], format!("/devices%2f{id}%2Fmodules?api-version=2020-09-30"), "200 OK"),
        (vec![], format!("/devices/{id}?unknown&{VERSION}&x=1"), "200 OK"),
        (vec!["--header", "Content-Length: 0"], format!("/devices/{id}?{VERSION}"), "200 OK"),
        (vec!["--header", "Accept: application/xml"], format!("/devices/{id}?{VERSION}"), "200 OK"),
        (put(&["--header", "Content-Type: application/json"]), format!("/devices/{id}?{VERSION}"), "200 OK"),
        (put(&["--header", "Content-Type: text/plain"]), format!("/devices/{id}?{VERSION}"), "200 OK"),
        (put(&["--header", "Content-Type:"]), format!("/devices/{id}?{VERSION}"), "200 OK"),
        (put(&["--header", "Transfer-Encoding: chunked"]), format!("/devices/{id}?{VERSION}"), "200 OK"),
        ([&update[..], &[&marked]].concat(), format!("/devices/{id}?{VERSION}"), "200 OK"),
        (vec!["--data-raw", "", "--request", "POST"], format!("/devices?{VERSION}"), "400 Bad Request"),
        (
            vec!["--data-raw", "{}", "--header", "X-HTTP-Method-Override: PUT"],
            format!("/devices/{new}?{VERSION}"),
            "200 OK",
        ),
    ] {
        let response = answer(&hub, &arguments, &path).await?;
        assert_eq!(status_line(&response), format!("HTTP/1.1 {line}"), "{arguments:?} {path}: {response}");
        assert_eq!((response.header("Content-Encoding"), response.header("Location")), (None, None));
    }
    Ok(())
}
