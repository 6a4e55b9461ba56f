//! What is taken away from an identity is taken away from its live connections (security §4, §9; mqtt §2.10).

use std::time::Duration;

use ironhub_tests::{Device, Hub, HubOptions, OTHER_KEY, TestResult, token, token_that_expires};
use jiff::SignedDuration;
use serde_json::json;

fn keys(primary: &str, secondary: &str) -> serde_json::Value {
    json!({ "authentication": { "type": "sas", "symmetricKey": { "primaryKey": primary, "secondaryKey": secondary } } })
}

#[tokio::test]
async fn disabling_closes_the_device_and_its_modules() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let module = hub.new_module(&device, "m").await?;
    let clients = [hub.connect(&device).await?, hub.connect(&module).await?];
    hub.update_device(&device, json!({ "status": "disabled" })).await?.expect(200)?;
    for client in clients {
        client.expect_closed().await?;
    }
    assert_eq!(hub.connect_code(&device.connect()).await?, 3);
    hub.update_device(&device, json!({ "status": "enabled" })).await?.expect(200)?;
    hub.connect(&device).await?.ping().await
}

#[tokio::test]
async fn deleting_closes_the_device_and_its_modules() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let module = hub.new_module(&device, "m").await?;
    let clients = [hub.connect(&device).await?, hub.connect(&module).await?];
    hub.delete_device(&device).await?.expect(204)?;
    for client in clients {
        client.expect_closed().await?;
    }
    assert_eq!(hub.connect_code(&device.connect()).await?, 5);
    Ok(())
}

#[tokio::test]
async fn deleting_a_module_leaves_the_device_alone() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let module = hub.new_module(&device, "m").await?;
    let (mut of_device, of_module) = (hub.connect(&device).await?, hub.connect(&module).await?);
    let path = format!("/devices/{}/modules/m", device.device_id);
    hub.call("DELETE", &path, &[("If-Match", "*")], &serde_json::Value::Null).await?.expect(204)?;
    of_module.expect_closed().await?;
    of_device.ping().await
}

#[tokio::test]
async fn only_the_key_that_was_used_matters() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let (primary, secondary) = (device.primary_key.as_base64(), device.secondary_key.as_base64());
    let mut by_primary = hub.connect(&device).await?;
    hub.update_device(&device, keys(primary, OTHER_KEY)).await?.expect(200)?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    by_primary.ping().await?;
    hub.update_device(&device, keys(secondary, primary)).await?.expect(200)?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    by_primary.ping().await.map_err(|error| error.context("a key that changed its place is still a key"))?;
    hub.update_device(&device, keys(secondary, OTHER_KEY)).await?.expect(200)?;
    by_primary.expect_closed().await?;
    assert_eq!(hub.connect_code(&device.connect()).await?, 5);
    let password = token(&device.resource(), &device.secondary_key, None);
    assert_eq!(hub.connect_code(&mqtt::Connect { password: Some(password), ..device.connect() }).await?, 0);
    Ok(())
}

#[tokio::test]
async fn another_kind_of_authentication_closes_the_connection() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let client = hub.connect(&device).await?;
    hub.update_device(&device, json!({ "authentication": { "type": "certificateAuthority" } })).await?.expect(200)?;
    client.expect_closed().await
}

#[tokio::test]
async fn a_connection_by_a_policy_does_not_care_for_the_device_s_keys() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let by_policy = mqtt::Connect { password: Some(hub.policy_token("device")?), ..device.connect() };
    let mut client = hub.connect_as(&by_policy).await?;
    hub.update_device(&device, keys(OTHER_KEY, OTHER_KEY)).await?.expect(200)?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    client.ping().await?;
    hub.update_device(&device, json!({ "status": "disabled" })).await?.expect(200)?;
    client.expect_closed().await
}

#[tokio::test]
async fn a_created_again_device_is_another_one() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let client = hub.connect(&device).await?;
    hub.delete_device(&device).await?.expect(204)?;
    let again: Device = hub.create_device(&device.device_id).await?;
    client.expect_closed().await?;
    assert_eq!(hub.connect_code(&device.connect()).await?, 5);
    hub.connect(&again).await?.ping().await
}

#[tokio::test]
async fn a_token_that_expires_closes_the_connection_after_the_grace() -> TestResult {
    let config = "[gateway.limits]\ntoken_grace_seconds = 2\n".to_owned();
    let hub = Hub::start_with(HubOptions { config, ..HubOptions::default() }).await?;
    let device = hub.new_device().await?;
    let soon = token_that_expires(&device.resource(), &device.primary_key, None, SignedDuration::from_secs(2));
    let mut client = hub.connect_as(&mqtt::Connect { password: Some(soon), ..device.connect() }).await?;
    let begin = std::time::Instant::now();
    client.ping().await?;
    client.expect_closed().await?;
    let lasted = begin.elapsed();
    assert!(lasted > Duration::from_secs(2) && lasted < Duration::from_secs(10), "{lasted:?}");
    Ok(())
}

#[tokio::test]
async fn a_longer_grace_reaches_connections_that_are_there() -> TestResult {
    let config = "[gateway.limits]\ntoken_grace_seconds = 1\n".to_owned();
    let hub = Hub::start_with(HubOptions { config, ..HubOptions::default() }).await?;
    let device = hub.new_device().await?;
    let soon = token_that_expires(&device.resource(), &device.primary_key, None, SignedDuration::from_secs(3));
    let mut client = hub.connect_as(&mqtt::Connect { password: Some(soon), ..device.connect() }).await?;
    let settings = hub.call("GET", "/ironhub/v1/settings", &[], &serde_json::Value::Null).await?.expect(200)?;
    let etag = settings.header("etag").unwrap_or_default().to_owned();
    let change = serde_json::json!({ "tokenGraceSeconds": 600 });
    hub.call("PATCH", "/ironhub/v1/settings", &[("If-Match", &etag)], &change).await?.expect(200)?;
    tokio::time::sleep(Duration::from_secs(6)).await;
    client.ping().await
}
