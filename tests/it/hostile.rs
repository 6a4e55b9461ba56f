//! Peers that mean harm: what they make the hub hold is bounded, and others are served meanwhile.

use ironhub_tests::{Hub, HubOptions, Mqtt, TestResult, connect_from, send_until_blocked, survives};
use tokio::io::AsyncWriteExt;

async fn hub(limits: &str) -> TestResult<Hub> {
    let config = format!("[gateway.limits]\n{limits}\n");
    Hub::start_with(HubOptions { config, ..HubOptions::default() }).await
}

#[tokio::test]
async fn silent_connections_keep_nobody_out() -> TestResult {
    let hub = hub("handshakes_max = 100\nhandshakes_per_address_max = 60\nhandshake_grace_milliseconds = 200").await?;
    survives(&hub, "silence", async || {
        let mut silent = Vec::new();
        for number in 0..600_u32 {
            let to = if number % 2 == 0 { hub.mqtt } else { hub.https };
            let stream = connect_from((number % 5) as u8 + 1, to).await?;
            let mut stream = stream;
            if number % 3 == 0 {
                let _ = stream.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00]).await; // it may be closed already
            }
            silent.push(stream);
        }
        Ok(silent)
    })
    .await
}

#[tokio::test]
async fn one_address_has_its_share_only() -> TestResult {
    let hub = hub("handshakes_per_address_max = 10\nhandshake_grace_milliseconds = 60000").await?;
    survives(&hub, "one address", async || {
        let mut silent = Vec::new();
        for _ in 0..200 {
            silent.push(connect_from(1, hub.mqtt).await?);
        }
        Ok(silent)
    })
    .await?;
    let metrics = hub.admin("/metrics").await?.1;
    assert!(metrics.contains(r#"ironhub_refused_connections_total{reason="address"}"#), "{metrics}");
    Ok(())
}

#[tokio::test]
async fn thousands_of_silent_connections_are_carried() -> TestResult {
    let hub = Hub::start().await?;
    survives(&hub, "thousands", async || {
        let mut silent = Vec::new();
        for number in 0..2000_u32 {
            silent.push(connect_from((number % 4) as u8 + 1, hub.mqtt).await?);
        }
        Ok(silent)
    })
    .await
}

#[tokio::test]
async fn who_asks_and_never_listens_is_cut_off() -> TestResult {
    let hub = Hub::start().await?;
    survives(&hub, "pings", async || {
        let device = hub.new_device().await?;
        let mut deaf: Mqtt = hub.connect(&device).await?;
        let pings = [0xc0_u8, 0].repeat(32 * 1024);
        send_until_blocked(pings.len(), async || deaf.send(&pings).await).await?;
        Ok(deaf)
    })
    .await
}

#[tokio::test]
async fn requests_of_every_wicked_shape_are_refused() -> TestResult {
    let hub = Hub::start().await?;
    let owner = hub.policy_token("iothubowner")?;
    let version = "api-version=2021-04-12";
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let long = "x".repeat(60_000);
    let token = format!("SharedAccessSignature sr={long}&sig=x&se=1");
    survives(&hub, "requests", async || {
        for _ in 0..20 {
            let path = format!("/devices/{}?{version}", hub.new_id());
            let authorization = [("Authorization", owner.as_str())];
            let response = hub.https().await?.request("PUT", &path, &authorization, deep.as_bytes()).await?;
            assert_eq!(response.status, 400, "{response}");
            let headers = [("Authorization", token.as_str())];
            let response = hub.https().await?.request("GET", &format!("/devices?{version}"), &headers, b"").await;
            assert!(response.is_err() || response.is_ok_and(|response| matches!(response.status, 400 | 401 | 431)));
        }
        for path in [
            "/..%2f..%2fetc/passwd",
            "/devices/%00",
            "/devices/%2e%2e",
            "/%",
            "/devices/%ff%fe",
            "//",
            "/devices/a/b/c/d/e/f",
        ] {
            let target = format!("{path}?{version}");
            let authorization = [("Authorization", owner.as_str())];
            let response = hub.https().await?.request("GET", &target, &authorization, b"").await?;
            assert!(matches!(response.status, 400 | 404), "{path}: {response}");
        }
        let many: Vec<(String, String)> = (0..5000).map(|n| (format!("X-{n}"), "y".to_owned())).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let response = hub.https().await?.request("GET", &format!("/devices?{version}"), &many, b"").await;
        assert!(response.is_err() || response.is_ok_and(|response| matches!(response.status, 400 | 431)));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn heads_and_bodies_that_never_end_hold_little() -> TestResult {
    let hub = Hub::start().await?;
    let device = hub.new_device().await?;
    let target = format!("/devices/{}/messages/events?api-version=2021-04-12", device.device_id);
    let head = format!("POST {target} HTTP/1.1\r\nHost: h\r\nAuthorization: {}\r\n", device.token());
    survives(&hub, "slow requests", async || {
        let mut slow = Vec::new();
        for number in 0..200 {
            let mut connection = hub.https().await?;
            connection.send_raw(head.as_bytes()).await?;
            if number % 2 == 0 {
                connection.send_raw(b"Content-Length: 200000\r\n\r\nbegun").await?;
            }
            slow.push(connection);
        }
        Ok(slow)
    })
    .await
}

#[tokio::test]
async fn huge_names_and_passwords_are_refused_at_the_door() -> TestResult {
    let hub = Hub::start().await?;
    let device = hub.new_device().await?;
    survives(&hub, "huge CONNECTs", async || {
        let huge = "x".repeat(65_000);
        for _ in 0..50 {
            let connect = mqtt::Connect { password: Some(huge.clone()), ..device.connect() };
            assert_eq!(hub.connect_code(&connect).await?, 5);
            let connect = mqtt::Connect { username: Some(huge.clone()), client_id: huge.clone(), ..device.connect() };
            assert_eq!(hub.connect_code(&connect).await?, 5);
        }
        Ok(())
    })
    .await
}
