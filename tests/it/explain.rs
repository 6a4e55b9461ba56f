//! Why an identity was last refused or disconnected.

use ironhub_tests::{Hub, OTHER_KEY, TestResult, eventually, token};
use serde_json::Value;

async fn explained(hub: &Hub, path: &str) -> TestResult<Value> {
    hub.call("GET", &format!("/ironhub/v1/explain/{path}"), &[], &Value::Null).await?.expect(200)?.json()
}

#[tokio::test]
async fn refusals_and_ends_are_remembered_with_cause_and_peer() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let module = hub.new_module(&device, "m").await?;
    let nothing = explained(&hub, &device.device_id).await?;
    assert_eq!((&nothing["lastRefusal"], &nothing["lastDisconnection"]), (&Value::Null, &Value::Null));
    let wrong = token(&device.resource(), &OTHER_KEY.parse()?, None);
    assert_eq!(hub.connect_code(&mqtt::Connect { password: Some(wrong.clone()), ..device.connect() }).await?, 5);
    hub.connect(&module).await?.disconnect().await?;
    let refusal = explained(&hub, &device.device_id).await?["lastRefusal"].clone();
    assert_eq!((&refusal["cause"], &refusal["protocol"]), (&"wrong_signature".into(), &"MQTT".into()), "{refusal}");
    assert!(refusal["peer"].as_str().is_some_and(|peer| peer.starts_with("127.")), "{refusal}");
    assert!(!refusal.to_string().contains("sig="), "{refusal}");
    eventually("the end is remembered", async || {
        let module = explained(&hub, &format!("{}/modules/m", device.device_id)).await?;
        Ok(module["lastDisconnection"]["cause"] == "disconnect")
    })
    .await?;
    let path = format!("/devices/{}/messages/events", device.device_id);
    hub.call_as(&wrong, "POST", &path, &[], b"x").await?.expect(401)?;
    assert_eq!(explained(&hub, &device.device_id).await?["lastRefusal"]["protocol"], "HTTPS");
    assert_eq!(hub.amqp().await?.put_token(&wrong, &amqp::Value::String("m")).await?.0, 401);
    assert_eq!(explained(&hub, &device.device_id).await?["lastRefusal"]["protocol"], "AMQP");
    Ok(())
}

#[tokio::test]
async fn an_id_that_does_not_exist_is_explained_too() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let unknown = ironhub_tests::Device { device_id: hub.new_id(), ..device };
    assert_eq!(hub.connect_code(&unknown.connect()).await?, 5);
    assert_eq!(explained(&hub, &unknown.device_id).await?["lastRefusal"]["cause"], "unknown_identity");
    Ok(())
}
