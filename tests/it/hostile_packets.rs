//! Packets and frames without end, of devices and of peers that have not said yet who they are.

use futures::future::{try_join, try_join_all};
use ironhub_tests::{
    Device, Frame, Https, Hub, HubOptions, Mqtt, PATIENCE, Received, TestResult, WEBSOCKET_PATH, WebSocket,
    client_config, connect_deaf, frame, handshake, send_until_blocked, survives,
};
use tokio::time::timeout;

const BINARY_BEGINS: u8 = 0x02;
const CONTINUES: u8 = 0x00;
const PING: u8 = 0x89;

/// SUBSCRIBE with as many filters as a session may have, and more, then UNSUBSCRIBE for all of them.
fn churn(filters: &[String], turn: u16) -> Vec<u8> {
    let mut out = Vec::new();
    let subscribed: Vec<_> = filters.iter().map(|filter| (filter.as_str(), 1)).collect();
    mqtt::client::subscribe(2 * turn + 1, &subscribed, &mut out);
    let unsubscribed: Vec<_> = filters.iter().map(String::as_str).collect();
    mqtt::client::unsubscribe(2 * turn + 2, &unsubscribed, &mut out);
    out
}

/// Churns with so many turns under way, and checks every answer.
async fn churn_and_read(client: &mut Mqtt, filters: &[String], turns: u16, under_way: u16) -> TestResult {
    const GRANTED_MAX: usize = 50;
    let codes: Vec<u8> = (0..filters.len()).map(|number| if number < GRANTED_MAX { 1 } else { 0x80 }).collect();
    for first in (0..turns).step_by(under_way.into()) {
        let all = first..first + under_way;
        client.send(&all.clone().flat_map(|turn| churn(filters, turn)).collect::<Vec<_>>()).await?;
        for turn in all {
            client.expect(Received::SubAck { packet_id: 2 * turn + 1, codes: codes.clone() }).await?;
            client.expect(Received::UnsubAck(2 * turn + 2)).await?;
        }
    }
    Ok(())
}

async fn deaf_mqtt(hub: &Hub, device: &Device) -> TestResult<Mqtt> {
    let stream = connect_deaf(hub.mqtt).await?;
    let mut client = Mqtt::new(handshake(&client_config(&hub.authority, None)?, stream, &hub.host_name).await?);
    client.connect(&device.connect()).await?;
    client.ping().await?; // it was accepted
    Ok(client)
}

#[tokio::test]
async fn subscriptions_that_come_and_go_by_the_thousand_are_answered_one_by_one() -> TestResult {
    let hub = Hub::start().await?;
    let many: Vec<String> = (0..60).map(|number| format!("$iothub/{number}/#")).collect();
    let one = &many[..1];
    let (reading, stored, deaf) = (hub.new_device().await?, hub.new_device().await?, hub.new_device().await?);
    survives(&hub, "subscriptions", async || {
        let mut reading = hub.connect(&reading).await?;
        let mut stored = hub.connect_as(&mqtt::Connect { clean_session: false, ..stored.connect() }).await?;
        let mut deaf = deaf_mqtt(&hub, &deaf).await?;
        let reads = async {
            churn_and_read(&mut reading, one, 10_000, 500).await?;
            churn_and_read(&mut reading, &many, 5_000, 100).await
        };
        let flood: Vec<u8> = (0..2000).flat_map(|turn| churn(one, turn)).collect();
        let floods = send_until_blocked(flood.len(), async || deaf.send(&flood).await);
        let others = try_join(churn_and_read(&mut stored, &many, 100, 50), floods);
        try_join(reads, others).await?;
        Ok(deaf)
    })
    .await
}

#[tokio::test]
async fn packets_that_announce_all_that_mqtt_can_are_refused_at_once() -> TestResult {
    let hub = Hub::start().await?;
    let device = hub.new_device().await?;
    // Reserved flags as MQTT wants them, so that nothing but the length is wrong with packets of clients.
    let firsts = (0..16_u8).map(|kind| kind << 4 | if matches!(kind, 6 | 8 | 10) { 2 } else { 0 });
    survives(&hub, "256 MB each", async || {
        for first in firsts {
            let begun = [&[first, 0xff, 0xff, 0xff, 0x7f][..], &[b'x'; 4096]].concat();
            let mut before = hub.mqtt().await?;
            before.send(&begun).await?;
            before.expect_closed().await?;
            let mut behind = hub.connect(&device).await?;
            behind.send(&begun).await?;
            behind.expect_closed().await?;
        }
        Ok(())
    })
    .await
}

async fn connected_websocket(hub: &Hub, device: &Device) -> TestResult<WebSocket> {
    let mut socket = hub.websocket().await?;
    let mut connect = Vec::new();
    mqtt::client::connect(&device.connect(), &mut connect);
    socket.send(&connect).await?;
    anyhow::ensure!(socket.receive().await? == Frame::Binary(vec![0x20, 2, 0, 0]));
    Ok(socket)
}

#[tokio::test]
async fn frames_and_messages_of_websockets_have_an_end() -> TestResult {
    let hub = Hub::start().await?;
    let device = hub.new_device().await?;
    survives(&hub, "long frames", async || {
        for length in [u64::MAX, 1 << 63, 1 << 32] {
            let header = [&[0x82, 0xff][..], &length.to_be_bytes(), &[0; 4], &[0; 1000]].concat();
            let mut before = hub.websocket().await?;
            before.send_raw(&header).await?;
            before.expect_close(1009).await?;
            let mut behind = connected_websocket(&hub, &device).await?;
            behind.send_raw(&header).await?;
            behind.expect_close(1009).await?;
        }
        // One message that goes on and on, with a good packet in each of its fragments.
        let mut endless = connected_websocket(&hub, &device).await?;
        let mut packet = Vec::new();
        mqtt::client::publish(&device.events_topic(), &[b'x'; 60_000], None, &mut packet);
        endless.send_raw(&frame(BINARY_BEGINS, &packet)).await?;
        for _ in 0..18 {
            // The hub may be gone when the last one is sent.
            let _ = endless.send_raw(&frame(CONTINUES, &packet)).await;
        }
        endless.expect_close(1009).await
    })
    .await?;
    // Of quality 0; the one whose last bytes came with the frame too much may be lost.
    let events = hub.wait_for_events(&device.device_id, 16).await?.len();
    assert!(events <= 17, "{events}");
    Ok(())
}

#[tokio::test]
async fn frames_of_nothing_are_no_sign_of_life() -> TestResult {
    let config = "[gateway.limits]\nconnect_timeout_seconds = 1\n".to_owned();
    let hub = Hub::start_with(HubOptions { config, ..HubOptions::default() }).await?;
    survives(&hub, "empty fragments", async || {
        let mut socket = hub.websocket().await?;
        socket.send_raw(&frame(BINARY_BEGINS, &[])).await?;
        let empty = frame(CONTINUES, &[]).repeat(1000);
        let flood = async { while socket.send_raw(&empty).await.is_ok() {} };
        timeout(PATIENCE, flood).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn who_pings_a_websocket_and_never_reads_is_not_read_any_more() -> TestResult {
    const SOCKETS: usize = 16;
    let hub = Hub::start().await?;
    let config = client_config(&hub.authority, None)?;
    survives(&hub, "deaf websockets", async || {
        let pings = frame(PING, &[b'?'; 125]).repeat(500);
        let deaf = (0..SOCKETS).map(|_| {
            let (hub, config, pings) = (&hub, &config, &pings);
            async move {
                let https = Https::new(handshake(config, connect_deaf(hub.https).await?, &hub.host_name).await?);
                let (mut socket, _) = WebSocket::open(https, WEBSOCKET_PATH, "mqtt").await?;
                send_until_blocked(pings.len(), async || socket.send_raw(pings).await).await?;
                Ok(socket)
            }
        });
        try_join_all(deaf).await
    })
    .await
}
