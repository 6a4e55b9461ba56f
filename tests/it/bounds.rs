//! What a peer can make the hub hold or wait for has a limit, and beyond it an answer.

use std::time::{Duration, Instant};

use ironhub_tests::{Hub, HubOptions, PATIENCE, Received, TestResult};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

async fn hub(limits: &str) -> TestResult<Hub> {
    let config = format!("[gateway.limits]\n{limits}\n");
    Hub::start_with(HubOptions { config, ..HubOptions::default() }).await
}

async fn is_closed(mut stream: TcpStream) -> TestResult {
    let mut rest = Vec::new();
    // A reset is a close as well.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await?;
    Ok(())
}

#[tokio::test]
async fn slow_handshakes_and_silent_connections_are_closed() -> TestResult {
    let hub = hub("handshake_timeout_seconds = 1\nconnect_timeout_seconds = 2").await?;
    let begin = Instant::now();
    for address in [hub.mqtt, hub.https] {
        let silent = TcpStream::connect(address).await?;
        let mut half = TcpStream::connect(address).await?;
        half.write_all(&[0x16, 0x03, 0x01]).await?;
        is_closed(silent).await?;
        is_closed(half).await?;
    }
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    let begin = Instant::now();
    let no_connect = hub.mqtt().await?;
    no_connect.expect_closed().await?;
    assert!(begin.elapsed() > Duration::from_millis(1500) && begin.elapsed() < Duration::from_secs(8));
    let mut half_a_connect = hub.mqtt().await?;
    half_a_connect.send(&[0x10, 0x40, 0, 4]).await?;
    half_a_connect.expect_closed().await
}

#[tokio::test]
async fn garbage_instead_of_tls_is_closed() -> TestResult {
    let hub = Hub::shared().await?;
    for address in [hub.mqtt, hub.https] {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await?;
        is_closed(stream).await?;
    }
    let device = hub.new_device().await?;
    hub.connect(&device).await?.ping().await
}

#[tokio::test]
async fn more_connections_than_allowed_are_closed_and_room_is_given_back() -> TestResult {
    let hub = hub("connections_max = 4").await?;
    // Making devices needs connections too, one at a time.
    let mut devices = Vec::new();
    for _ in 0..6 {
        devices.push(hub.new_device().await?);
    }
    let mut clients = Vec::new();
    let mut refused = 0;
    for device in &devices {
        match hub.connect(device).await {
            Ok(client) => clients.push(client),
            Err(_) => refused += 1,
        }
    }
    assert!(clients.len() <= 4 && refused >= 2, "{} accepted", clients.len());
    for client in clients {
        client.disconnect().await?;
    }
    ironhub_tests::eventually("room", async || Ok(hub.connect(&devices[5]).await.is_ok())).await
}

#[tokio::test]
async fn the_largest_message_is_accepted_and_a_larger_one_closes() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = hub.connect(&device).await?;
    client.publish_acknowledged(&device.events_topic(), &vec![b'x'; 262_144]).await?;
    client.publish(&device.events_topic(), &vec![b'x'; 262_145], Some(1)).await?;
    client.expect_closed().await?;
    let mut client = hub.connect(&device).await?;
    let with_property = format!("{}a=b", device.events_topic());
    client.publish(&with_property, &vec![b'x'; 262_143], Some(1)).await?;
    client.expect_closed().await?;
    // A length that no message has is refused before the message is there.
    let mut client = hub.connect(&device).await?;
    client.send(&[0x32, 0xff, 0xff, 0xff, 0x7f]).await?;
    client.expect_closed().await?;
    assert_eq!(hub.wait_for_events(&device.device_id, 1).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_session_has_a_limit_of_filters() -> TestResult {
    let hub = hub("subscriptions_max = 3").await?;
    let device = hub.new_device().await?;
    let mut client = hub.connect(&device).await?;
    let filters = ["$iothub/twin/res/#", "$iothub/methods/POST/#", "#", "$iothub/#"];
    for (id, filter) in (1..=3).zip(filters) {
        assert_eq!(client.subscribe(id, &[(filter, 0)]).await?, Received::SubAck { packet_id: id, codes: vec![0] });
    }
    match client.subscribe(4, &[(filters[3], 0)]).await? {
        Received::SubAck { codes, .. } => assert_eq!(codes, [0x80]),
        other => assert_eq!(other, Received::Closed),
    }
    Ok(())
}

#[tokio::test]
async fn who_does_not_read_is_not_read() -> TestResult {
    let hub = hub("unacknowledged_messages_max = 4").await?;
    let device = hub.new_device().await?;
    let mut client = hub.connect(&device).await?;
    let mut out = Vec::new();
    for id in 1..=200_u16 {
        mqtt::client::publish(&device.events_topic(), &[b'x'; 100], Some(id), &mut out);
    }
    client.send(&out).await?;
    for id in 1..=200_u16 {
        client.expect(Received::PubAck(id)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn http_heads_and_bodies_are_bounded() -> TestResult {
    let hub = Hub::shared().await?;
    let token = hub.policy_token("iothubowner")?;
    let long = "x".repeat(300_000);
    let mut connection = hub.https().await?;
    let answer = connection.request("GET", "/devices?api-version=2021-04-12", &[("X-Long", &long)], b"").await;
    assert!(answer.is_err() || answer.is_ok_and(|answer| matches!(answer.status, 400 | 413 | 414 | 431)));
    let body = vec![b' '; 4 << 20];
    let path = format!("/devices/{}?api-version=2021-04-12", hub.new_id());
    let answer = hub.https().await?.request("PUT", &path, &[("Authorization", &token)], &body).await;
    assert!(answer.is_err() || answer.is_ok_and(|answer| matches!(answer.status, 400 | 413)));
    // Announced, never sent: it must not be waited for without end, nor reserved.
    let mut connection = hub.https().await?;
    let head =
        format!("PUT {path} HTTP/1.1\r\nHost: hub\r\nAuthorization: {token}\r\nContent-Length: 99999999999\r\n\r\n");
    connection.send_raw(head.as_bytes()).await?;
    let answer = connection.response().await;
    assert!(answer.is_err() || answer.is_ok_and(|answer| matches!(answer.status, 400 | 413)));
    Ok(())
}

#[tokio::test]
async fn bodies_of_all_requests_together_have_a_limit() -> TestResult {
    let hub = hub("unacknowledged_bytes_max = 100000").await?;
    let device = hub.new_device().await?;
    let target = format!("/devices/{}/messages/events?api-version=2021-04-12", device.device_id);
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: hub\r\nAuthorization: {}\r\nContent-Length: 200000\r\n\r\n",
        device.token()
    );
    // A body that never ends holds its room; another request is refused meanwhile, and served once it is free again.
    let mut held = hub.https().await?;
    held.send_raw(head.as_bytes()).await?;
    held.send_raw(&vec![b'x'; 100_000]).await?;
    let send = async |status: u16| {
        let headers = [("Authorization", device.token())];
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Ok(hub.https().await?.request("POST", &target, &headers, b"small").await?.status == status)
    };
    ironhub_tests::eventually("the limit", async || send(503).await).await?;
    drop(held);
    ironhub_tests::eventually("room", async || send(204).await).await
}
