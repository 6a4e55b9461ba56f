//! Storms of handshakes, and readers that never read: others are served, and memory is bounded.

use std::sync::Arc;

use futures::future::try_join_all;
use ironhub_tests::{
    Https, Hub, HubOptions, TestResult, Tls12, client_config, connect_deaf, connect_from, eventually, handshake,
    send_until_blocked, survives,
};
use rustls::{ClientConfig, ProtocolVersion, client::Resumption};

/// A client whose every handshake is a whole one.
fn without_resumption(hub: &Hub) -> TestResult<Arc<ClientConfig>> {
    let mut config = (*client_config(&hub.authority, None)?).clone();
    config.resumption = Resumption::disabled();
    Ok(config.into())
}

/// The value of a metric without labels.
async fn metric(hub: &Hub, name: &str) -> TestResult<u64> {
    let metrics = hub.admin("/metrics").await?.1;
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.unwrap_or_default().parse()?)
}

#[tokio::test]
async fn a_storm_of_handshakes_keeps_nobody_out() -> TestResult {
    const ROUNDS: u32 = 5;
    const AT_ONCE: u32 = 300;
    let hub = Hub::start().await?;
    let config = without_resumption(&hub)?;
    let before = metric(&hub, "ironhub_tls_handshakes_total").await?;
    survives(&hub, "handshakes", async || {
        for _ in 0..ROUNDS {
            let storm = (0..AT_ONCE).map(|number| {
                let (hub, config) = (&hub, &config);
                async move {
                    let to = if number % 2 == 0 { hub.mqtt } else { hub.https };
                    let stream = connect_from((number % 4) as u8 + 1, to).await?;
                    let stream = handshake(config, stream, &hub.host_name).await?;
                    anyhow::ensure!(stream.get_ref().1.protocol_version() == Some(ProtocolVersion::TLSv1_3));
                    Ok(stream)
                }
            });
            drop(try_join_all(storm).await?);
        }
        Ok(())
    })
    .await?;
    assert!(metric(&hub, "ironhub_tls_handshakes_total").await? - before >= u64::from(ROUNDS * AT_ONCE));
    for gauge in ["ironhub_mqtt_connections", "ironhub_https_connections"] {
        eventually("all are gone", async || Ok(metric(&hub, gauge).await? == 0)).await?;
    }
    Ok(())
}

/// Asks for another handshake inside the first one, over and over; fails unless it is declined and the connection ended.
async fn renegotiate(mut tls: Tls12) -> TestResult {
    const REQUESTS: usize = 100;
    const NO_RENEGOTIATION: [u8; 2] = [1, 100];
    const CLOSE_NOTIFY: [u8; 2] = [1, 0];
    const FATAL: u8 = 2;
    let mut requests = Vec::new();
    for _ in 0..REQUESTS {
        let hello = tls.client_hello()?;
        requests.extend(tls.seal(Tls12::HANDSHAKE, &hello)?);
    }
    tls.send(&requests).await?;
    let mut alerts = Vec::new();
    while let Some((kind, content)) = tls.receive().await? {
        anyhow::ensure!(kind == Tls12::ALERT, "a record of type {kind}: a handshake went on");
        alerts.push(content);
    }
    // The second request ends it; that may be lost in a reset of TCP, as all that came behind it was not read.
    match alerts.as_slice() {
        [declined] if *declined == NO_RENEGOTIATION => Ok(()),
        [declined, end] if *declined == NO_RENEGOTIATION && (end[0] == FATAL || *end == CLOSE_NOTIFY) => Ok(()),
        other => anyhow::bail!("{other:?}"),
    }
}

#[tokio::test]
async fn tls_is_never_renegotiated() -> TestResult {
    const CONNECTIONS: usize = 40;
    let hub = Hub::start().await?;
    survives(&hub, "renegotiation", async || {
        let peers = [hub.mqtt, hub.https].repeat(CONNECTIONS / 2).into_iter().map(|address| {
            let hub = &hub;
            async move { renegotiate(Tls12::connect(address, &hub.host_name, &hub.authority).await?).await }
        });
        try_join_all(peers).await
    })
    .await
}

#[tokio::test]
async fn readers_of_events_that_never_read_hold_little_and_lose_nothing() -> TestResult {
    const READERS: usize = 8;
    const EVENTS: usize = 160;
    let hub = Hub::start().await?;
    let device = hub.new_device().await?;
    let target = format!(
        "/ironhub/v1/events?api-version=2021-04-12&since=earliest&follow=true&limit={EVENTS}&device={}",
        device.device_id
    );
    let request =
        format!("GET {target} HTTP/1.1\r\nHost: hub\r\nAuthorization: {}\r\n\r\n", hub.policy_token("iothubowner")?);
    let config = client_config(&hub.authority, None)?;
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let stream = connect_deaf(hub.https).await?;
        let mut reader = Https::new(handshake(&config, stream, &hub.host_name).await?);
        reader.send_raw(request.as_bytes()).await?;
        readers.push(reader);
    }
    survives(&hub, "deaf readers", async || {
        // Together 40 MB for each of them.
        let mut client = hub.connect(&device).await?;
        for _ in 0..EVENTS {
            client.publish_acknowledged(&device.events_topic(), &vec![b'x'; 250_000]).await?;
        }
        Ok(())
    })
    .await?;
    // They were served all the time: each has what it did not read still before it.
    for reader in readers.iter_mut().take(1) {
        let body = reader.response().await?.expect(200)?.body;
        assert_eq!(body.split(|byte| *byte == b'\n').filter(|line| line.len() > 250_000).count(), EVENTS);
    }
    Ok(())
}

#[tokio::test]
async fn who_never_reads_its_answers_is_let_go() -> TestResult {
    const PEERS: usize = 8;
    let config = "[gateway.https]\nunread_timeout_seconds = 1\n".to_owned();
    let hub = Hub::start_with(HubOptions { config, ..HubOptions::default() }).await?;
    let config = client_config(&hub.authority, None)?;
    survives(&hub, "unread answers", async || {
        let requests = b"GET /devices HTTP/1.1\r\nHost: hub\r\n\r\n".repeat(1000);
        let deaf = (0..PEERS).map(|_| {
            let (hub, config, requests) = (&hub, &config, &requests);
            async move {
                let stream = handshake(config, connect_deaf(hub.https).await?, &hub.host_name).await?;
                let mut deaf = Https::new(stream);
                send_until_blocked(requests.len(), async || deaf.send_raw(requests).await).await?;
                anyhow::Ok(deaf)
            }
        });
        let deaf = try_join_all(deaf).await?;
        // The good device comes and goes; those that do not read would stay.
        let gone = async || Ok(metric(&hub, "ironhub_https_connections").await? < PEERS as u64 / 2);
        eventually("they are gone", gone).await?;
        Ok(deaf)
    })
    .await
}
