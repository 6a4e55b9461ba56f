//! X.509: registered authorities, the proof of possession, and devices that come with certificates (security §7, §8, §9).

use std::time::{Duration, Instant};

use ironhub_tests::{
    Authority, Device, Hub, Mqtt, Presented, Received, TestResult, binary, certificate_params, client_config,
    connect_as, eventually,
};
use rustls::HandshakeKind;
use serde_json::{Value, json};
use tokio::process::Command;

/// A change holds everywhere within a second; the rest is for loaded machines.
const SOON: Duration = Duration::from_secs(5);

async fn register(hub: &Hub, name: &str, authority: &Authority) -> TestResult<Value> {
    let body = json!({ "properties": { "certificate": authority.base64(), "isVerified": true } });
    hub.call("PUT", &format!("/ironhub/v1/certificates/{name}"), &[], &body).await?.expect(201)?.json()
}

async fn remove(hub: &Hub, name: &str) -> TestResult {
    let path = format!("/ironhub/v1/certificates/{name}");
    hub.call("DELETE", &path, &[("If-Match", "*")], &Value::Null).await?.expect(204).map(drop)
}

/// A device that authenticates by authority.
async fn new_device(hub: &Hub) -> TestResult<Device> {
    let device = hub.new_device().await?;
    by_authority(hub, &device).await?;
    Ok(device)
}

async fn by_authority(hub: &Hub, device: &Device) -> TestResult {
    let authentication = json!({ "authentication": { "type": "certificateAuthority" } });
    hub.update_device(device, authentication).await?.expect(200).map(drop)
}

/// A connection, once the settings have arrived at the gateway.
async fn connected(hub: &Hub, device: &Device, presented: &Presented) -> TestResult<Mqtt> {
    let mut connected = None;
    eventually("the certificate opens", async || {
        let (client, code) = hub.connect_with(device, presented).await?;
        connected = (code == 0).then_some(client);
        Ok(connected.is_some())
    })
    .await?;
    Ok(connected.unwrap())
}

#[tokio::test]
async fn a_certificate_is_proved_with_a_code() -> TestResult {
    let hub = Hub::start().await?;
    let root = Authority::root("Factory root")?;
    let path = "/ironhub/v1/certificates/factory";
    let body = json!({ "properties": { "certificate": root.base64() } });
    let made = hub.call("PUT", path, &[], &body).await?.expect(201)?;
    let (certificate, etag) = (made.json()?, made.header("etag").unwrap().to_owned());
    let properties = &certificate["properties"];
    assert_eq!((&properties["subject"], &properties["isVerified"]), (&json!("CN=Factory root"), &json!(false)));
    assert_eq!(properties["certificate"], root.base64());
    assert_eq!(properties["thumbprint"].as_str().unwrap().len(), 40);
    assert!(properties["expiry"].as_str().unwrap().ends_with(" GMT"), "{properties}");
    let device = new_device(&hub).await?;
    let presented = root.sign(&device.device_id)?;
    assert_eq!(hub.connect_with(&device, &presented).await?.1, 5, "not verified");

    let code_path = format!("{path}/generate-verification-code");
    let verify_path = format!("{path}/verify");
    hub.call("POST", &code_path, &[], &Value::Null).await?.expect(412)?;
    hub.call("POST", &code_path, &[("If-Match", "\"MA==\"")], &Value::Null).await?.expect(412)?;
    let first = hub.call("POST", &code_path, &[("If-Match", &etag)], &Value::Null).await?.expect(200)?.json()?;
    let coded = hub.call("POST", &code_path, &[("If-Match", "*")], &Value::Null).await?.expect(200)?;
    let etag = coded.header("etag").unwrap().to_owned();
    let code = |answer: &Value| answer["properties"]["verificationCode"].as_str().unwrap().to_owned();
    let (first, code) = (code(&first), code(&coded.json()?));
    assert!(code.len() == 40 && code.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()), "{code}");
    let shown = hub.call("GET", path, &[], &Value::Null).await?.expect(200)?.json()?;
    assert_eq!(shown["properties"].get("verificationCode"), None);

    let proof = |authority: &Authority, name: &str| {
        let leaf = authority.sign(name)?.chain.swap_remove(0);
        Ok::<_, anyhow::Error>(
            json!({ "certificate": base64::Engine::encode(&base64::prelude::BASE64_STANDARD, leaf) }),
        )
    };
    let if_match = [("If-Match", etag.as_str())];
    hub.call("POST", &verify_path, &if_match, &proof(&root, &first)?).await?.expect(400)?;
    hub.call("POST", &verify_path, &if_match, &proof(&Authority::root("Factory root")?, &code)?).await?.expect(400)?;
    hub.call("POST", &verify_path, &[], &proof(&root, &code)?).await?.expect(412)?;
    let verified = hub.call("POST", &verify_path, &if_match, &proof(&root, &code)?).await?.expect(200)?.json()?;
    assert_eq!(verified["properties"]["isVerified"], true);
    hub.call("POST", &verify_path, &[("If-Match", "*")], &proof(&root, &code)?).await?.expect(400)?;
    connected(&hub, &device, &presented).await?.ping().await
}

#[tokio::test]
async fn what_is_no_authority_is_not_registered() -> TestResult {
    let hub = Hub::start().await?;
    let root = Authority::root("root")?;
    let leaf = root.sign("d1")?.chain.swap_remove(0);
    let leaf = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, leaf);
    let path = "/ironhub/v1/certificates/x";
    for text in [leaf.as_str(), "nonsense", ""] {
        let body = json!({ "properties": { "certificate": text } });
        let refused = hub.call("PUT", path, &[], &body).await?.expect(400)?;
        assert_eq!(refused.error_name()?, "ArgumentInvalid");
    }
    let missing = hub.call("GET", path, &[], &Value::Null).await?.expect(404)?;
    assert_eq!(missing.error_name()?, "CertificateNotFound");
    register(&hub, "x", &root).await?;
    hub.call("DELETE", path, &[], &Value::Null).await?.expect(412)?;
    for number in 1..25 {
        register(&hub, &format!("x{number}"), &root).await?;
    }
    let body = json!({ "properties": { "certificate": root.base64() } });
    hub.call("PUT", "/ironhub/v1/certificates/one-more", &[], &body).await?.expect(403)?;
    Ok(())
}

#[tokio::test]
async fn devices_and_modules_of_an_authority_send_by_mqtt_and_https() -> TestResult {
    let hub = Hub::start().await?;
    let root = Authority::root("root")?;
    let line = root.intermediate("line 1")?;
    register(&hub, "factory", &root).await?;
    let device = new_device(&hub).await?;
    let presented = line.sign(&device.device_id)?;
    let mut client = connected(&hub, &device, &presented).await?;
    client.publish_acknowledged(&device.events_topic(), b"by mqtt").await?;
    let path = format!("/devices/{}/messages/events?api-version=2021-04-12", device.device_id);
    hub.https_with(&presented).await?.request("POST", &path, &[], b"by https").await?.expect(204)?;
    let events = hub.wait_for_events(&device.device_id, 2).await?;
    let method = events[0]["systemProperties"]["iothub-connection-auth-method"].as_str().unwrap();
    assert_eq!(method, r#"{"scope":"device","type":"x509","issuer":"external","acceptingIpFilterRule":null}"#);

    let module = hub.new_module(&device, "m").await?;
    let body = json!({ "moduleId": "m", "authentication": { "type": "certificateAuthority" } });
    let module_path = format!("/devices/{}/modules/m", device.device_id);
    hub.call("PUT", &module_path, &[("If-Match", "*")], &body).await?.expect(200)?;
    let of_module = line.sign(&format!("{}/m", device.device_id))?;
    connected(&hub, &module, &of_module).await?.publish_acknowledged(&module.events_topic(), b"x").await?;
    assert_eq!(hub.connect_with(&module, &presented).await?.1, 5, "the device's certificate is not the module's");
    Ok(())
}

#[tokio::test]
async fn certificates_that_are_not_good_enough_are_refused() -> TestResult {
    let hub = Hub::start().await?;
    let root = Authority::root("root")?;
    register(&hub, "factory", &root).await?;
    let device = new_device(&hub).await?;
    let id = &device.device_id;
    connected(&hub, &device, &root.sign(id)?).await?;
    let mut expired = certificate_params(id);
    expired.not_after = time::OffsetDateTime::UNIX_EPOCH + time::Duration::days(19_000);
    let line = root.intermediate("line")?;
    let mut alone = line.sign(id)?;
    alone.chain.truncate(1);
    for (what, presented) in [
        ("another name", root.sign("other")?),
        ("another authority", Authority::root("root")?.sign(id)?),
        ("expired", root.sign_params(&expired)?),
        ("without its intermediate", alone),
    ] {
        assert_eq!(hub.connect_with(&device, &presented).await?.1, 5, "{what}");
        let path = format!("/devices/{id}/messages/events?api-version=2021-04-12");
        let response = hub.https_with(&presented).await?.request("POST", &path, &[], b"x").await?;
        assert_eq!((response.status, response.error_name()?.as_str()), (401, "IotHubUnauthorized"), "{what}");
    }
    let of_keys = hub.new_device().await?;
    let (_, code) = hub.connect_with(&of_keys, &root.sign(&of_keys.device_id)?).await?;
    assert_eq!(code, 5, "a device with keys does not come with a certificate");
    Ok(())
}

#[tokio::test]
async fn live_connections_end_with_what_vouched_for_them() -> TestResult {
    let hub = Hub::start().await?;
    let (root, other) = (Authority::root("root")?, Authority::root("other")?);
    register(&hub, "factory", &root).await?;
    register(&hub, "other", &other).await?;
    let devices = [new_device(&hub).await?, new_device(&hub).await?, new_device(&hub).await?, new_device(&hub).await?];
    let [removed, disabled, switched, deleted] = devices;
    let live = async |device: &Device, authority: &Authority| {
        connected(&hub, device, &authority.sign(&device.device_id)?).await
    };
    let of_removed = live(&removed, &root).await?;
    let mut of_disabled = live(&disabled, &other).await?;
    let (of_switched, of_deleted) = (live(&switched, &other).await?, live(&deleted, &other).await?);
    let begin = Instant::now();
    remove(&hub, "factory").await?;
    of_removed.expect_closed().await?;
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    assert_eq!(hub.connect_with(&removed, &root.sign(&removed.device_id)?).await?.1, 5);
    of_disabled.ping().await.map_err(|error| error.context("another authority vouches for it"))?;
    let off = json!({ "status": "disabled", "authentication": { "type": "certificateAuthority" } });
    hub.update_device(&disabled, off).await?.expect(200)?;
    of_disabled.expect_closed().await?;
    assert_eq!(hub.connect_with(&disabled, &other.sign(&disabled.device_id)?).await?.1, 3);
    hub.update_device(&switched, json!({})).await?.expect(200)?; // to its keys
    of_switched.expect_closed().await?;
    hub.delete_device(&deleted).await?.expect(204)?;
    of_deleted.expect_closed().await
}

#[tokio::test]
async fn a_resumed_session_is_judged_again() -> TestResult {
    let hub = Hub::start().await?;
    let root = Authority::root("root")?;
    register(&hub, "factory", &root).await?;
    let device = new_device(&hub).await?;
    let presented = root.intermediate("line")?.sign(&device.device_id)?;
    connected(&hub, &device, &presented).await?;
    let client = client_config(&hub.authority, Some(&presented))?;
    let connect = async || {
        let stream = connect_as(&client, hub.mqtt, &hub.host_name).await?;
        let kind = stream.get_ref().1.handshake_kind();
        let mut connection = Mqtt::new(stream);
        match connection.connect(&mqtt::Connect { password: None, ..device.connect() }).await? {
            Received::ConnAck { code, .. } => Ok((kind, code)),
            other => anyhow::bail!("the hub answered CONNECT with {other:?}"),
        }
    };
    assert_eq!(connect().await?, (Some(HandshakeKind::Full), 0));
    assert_eq!(connect().await?, (Some(HandshakeKind::Resumed), 0));
    remove(&hub, "factory").await?;
    eventually("the resumed session is refused", async || Ok(connect().await? == (Some(HandshakeKind::Resumed), 5)))
        .await
}

#[tokio::test]
async fn a_restart_keeps_the_certificates() -> TestResult {
    let hub = Hub::start().await?;
    let root = Authority::root("root")?;
    let registered = register(&hub, "factory", &root).await?;
    let device = new_device(&hub).await?;
    let presented = root.sign(&device.device_id)?;
    connected(&hub, &device, &presented).await?;
    let hub = hub.kill_and_restart().await?;
    let kept = hub.call("GET", "/ironhub/v1/certificates/factory", &[], &Value::Null).await?.expect(200)?.json()?;
    assert_eq!(kept, registered);
    connected(&hub, &device, &presented).await?.ping().await
}

/// SHA-256.
fn hash(bytes: &[u8]) -> Vec<u8> {
    let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    suite.tls13().unwrap().common.hash_provider.hash(bytes).as_ref().to_vec()
}

#[tokio::test]
async fn a_self_signed_certificate_is_known_by_its_thumbprint() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let presented = Authority::root("whoever")?.sign("any name")?;
    let leaf = presented.chain.first().unwrap();
    let thumbprint: String = hash(leaf).iter().map(|byte| format!("{byte:02X}")).collect();
    let named = |primary: &str| json!({ "authentication": { "type": "selfSigned", "x509Thumbprint": { "primaryThumbprint": primary } } });
    hub.update_device(&device, named(&thumbprint)).await?.expect(200)?;
    let (client, code) = hub.connect_with(&device, &presented).await?;
    assert_eq!(code, 0);
    hub.update_device(&device, named(&"AB".repeat(32))).await?.expect(200)?;
    client.expect_closed().await?;
    assert_eq!(hub.connect_with(&device, &presented).await?.1, 5);
    Ok(())
}

#[tokio::test]
async fn the_command_line_registers_proves_and_removes() -> TestResult {
    let hub = Hub::start().await?;
    let root = Authority::root("Factory root")?;
    let folder = tempfile::tempdir()?;
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes)?;
        Ok::<_, anyhow::Error>(path.to_string_lossy().into_owned())
    };
    let run = async |arguments: &[&str]| {
        let mut command = Command::new(binary()?);
        let output = command.args(arguments).arg("--data-dir").arg(hub.data_dir()).output().await?;
        let text = String::from_utf8([output.stdout, output.stderr].concat())?;
        anyhow::ensure!(output.status.success(), "{arguments:?}: {text}");
        Ok(text)
    };
    let certificate = file("factory.cer", &root.der)?;
    let added = run(&["certificate", "add", &certificate]).await?;
    assert!(added.contains("factory: CN=Factory root") && added.contains("not verified yet"), "{added}");
    let code = run(&["certificate", "verification-code", "factory"]).await?;
    let wrong = file("wrong.cer", root.sign("wrong")?.chain.first().unwrap())?;
    let refused = run(&["certificate", "verify", "factory", &wrong]).await.unwrap_err().to_string();
    assert!(refused.contains("is not the verification code"), "{refused}");
    let proof = file("proof.cer", root.sign(code.trim())?.chain.first().unwrap())?;
    assert!(run(&["certificate", "verify", "factory", &proof]).await?.contains("is verified"));
    let list = run(&["certificate", "list"]).await?;
    assert!(list.contains("factory  yes") && list.contains("CN=Factory root"), "{list}");
    let shown: Value = serde_json::from_str(&run(&["certificate", "show", "factory", "--json"]).await?)?;
    assert_eq!(shown["properties"]["isVerified"], true);
    run(&["certificate", "remove", "factory"]).await?;
    assert!(run(&["certificate", "list"]).await?.contains("no certificates yet"));
    let second = run(&["certificate", "add", &certificate, "--name", "second", "--verified"]).await?;
    assert!(second.contains("may use it now"), "{second}");
    Ok(())
}
