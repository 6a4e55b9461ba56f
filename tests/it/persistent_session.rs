//! CleanSession 0: subscriptions outlive connections and the hub itself (mqtt §2.6).

use ironhub_tests::{Device, Hub, Mqtt, Received, TestResult};

async fn connect(hub: &Hub, device: &Device, clean_session: bool) -> TestResult<(Mqtt, bool)> {
    let mut client = hub.mqtt().await?;
    match client.connect(&mqtt::Connect { clean_session, ..device.connect() }).await? {
        Received::ConnAck { session_present, code: 0 } => Ok((client, session_present)),
        other => anyhow::bail!("{other:?}"),
    }
}

async fn is_present(hub: &Hub, device: &Device, clean_session: bool) -> TestResult<bool> {
    let (client, present) = connect(hub, device, clean_session).await?;
    client.disconnect().await?;
    Ok(present)
}

#[tokio::test]
async fn a_session_begins_with_its_first_subscription_and_ends_with_a_clean_one() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    assert!(!is_present(&hub, &device, false).await?, "never connected before");
    assert!(!is_present(&hub, &device, false).await?, "nothing is subscribed yet");
    let (mut client, _) = connect(&hub, &device, false).await?;
    let granted = client.subscribe(1, &[("$iothub/methods/POST/#", 1)]).await?;
    assert_eq!(granted, Received::SubAck { packet_id: 1, codes: vec![1] });
    client.disconnect().await?;
    assert!(is_present(&hub, &device, false).await?);
    assert!(is_present(&hub, &device, false).await?, "without subscribing again");
    assert!(!is_present(&hub, &device, true).await?, "a clean session is never present");
    assert!(!is_present(&hub, &device, false).await?, "the clean one deleted it");
    Ok(())
}

#[tokio::test]
async fn subscriptions_of_a_clean_session_are_not_kept() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let (mut client, _) = connect(&hub, &device, true).await?;
    client.subscribe(1, &[("#", 1)]).await?;
    client.disconnect().await?;
    assert!(!is_present(&hub, &device, false).await?);
    Ok(())
}

#[tokio::test]
async fn a_session_survives_a_kill_and_dies_with_its_identity() -> TestResult {
    let hub = Hub::start().await?;
    let device = hub.new_device().await?;
    let module = hub.new_module(&device, "m").await?;
    for identity in [&device, &module] {
        let (mut client, _) = connect(&hub, identity, false).await?;
        client.subscribe(1, &[("$iothub/twin/res/#", 0)]).await?;
    }
    let hub = hub.kill_and_restart().await?;
    let again = |device: &Device| Device { host_name: hub.host_name.clone(), ..device.clone() };
    let (device, module) = (again(&device), again(&module));
    assert!(is_present(&hub, &device, false).await?);
    assert!(is_present(&hub, &module, false).await?);
    hub.delete_device(&device).await?.expect(204)?;
    let device = hub.create_device(&device.device_id).await?;
    let module = hub.new_module(&device, "m").await?;
    assert!(!is_present(&hub, &device, false).await?);
    assert!(!is_present(&hub, &module, false).await?);
    Ok(())
}
