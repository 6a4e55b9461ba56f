//! The newest connection of an identity wins (mqtt §2.8).

use std::time::Duration;

use ironhub_tests::{Frame, Hub, Received, TestResult};
use tokio::time::sleep;

const WRITES: usize = 10;
const BETWEEN_WRITES: Duration = Duration::from_millis(20);

#[tokio::test]
async fn the_newer_connection_wins_and_the_older_gets_no_packet() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut older = hub.connect(&device).await?;
    older.publish_acknowledged(&device.events_topic(), b"older").await?;
    let mut newer = hub.connect(&device).await?;
    older.expect_closed().await?;
    newer.publish_acknowledged(&device.events_topic(), b"newer").await?;
    // The end of the older one comes late and changes nothing.
    newer.ping().await
}

/// A write that fails would end the thread of paho for good.
#[tokio::test]
async fn the_older_one_may_write_until_it_has_seen_the_end() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let (mut connect, mut publish) = (Vec::new(), Vec::new());
    mqtt::client::connect(&device.connect(), &mut connect);
    mqtt::client::publish(&device.events_topic(), b"nobody reads this", None, &mut publish);

    let mut older = hub.connect(&device).await?;
    let mut over_websocket = hub.websocket().await?;
    over_websocket.send(&connect).await?;
    assert!(matches!(over_websocket.receive().await?, Frame::Binary(_)), "CONNACK");
    for _ in 0..WRITES {
        sleep(BETWEEN_WRITES).await;
        older.send(&publish).await?;
    }
    older.expect_closed().await?;

    let _newest = hub.connect(&device).await?;
    for _ in 0..WRITES {
        sleep(BETWEEN_WRITES).await;
        over_websocket.send(&publish).await?;
    }
    over_websocket.expect_close(1000).await
}

#[tokio::test]
async fn what_was_acknowledged_before_is_kept() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut older = hub.connect(&device).await?;
    let mut out = Vec::new();
    for id in 1..=50_u16 {
        mqtt::client::publish(&device.events_topic(), id.to_string().as_bytes(), Some(id), &mut out);
    }
    older.send(&out).await?;
    let _newer = hub.connect(&device).await?;
    let mut acknowledged = 0;
    while let Received::PubAck(_) = older.receive().await? {
        acknowledged += 1;
    }
    let events = hub.events(&device.device_id).await?;
    assert!(events.len() >= acknowledged, "{} < {acknowledged}", events.len());
    let bodies: Vec<_> = events.iter().filter_map(|event| event["body"].as_u64()).collect();
    assert_eq!(bodies, (1..=events.len() as u64).collect::<Vec<_>>(), "in order, without a gap");
    Ok(())
}

#[tokio::test]
async fn a_device_and_its_modules_do_not_disturb_each_other() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let (first, second) = (hub.new_module(&device, "a").await?, hub.new_module(&device, "b").await?);
    let mut clients = Vec::new();
    for identity in [&device, &first, &second] {
        clients.push(hub.connect(identity).await?);
    }
    for client in &mut clients {
        client.ping().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_refused_connection_takes_nothing_over() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = hub.connect(&device).await?;
    let wrong = mqtt::Connect { password: Some("SharedAccessSignature sr=x&sig=x&se=1".into()), ..device.connect() };
    assert_eq!(hub.connect_code(&wrong).await?, 5);
    client.ping().await
}

#[tokio::test]
async fn twenty_connections_at_once_leave_one() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let connects = (0..20).map(async |_| hub.connect(&device).await);
    // Some may lose before they are accepted.
    let mut clients: Vec<_> = futures::future::join_all(connects).await.into_iter().flatten().collect();
    let mut alive = 0;
    for client in &mut clients {
        alive += usize::from(client.ping().await.is_ok());
    }
    assert_eq!(alive, 1);
    Ok(())
}
