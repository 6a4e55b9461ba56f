//! The last will becomes telemetry when a connection ends without DISCONNECT (mqtt §2.7).

use ironhub_tests::{Device, Hub, TestResult};

fn with_will(device: &Device, topic: &str, quality_of_service: mqtt::QualityOfService) -> mqtt::Connect {
    let will = mqtt::Will { topic: topic.to_owned(), payload: b"gone".to_vec(), quality_of_service, retain: false };
    mqtt::Connect { will: Some(will), ..device.connect() }
}

fn is_will(event: &serde_json::Value) -> bool {
    event["body"] == "gone" && event["properties"]["iothub-MessageType"] == "Will"
}

#[tokio::test]
async fn a_lost_connection_fires_the_will_with_its_properties() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let topic = format!("{}%24.ct=text%2Fplain&a=1", device.events_topic());
    for quality_of_service in [mqtt::QualityOfService::AtMostOnce, mqtt::QualityOfService::AtLeastOnce] {
        drop(hub.connect_as(&with_will(&device, &topic, quality_of_service)).await?);
    }
    let events = hub.wait_for_events(&device.device_id, 2).await?;
    assert!(events.iter().all(is_will), "{events:#?}");
    assert_eq!(events[0]["properties"]["a"], "1");
    assert_eq!(events[0]["systemProperties"]["content-type"], "text/plain");
    Ok(())
}

#[tokio::test]
async fn a_protocol_error_and_a_take_over_fire_it_too() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let connect = with_will(&device, &device.events_topic(), mqtt::QualityOfService::AtLeastOnce);
    let mut client = hub.connect_as(&connect).await?;
    client.send(&[0xf0, 0]).await?;
    client.expect_closed().await?;
    assert!(is_will(&hub.wait_for_events(&device.device_id, 1).await?[0]));
    let older = hub.connect_as(&connect).await?;
    let newer = hub.connect(&device).await?;
    older.expect_closed().await?;
    assert!(is_will(&hub.wait_for_events(&device.device_id, 2).await?[1]));
    newer.disconnect().await
}

#[tokio::test]
async fn disconnect_discards_it() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let connect = with_will(&device, &device.events_topic(), mqtt::QualityOfService::AtLeastOnce);
    hub.connect_as(&connect).await?.disconnect().await?;
    let mut client = hub.connect(&device).await?;
    client.publish_acknowledged(&device.events_topic(), b"later").await?;
    let events = hub.wait_for_events(&device.device_id, 1).await?;
    assert_eq!(events.iter().map(|event| event["body"].as_str()).collect::<Vec<_>>(), [Some("later")]);
    Ok(())
}

#[tokio::test]
async fn a_will_for_another_topic_is_accepted_and_discarded() -> TestResult {
    let hub = Hub::shared().await?;
    let (device, other) = (hub.new_device().await?, hub.new_device().await?);
    for topic in ["somewhere/else", other.events_topic().as_str()] {
        drop(hub.connect_as(&with_will(&device, topic, mqtt::QualityOfService::AtMostOnce)).await?);
    }
    let mut client = hub.connect(&device).await?;
    client.publish_acknowledged(&device.events_topic(), b"after").await?;
    assert_eq!(hub.events(&device.device_id).await?.len(), 1);
    assert_eq!(hub.events(&other.device_id).await?.len(), 0);
    Ok(())
}
