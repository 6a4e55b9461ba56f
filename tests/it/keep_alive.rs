//! Silence ends a connection after one and a half keep-alive intervals (mqtt §2.5).

use std::time::{Duration, Instant};

use ironhub_tests::{Hub, HubOptions, TestResult};

#[tokio::test]
async fn silence_closes_the_connection_and_fires_the_will() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let will = mqtt::Will {
        topic: device.events_topic(),
        payload: b"silent".to_vec(),
        quality_of_service: mqtt::QualityOfService::AtLeastOnce,
        retain: false,
    };
    let client = hub.connect_as(&mqtt::Connect { keep_alive_seconds: 2, will: Some(will), ..device.connect() }).await?;
    let begin = Instant::now();
    client.expect_closed().await?;
    let silent = begin.elapsed();
    assert!(silent > Duration::from_millis(2900) && silent < Duration::from_secs(6), "{silent:?}");
    assert_eq!(hub.wait_for_events(&device.device_id, 1).await?[0]["body"], "silent");
    Ok(())
}

#[tokio::test]
async fn any_packet_is_a_sign_of_life() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = hub.connect_as(&mqtt::Connect { keep_alive_seconds: 1, ..device.connect() }).await?;
    for number in 0..6 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        match number % 2 {
            0 => client.publish(&device.events_topic(), b"x", None).await?,
            _ => client.ping().await?,
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_long_or_missing_keep_alive_is_capped() -> TestResult {
    let config = "[gateway.limits]\nsilence_max_seconds = 2\n".to_owned();
    let hub = Hub::start_with(HubOptions { config, ..HubOptions::default() }).await?;
    for keep_alive_seconds in [0, 65_535] {
        let device = hub.new_device().await?;
        let client = hub.connect_as(&mqtt::Connect { keep_alive_seconds, ..device.connect() }).await?;
        let begin = Instant::now();
        client.expect_closed().await?;
        assert!(begin.elapsed() > Duration::from_millis(1900), "{:?}", begin.elapsed());
    }
    Ok(())
}
