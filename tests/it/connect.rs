//! CONNECT: who is accepted, and what the refused are told (mqtt §2, security §3).

use ironhub_tests::{Device, Hub, OTHER_KEY, Received, TestResult, token, token_that_expires};
use jiff::SignedDuration;
use serde_json::json;

/// The user name of a device under every form that clients in the field send (mqtt §2.2).
#[tokio::test]
async fn every_form_of_user_name_is_accepted() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let module = hub.new_module(&device, "m1").await?;
    let forms = [
        "{host}/{id}/?api-version=2021-04-12",
        "{host}/{id}/?api-version=2019-10-01&DeviceClientType=azure-iot-device-iothub-py%2F2.14.0%28py3.11.2%3BLinux%3Bx86_64%29",
        "{host}/{id}/?api-version=2020-09-30&DeviceClientType=x&model-id=dtmi%3Acom%3Aexample%3AThermostat%3B1",
        "{host}/{id}/?api-version=2021-04-12&model-id=dtmi:com:example:Thermostat;1&DeviceClientType=node",
        "{host}/{id}/?api-version=2018-06-30",
        "{host}/{id}/?api-version=2017-11-08-preview",
        "{host}/{id}/api-version=2016-11-14",
        "{host}/{id}/api-version=2017-06-30&DeviceClientType=x",
        "{host}/{id}/?DeviceClientType=x&api-version=2021-04-12",
        "{host}/{id}",
        "{host}:8883/{id}/?api-version=2021-04-12",
    ];
    for identity in [&device, &module] {
        for form in forms {
            let username = form.replace("{host}", &hub.host_name).replace("{id}", &identity.client_id());
            let connect = mqtt::Connect { username: Some(username.clone()), ..identity.connect() };
            assert_eq!(hub.connect_code(&connect).await?, 0, "{username}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_cause_of_refusal_has_its_code() -> TestResult {
    let hub = Hub::shared().await?;
    let (device, other) = (hub.new_device().await?, hub.new_device().await?);
    let module = hub.new_module(&device, "m").await?;
    let disabled = hub.new_device().await?;
    hub.update_device(&disabled, json!({ "status": "disabled" })).await?.expect(200)?;
    let disabled_module = hub.new_device().await?;
    let module_of_disabled = hub.new_module(&disabled_module, "m").await?;
    hub.update_device(&disabled_module, json!({ "status": "disabled" })).await?.expect(200)?;
    let unknown = Device { device_id: hub.new_id(), ..device.clone() };
    let unknown_module = Device { module_id: Some("nobody".into()), ..device.clone() };
    let good = device.connect();
    let with_token = |text: String| mqtt::Connect { password: Some(text), ..good.clone() };
    let with_username = |text: &str| mqtt::Connect { username: Some(text.into()), ..good.clone() };
    let expired = token_that_expires(&device.resource(), &device.primary_key, None, SignedDuration::from_mins(-10));
    let id = &device.device_id;
    let host = &hub.host_name;
    let cases = [
        ("a key that is not the device's", 5, with_token(token(&device.resource(), &OTHER_KEY.parse()?, None))),
        ("an expired token", 5, with_token(expired)),
        ("a token for another device", 5, with_token(token(&other.resource(), &device.primary_key, None))),
        ("another device's token", 5, with_token(other.token())),
        ("a module's token", 5, with_token(module.token())),
        ("a device's token for its module", 5, mqtt::Connect { password: Some(device.token()), ..module.connect() }),
        ("no token", 5, mqtt::Connect { password: None, ..good.clone() }),
        ("no token but something else", 5, with_token("password".into())),
        (
            "a token without signature",
            5,
            with_token(format!("SharedAccessSignature sr={}&se=9999999999", device.resource())),
        ),
        ("an unknown device", 5, unknown.connect()),
        ("an unknown module", 5, unknown_module.connect()),
        ("no user name", 5, mqtt::Connect { username: None, password: None, ..good.clone() }),
        ("a user name that is none", 5, with_username("nonsense")),
        ("another hub's name", 5, with_username(&format!("other.example.test/{id}/?api-version=2021-04-12"))),
        ("another client id", 5, mqtt::Connect { client_id: other.device_id.clone(), ..good.clone() }),
        ("a client id in another case", 5, mqtt::Connect { client_id: id.to_uppercase(), ..good.clone() }),
        ("a client id of a module", 5, mqtt::Connect { client_id: format!("{id}/m"), ..good.clone() }),
        ("a disabled device", 3, disabled.connect()),
        ("a module of a disabled device", 3, module_of_disabled.connect()),
        ("a user name with too many segments", 5, with_username(&format!("{host}/{id}/m/x/?api-version=2021-04-12"))),
    ];
    for (what, code, connect) in cases {
        assert_eq!(hub.connect_code(&connect).await.map_err(|error| error.context(what))?, code, "{what}");
    }
    assert_eq!(hub.connect_code(&good).await?, 0, "nothing of that hurt the device");
    Ok(())
}

#[tokio::test]
async fn tokens_of_every_shape_are_accepted() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let (policy, policy_key) = hub.policy("device")?;
    let (owner, owner_key) = hub.policy("iothubowner")?;
    let (resource, host) = (device.resource(), hub.host_name.clone());
    let lately = token_that_expires(&resource, &device.primary_key, None, SignedDuration::from_mins(-4));
    let cases = [
        ("the secondary key", token(&resource, &device.secondary_key, None)),
        ("expired within the allowed skew", lately),
        ("a policy's, for the hub", token(&host, &policy_key, Some(&policy))),
        ("a policy's, for all devices", token(&format!("{host}/devices"), &policy_key, Some(&policy))),
        ("a policy's, for the device", token(&resource, &owner_key, Some(&owner))),
        ("a policy's, its name in another case", token(&host, &policy_key, Some("DEVICE"))),
        (
            "with the longer resource of Device Explorer",
            token(&format!("{resource}/api-version=2016-11-14"), &device.primary_key, None),
        ),
        ("surrounded by spaces", format!(" {} ", device.token())),
    ];
    for (what, password) in cases {
        let connect = mqtt::Connect { password: Some(password), ..device.connect() };
        assert_eq!(hub.connect_code(&connect).await?, 0, "{what}");
    }
    for policy in ["service", "registryRead", "registryReadWrite"] {
        let (name, key) = hub.policy(policy)?;
        let connect = mqtt::Connect { password: Some(token(&host, &key, Some(&name))), ..device.connect() };
        assert_eq!(hub.connect_code(&connect).await?, 5, "{policy} may not connect devices");
    }
    Ok(())
}

#[tokio::test]
async fn other_protocol_levels_are_told_so() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut bytes = Vec::new();
    mqtt::client::connect(&device.connect(), &mut bytes);
    let level = bytes.windows(4).position(|window| window == b"MQTT").unwrap() + 4;
    // MQTT 5 clients are told in MQTT 5 (mqtt §14).
    for (other, code) in [(3, 1), (5, 0x84)] {
        bytes[level] = other;
        let mut client = hub.mqtt().await?;
        client.send(&bytes).await?;
        assert_eq!(client.receive().await?, Received::ConnAck { session_present: false, code }, "level {other}");
        client.expect_closed().await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_no_connect_gets_no_answer() -> TestResult {
    let hub = Hub::shared().await?;
    for bytes in [&b"\xc0\x00"[..], b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x10\x00", b"\x30\x05\x00\x01xhi"] {
        let mut client = hub.mqtt().await?;
        client.send(bytes).await?;
        client.expect_closed().await?;
    }
    Ok(())
}

#[tokio::test]
async fn every_filter_that_clients_use_is_granted() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let module = hub.new_module(&device, "m").await?;
    let id = &device.device_id;
    let own = [
        format!("devices/{id}/messages/devicebound/#"),
        "devices/+/messages/devicebound/#".into(),
        format!("devices/{id}/messages/#"),
        format!("devices/{id}/#"),
        "devices/#".into(),
        "#".into(),
        "$iothub/methods/POST/#".into(),
        "$iothub/twin/res/#".into(),
        "$iothub/twin/PATCH/properties/desired/#".into(),
        "$iothub/twin/#".into(),
        "$iothub/#".into(),
        "$iothub/methods/#".into(),
    ];
    let filters: Vec<_> =
        own.iter().zip([0, 1, 2].into_iter().cycle()).map(|(filter, asked)| (filter.as_str(), asked)).collect();
    let codes: Vec<u8> = filters.iter().map(|(_, asked)| (*asked).min(1)).collect();
    let mut client = hub.connect(&device).await?;
    assert_eq!(client.subscribe(9, &filters).await?, Received::SubAck { packet_id: 9, codes });
    assert_eq!(client.unsubscribe(10, &["#"]).await?, Received::UnsubAck(10));
    client.ping().await?;
    let mut client = hub.connect(&module).await?;
    let of_module = [
        format!("devices/{id}/modules/m/#"),
        format!("devices/{id}/modules/m/inputs/#"),
        format!("devices/{id}/modules/m/messages/devicebound/#"),
    ];
    let filters: Vec<_> = of_module.iter().map(|filter| (filter.as_str(), 1)).collect();
    assert_eq!(client.subscribe(1, &filters).await?, Received::SubAck { packet_id: 1, codes: vec![1, 1, 1] });
    Ok(())
}

/// A refusal leaves one line in the log; it names the device and the cause and nothing secret.
#[tokio::test]
async fn refusals_are_logged_without_secrets() -> TestResult {
    let hub = Hub::start().await?;
    let device = hub.new_device().await?;
    let wrong = token(&device.resource(), &OTHER_KEY.parse()?, None);
    let connect = mqtt::Connect { password: Some(wrong.clone()), ..device.connect() };
    assert_eq!(hub.connect_code(&connect).await?, 5);
    let good = hub.connect(&device).await?;
    good.disconnect().await?;
    let log = hub.log();
    let lines: Vec<_> =
        log.lines().filter(|line| line.contains(&device.device_id) && line.contains("refused")).collect();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    // The banner shows the owner what to paste; behind it nothing is secret.
    let logged: String = log.lines().filter(|line| !line.contains("SharedAccessKey=")).collect();
    let signature = wrong.split("sig=").nth(1).and_then(|rest| rest.split('&').next()).unwrap();
    let keys = [device.primary_key.as_base64(), device.secondary_key.as_base64(), OTHER_KEY, signature];
    for secret in keys.into_iter().chain(["SharedAccessSignature"]) {
        assert!(!logged.contains(secret), "{secret} is in the log");
    }
    Ok(())
}
