//! AMQP: who is let in, and where (amqp §1-§4, §7).

use amqp::{DeliveryState, SaslCode, Value, condition};
use ironhub_tests::{
    Amqp, Cluster, ClusterGateway, Hub, TestResult, WEBSOCKET_PATH, cluster_keys, eventually, login,
    new_cluster_device, plain, put_token_request, token, token_that_expires,
};
use jiff::SignedDuration;
use serde_json::json;

use crate::amqp_telemetry::{address, message};

async fn refusal(client: &mut Amqp, address: &str, is_sender: bool) -> TestResult<String> {
    let answer = match is_sender {
        true => client.attach_sender(address).await?,
        false => client.attach_receiver(address, 10).await?,
    };
    match answer {
        Ok(_) => Ok(String::new()),
        Err(error) => {
            // People read JSON with a number and a tracking id (amqp §7.1).
            let text: serde_json::Value = serde_json::from_str(error.description.as_deref().unwrap_or_default())?;
            assert!(text["errorCode"].is_u64() && text["trackingId"].is_string(), "{text}");
            Ok(error.condition.to_string())
        }
    }
}

#[tokio::test]
async fn tokens_are_put_and_answered_in_the_callers_own_types() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = hub.amqp().await?;
    for message_id in
        [Value::String("m"), Value::ULong(0), Value::ULong(7000), Value::Uuid([7; 16]), Value::Binary(b"b")]
    {
        assert_eq!(client.put_token(&device.token(), &message_id).await?, (200, "OK".to_owned()));
    }
    // A second pair of links in a session of its own.
    client.begin();
    client.authenticate(&hub.policy_token("service")?).await?;
    Ok(())
}

#[tokio::test]
async fn bad_tokens_and_requests_have_their_status() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = hub.amqp().await?;
    let id = Value::String("m");
    let expired = token_that_expires(&device.resource(), &device.primary_key, None, SignedDuration::from_mins(-10));
    for (token, status) in [
        ("nonsense".to_owned(), 400),
        (expired, 401),
        (token(&hub.host_name, &device.primary_key, None), 401),
        (token(&device.resource(), &hub.new_device().await?.primary_key, None), 401),
        (token(&device.resource(), &device.primary_key, Some("nopolicy")), 401),
        (device.token().replace("sig=", "sig=AAAA"), 401),
    ] {
        assert_eq!(client.put_token(&token, &id).await?.0, status, "{token}");
    }
    // In the words of the service: programs look for them.
    for identity in ["nobody", "nobody/modules/m"] {
        let token = token(&format!("{}/devices/{identity}", hub.host_name), &device.primary_key, None);
        let said = format!("Device {} at IotHub {} not registered.", identity.replace("/modules", ""), hub.host_name);
        assert_eq!(client.put_token(&token, &id).await?, (404, said));
    }
    let good = device.token();
    for properties in [
        &[("operation", "delete-token"), ("type", "servicebus.windows.net:sastoken"), ("name", "x")][..],
        &[("operation", "put-token"), ("type", "jwt"), ("name", "x")],
        &[("operation", "put-token"), ("type", "servicebus.windows.net:sastoken")],
    ] {
        assert_eq!(client.cbs_request(properties, &Value::String(&good), &id).await?.0, 400, "{properties:?}");
    }
    let properties = [("operation", "PUT-TOKEN"), ("type", "azure-devices.net:sastoken"), ("name", "x")];
    assert_eq!(client.cbs_request(&properties, &Value::Int(1), &id).await?.0, 400);
    assert_eq!(client.cbs_request(&properties, &Value::String(&good), &id).await?.0, 200);
    Ok(())
}

#[tokio::test]
async fn sasl_plain_of_devices_and_policies() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let module = hub.new_module(&device, "m1").await?;
    let (short, host) = (hub.host_name.split('.').next().unwrap(), &hub.host_name);
    let service = hub.policy_token("service")?;
    for user in [format!("{}@sas.{host}", device.device_id), format!("{}@sas.{short}", device.device_id)] {
        let (mut client, code) = hub.amqp_with(plain(&user, &device.token()), None).await?;
        assert_eq!(code, SaslCode::Ok);
        assert!(client.attach_sender(&address(&device)).await?.is_ok());
    }
    let user = format!("{}/modules/m1@sas.{host}", device.device_id);
    let (mut client, code) = hub.amqp_with(plain(&user, &module.token()), None).await?;
    assert_eq!((code, client.attach_sender(&address(&module)).await?.is_ok()), (SaslCode::Ok, true));
    let (mut client, code) = hub.amqp_with(plain(&format!("service@sas.root.{host}"), &service), None).await?;
    assert_eq!((code, client.attach_sender("/messages/devicebound").await?.is_ok()), (SaslCode::Ok, true));
    for (user, password) in [
        (format!("{}@sas.{host}", device.device_id), "nonsense".to_owned()),
        (format!("{}@sas.elsewhere", device.device_id), device.token()),
        (format!("somebody@sas.{host}"), device.token()),
        (format!("iothubowner@sas.root.{host}"), service.clone()),
        (format!("service@sas.root.{host}"), device.token()),
    ] {
        assert_eq!(hub.amqp_with(plain(&user, &password), None).await?.1, SaslCode::Auth, "{user}");
    }
    Ok(())
}

#[tokio::test]
async fn mechanisms_that_say_nothing_wait_for_a_token() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    for mechanism in ["MSSBCBS", "ANONYMOUS"] {
        let (mut client, code) = hub.amqp_with(login(mechanism), None).await?;
        assert_eq!(code, SaslCode::Ok);
        assert_eq!(refusal(&mut client, &address(&device), true).await?, condition::UNAUTHORIZED_ACCESS);
        client.authenticate(&device.token()).await?;
        assert_eq!(refusal(&mut client, &address(&device), true).await?, "");
    }
    assert_eq!(hub.amqp_with(login("EXTERNAL"), None).await?.1, SaslCode::Auth, "without a certificate");
    Ok(())
}

#[tokio::test]
async fn a_certificate_needs_no_token() -> TestResult {
    let hub = Hub::shared().await?;
    let presented = ironhub_tests::self_signed("amqp-device")?;
    let thumbprint = presented.thumbprint();
    let id = hub.new_id();
    let body = json!({ "deviceId": id, "authentication": { "type": "selfSigned", "x509Thumbprint": { "primaryThumbprint": thumbprint } } });
    hub.call("PUT", &format!("/devices/{id}"), &[], &body).await?.expect(200)?;
    let own = format!("/devices/{id}/messages/events");
    let (mut client, code) = hub.amqp_with(login("EXTERNAL"), Some(&presented)).await?;
    assert_eq!((code, refusal(&mut client, &own, true).await?), (SaslCode::Ok, String::new()));
    let other = hub.new_device().await?;
    assert_eq!(refusal(&mut client, &address(&other), true).await?, condition::UNAUTHORIZED_ACCESS);
    // Without SASL, too.
    let stream = ironhub_tests::connect_with(hub.amqp, &hub.host_name, &hub.authority, Some(&presented)).await?;
    let mut client = Amqp::new(stream, None);
    client.open(false).await?;
    let link = client.attach_sender(&own).await?.unwrap();
    assert_eq!(client.send(link, &message(b"x")).await?, Some(DeliveryState::Accepted));
    let events = hub.wait_for_events(&id, 1).await?;
    assert!(events[0].to_string().contains("x509"), "{events:?}");
    Ok(())
}

#[tokio::test]
async fn addresses_lead_only_where_one_may_go() -> TestResult {
    let hub = Hub::shared().await?;
    let (device, other) = (hub.new_device().await?, hub.new_device().await?);
    let mut client = hub.amqp_as(&device.token()).await?;
    let own = |node: &str| format!("/devices/{}/{node}", device.device_id);
    for (address, is_sender, expected) in [
        (own("messages/events"), false, condition::NOT_ALLOWED),
        (own("messages/devicebound"), true, condition::NOT_ALLOWED),
        (own("streams/x"), true, condition::NOT_FOUND),
        (format!("/devices/{}/twin", other.device_id), false, condition::UNAUTHORIZED_ACCESS),
        ("/devices/nobody-at-all/twin".to_owned(), false, condition::UNAUTHORIZED_ACCESS),
        ("/messages/devicebound".to_owned(), true, condition::UNAUTHORIZED_ACCESS),
        ("/messages/servicebound/feedback".to_owned(), false, condition::UNAUTHORIZED_ACCESS),
        ("/messages/servicebound/filenotifications".to_owned(), false, condition::UNAUTHORIZED_ACCESS),
        ("/nonsense".to_owned(), true, condition::NOT_FOUND),
        (own("messages/events"), true, ""),
    ] {
        assert_eq!(refusal(&mut client, &address, is_sender).await?, expected, "{address}");
    }
    // Some clients encode ids in addresses.
    let module = hub.new_module(&device, "m@1").await?;
    let mut client = hub.amqp_as(&module.token()).await?;
    for id in ["m@1", "m%401"] {
        assert_eq!(refusal(&mut client, &own(&format!("modules/{id}/twin")), false).await?, "", "{id}");
    }
    let mut service = hub.amqp_as(&hub.policy_token("service")?).await?;
    for (address, is_sender, expected) in [
        (address(&device), true, condition::UNAUTHORIZED_ACCESS),
        ("/messages/devicebound".to_owned(), false, condition::NOT_ALLOWED),
        ("/messages/serviceBound/fileNotifications".to_owned(), false, ""),
        ("/messages/serviceBound/feedback".to_owned(), false, ""),
        (format!("amqps://{}:5671/messages/deviceBound", hub.host_name), true, ""),
    ] {
        assert_eq!(refusal(&mut service, &address, is_sender).await?, expected, "{address}");
    }
    // Who may act for any device hears which there is not.
    let mut gateway = hub.amqp_as(&hub.policy_token("device")?).await?;
    for (address, expected) in [
        ("/devices/nobody-at-all/twin".to_owned(), condition::NOT_FOUND),
        (own("modules/nobody-at-all/twin"), condition::NOT_FOUND),
        (own("twin"), ""),
    ] {
        assert_eq!(refusal(&mut gateway, &address, false).await?, expected, "{address}");
    }
    let nodes = ["devicebound", "servicebound/feedback", "servicebound/filenotifications"];
    for policy in ["device", "registryRead", "registryReadWrite"] {
        let mut client = hub.amqp_as(&hub.policy_token(policy)?).await?;
        for node in nodes {
            let refused = refusal(&mut client, &format!("/messages/{node}"), node == "devicebound").await?;
            assert_eq!(refused, condition::UNAUTHORIZED_ACCESS, "{policy} {node}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn one_connection_is_many_devices() -> TestResult {
    let hub = Hub::shared().await?;
    let mut client = hub.amqp().await?;
    let mut links = Vec::new();
    for _ in 0..5 {
        let device = hub.new_device().await?;
        client.begin();
        client.authenticate(&device.token()).await?;
        links.push((client.attach_sender(&address(&device)).await?.unwrap(), device));
    }
    for (link, device) in &links {
        assert_eq!(client.send(*link, &message(device.device_id.as_bytes())).await?, Some(DeliveryState::Accepted));
    }
    for (_, device) in &links {
        assert_eq!(hub.wait_for_events(&device.device_id, 1).await?.len(), 1);
    }
    // One of them goes; the others stay.
    let (gone, device) = &links[2];
    hub.delete_device(device).await?.expect(204)?;
    assert_eq!(&*client.detached(*gone).await?.condition, condition::NOT_FOUND);
    assert_eq!(client.send(links[3].0, &message(b"on")).await?, Some(DeliveryState::Accepted));
    Ok(())
}

#[tokio::test]
async fn credentials_that_are_taken_back_end_links() -> TestResult {
    let hub = Hub::start().await?;
    let device = hub.new_device().await?;
    let mut client = hub.amqp_as(&device.token()).await?;
    let link = client.attach_sender(&address(&device)).await?.unwrap();
    hub.update_device(&device, json!({ "status": "disabled" })).await?.expect(200)?;
    assert_eq!(&*client.detached(link).await?.condition, condition::UNAUTHORIZED_ACCESS);
    // A policy's token opens nothing once its key is gone.
    let mut service = hub.amqp_as(&hub.policy_token("service")?).await?;
    let link = service.attach_sender("/messages/devicebound").await?.unwrap();
    hub.call("DELETE", "/ironhub/v1/policies/service", &[("If-Match", "*")], &serde_json::Value::Null).await?;
    assert_eq!(&*service.detached(link).await?.condition, condition::UNAUTHORIZED_ACCESS);
    Ok(())
}

#[tokio::test]
async fn a_newer_connection_takes_over() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = hub.amqp_as(&device.token()).await?;
    let link = client.attach_sender(&address(&device)).await?.unwrap();
    let mqtt = hub.connect(&device).await?;
    assert_eq!(&*client.detached(link).await?.condition, condition::LINK_STOLEN);
    let mut newer = hub.amqp_as(&device.token()).await?;
    let link = newer.attach_sender(&address(&device)).await?.unwrap();
    mqtt.expect_closed().await?;
    // A second link for the same purpose takes the first one's place.
    let second = newer.attach_sender(&address(&device)).await?.unwrap();
    assert_eq!(&*newer.detached(link).await?.condition, condition::LINK_STOLEN);
    assert_eq!(newer.send(second, &message(b"x")).await?, Some(DeliveryState::Accepted));
    Ok(())
}

#[tokio::test]
async fn a_device_is_connected_while_it_has_a_link() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = hub.amqp_as(&device.token()).await?;
    let state = async |expected: &str| {
        eventually("the connection state", async || {
            let path = format!("/devices/{}", device.device_id);
            let identity = hub.call("GET", &path, &[], &serde_json::Value::Null).await?.expect(200)?.json()?;
            Ok(identity["connectionState"] == expected)
        })
        .await
    };
    let link = client.attach_sender(&address(&device)).await?.unwrap();
    state("Connected").await?;
    client.connection.detach(link, None);
    client.flush().await?;
    state("Disconnected").await
}

#[tokio::test]
async fn both_websocket_paths_carry_amqp() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    for path in [WEBSOCKET_PATH, "/$iothub/websocket?iothub-no-client-cert=true", "/$servicebus/websocket"] {
        let mut client = hub.amqp_websocket(path).await?;
        client.authenticate(&device.token()).await?;
        let link = client.attach_sender(&address(&device)).await?.unwrap();
        assert_eq!(client.send(link, &message(&[7; 100_000])).await?, Some(DeliveryState::Accepted));
    }
    assert_eq!(hub.wait_for_events(&device.device_id, 3).await?.len(), 3);
    Ok(())
}

#[tokio::test]
async fn a_policy_acts_for_any_device() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = hub.amqp_as(&hub.policy_token("device")?).await?;
    let link = client.attach_sender(&address(&device)).await?.unwrap();
    assert_eq!(client.send(link, &message(b"x")).await?, Some(DeliveryState::Accepted));
    let events = hub.wait_for_events(&device.device_id, 1).await?;
    assert!(events[0].to_string().contains("hub"), "{events:?}");
    Ok(())
}

#[tokio::test]
async fn who_does_not_say_who_it_is_is_closed() -> TestResult {
    let config = "[gateway.limits]\nconnect_timeout_seconds = 1\n".to_owned();
    let hub = Hub::start_with(ironhub_tests::HubOptions { config, ..Default::default() }).await?;
    let device = hub.new_device().await?;
    let mut silent = hub.amqp().await?;
    let mut proved = hub.amqp_as(&device.token()).await?;
    assert!(silent.closed().await.is_err(), "without a word");
    assert!(proved.attach_sender(&address(&device)).await?.is_ok());
    Ok(())
}

#[tokio::test]
async fn another_protocol_is_told_which_one_is_spoken() -> TestResult {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let hub = Hub::shared().await?;
    for words in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"AMQP\x00\x00\x09\x01", b"AMQP\x02\x01\x00\x00"] {
        let mut stream = ironhub_tests::connect_with(hub.amqp, &hub.host_name, &hub.authority, None).await?;
        stream.write_all(words).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        assert_eq!(answer, amqp::AMQP_HEADER);
    }
    Ok(())
}

#[tokio::test]
async fn an_orderly_end_answers_first_and_says_goodbye() -> TestResult {
    let mut hub = Hub::start().await?;
    let device = hub.new_device().await?;
    let mut client = hub.amqp_as(&device.token()).await?;
    let link = client.attach_sender(&address(&device)).await?.unwrap();
    let id = client.send_only(link, &message(b"x"), 0, false)?;
    client.flush().await?;
    assert_eq!(client.outcome(link, id).await?, Some(DeliveryState::Accepted));
    hub.terminate()?;
    // First the links: one client comes back after that, and not after the end of the connection.
    assert_eq!(&*client.detached(link).await?.condition, condition::DETACH_FORCED);
    assert_eq!(refusal(&mut client, &address(&device), true).await?, condition::DETACH_FORCED);
    let goodbye = client.closed().await?.map(|error| error.condition.to_string());
    assert_eq!(goodbye.as_deref(), Some(condition::CONNECTION_FORCED));
    assert!(hub.ended().await?.success());
    Ok(())
}

#[tokio::test]
async fn an_expired_token_ends_what_runs_on_it() -> TestResult {
    let hub = Hub::start_with(ironhub_tests::HubOptions {
        config: "[gateway.limits]\ntoken_grace_seconds = 0\n".to_owned(),
        ..Default::default()
    })
    .await?;
    let device = hub.new_device().await?;
    let short =
        |seconds| token_that_expires(&device.resource(), &device.primary_key, None, SignedDuration::from_secs(seconds));
    let mut client = hub.amqp_as(&short(3)).await?;
    let link = client.attach_sender(&address(&device)).await?.unwrap();
    // Renewed in time, it goes on.
    client.authenticate(&short(6)).await?;
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    assert_eq!(client.send(link, &message(b"x")).await?, Some(DeliveryState::Accepted));
    assert_eq!(&*client.detached(link).await?.condition, condition::UNAUTHORIZED_ACCESS);
    assert_eq!(
        client.closed().await?.map(|error| error.condition.to_string()).as_deref(),
        Some(condition::UNAUTHORIZED_ACCESS)
    );
    Ok(())
}

#[tokio::test]
async fn a_connection_has_so_many_tokens_and_renews_them() -> TestResult {
    let hub = Hub::shared().await?;
    let (policy, key) = hub.policy("device")?;
    let of_device = |number: u32| token(&format!("{}/devices/{number}", hub.host_name), &key, Some(&policy));
    let mut client = hub.amqp().await?;
    for number in 0..2048 {
        client.authenticate(&of_device(number)).await?;
    }
    assert_eq!(client.put_token(&of_device(2048), &Value::ULong(1)).await?.0, 403);
    client.authenticate(&of_device(7)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_not_said_who_it_is_has_few_tokens_verified_at_a_time() -> TestResult {
    const PUT: usize = 20;
    let mut cluster = Cluster::start(|config| shard::Config { disk_reserve_bytes: 0, ..config }).await?;
    let gateway = ClusterGateway::start(&cluster).await?;
    gateway.client.initialize_hub(&model::HubSettings { groups: 2, ..Default::default() }).await?;
    let keys = model::Authentication::Sas(cluster_keys(1));
    let device = new_cluster_device(&gateway.client, "d1", keys).await?;
    let (mut stranger, mut known) = (gateway.amqp().await?, gateway.amqp().await?);
    eventually("the settings have arrived", async || Ok(known.authenticate(&device.token()).await.is_ok())).await?;
    // A token is settled when it is taken and answered when it is verified, which nobody can do now.
    for node in 0..3 {
        cluster.kill(node)?;
    }
    let mut taken = Vec::new();
    for client in [&mut stranger, &mut known] {
        let requests = client.attach_sender("$cbs").await?.unwrap();
        client.attach_receiver("$cbs", 100).await?.unwrap();
        let payload = put_token_request(&device.token())?;
        let ids: Vec<u32> =
            (0..PUT).map(|_| client.send_only(requests, &payload, 0, false)).collect::<Result<_, _>>()?;
        let mut count = 0;
        for id in ids {
            let outcome = tokio::time::timeout(std::time::Duration::from_millis(500), client.outcome(requests, id));
            match outcome.await {
                Ok(outcome) => assert_eq!(outcome?, Some(DeliveryState::Accepted)),
                Err(_) => break,
            }
            count += 1;
        }
        taken.push(count);
    }
    assert_eq!(taken, [8, PUT]);
    Ok(())
}
