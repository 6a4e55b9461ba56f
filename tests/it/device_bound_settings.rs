//! `cloudToDevice` of the settings: what holds for messages and feedback changes without a restart (messaging §4.3).

use std::time::{Duration, Instant};

use ironhub_tests::{Device, Hub, HubOptions, Response, TestResult, eventually};
use serde_json::{Value, json};

use super::device_bound::{count, lock_token, receive, send, settle};

async fn patch(hub: &Hub, cloud_to_device: Value) -> TestResult<Response> {
    hub.call("PATCH", "/ironhub/v1/settings", &[], &json!({ "cloudToDevice": cloud_to_device })).await
}

async fn get(hub: &Hub) -> TestResult<Value> {
    let settings = hub.call("GET", "/ironhub/v1/settings", &[], &Value::Null).await?.expect(200)?.json()?;
    Ok(settings["cloudToDevice"].clone())
}

async fn feedback(hub: &Hub) -> TestResult<Option<Response>> {
    let token = hub.policy_token("service")?;
    let response = hub.call_as(&token, "GET", "/messages/serviceBound/feedback", &[], b"").await?;
    if response.status == 204 { Ok(None) } else { response.expect(200).map(Some) }
}

async fn abandon_feedback(hub: &Hub, batch: &Response) -> TestResult<Response> {
    let path = format!("/messages/serviceBound/feedback/{}/abandon", lock_token(batch)?);
    hub.call_as(&hub.policy_token("service")?, "POST", &path, &[], b"").await
}

async fn hub_without_flush() -> TestResult<Hub> {
    let config = "[gateway.cloud_to_device]\nfeedback_flush_seconds = 0\n".to_owned();
    Hub::start_with(HubOptions { config, ..HubOptions::default() }).await
}

/// How long a message that is sent now will wait, whole seconds.
async fn life_of_a_message(hub: &Hub, device: &Device) -> TestResult<i64> {
    send(hub, device, &[], "x").await?.expect(204)?;
    let message = receive(hub, device).await?.unwrap();
    settle(hub, device, "DELETE", &format!("/{}", lock_token(&message)?)).await?.expect(204)?;
    let time = |name: &str| message.header(name).unwrap_or_default().parse::<jiff::Timestamp>();
    // The gateway works out when it expires, the shard notes when it came: within a second of each other.
    let life = time("iothub-expiry")?.duration_since(time("iothub-enqueuedtime")?);
    Ok(life.round(jiff::Unit::Second)?.as_secs())
}

#[tokio::test]
async fn the_settings_are_read_merged_and_taken_back() -> TestResult {
    let hub = Hub::start().await?;
    let unset = json!({
        "defaultTtlAsIso8601": null,
        "maxDeliveryCount": null,
        "feedback": { "ttlAsIso8601": null, "lockDurationAsIso8601": null, "maxDeliveryCount": null },
    });
    assert_eq!(get(&hub).await?, unset);
    let change = json!({
        "maxDeliveryCount": 5,
        "defaultTtlAsIso8601": "PT60M",
        "feedback": { "lockDurationAsIso8601": "PT60S", "ttlAsIso8601": "P2D", "maxDeliveryCount": 100 },
    });
    let answer = patch(&hub, change).await?.expect(200)?.json()?["cloudToDevice"].clone();
    let set = json!({
        "maxDeliveryCount": 5,
        "defaultTtlAsIso8601": "PT1H",
        "feedback": { "lockDurationAsIso8601": "PT1M", "ttlAsIso8601": "PT48H", "maxDeliveryCount": 100 },
    });
    assert_eq!((&answer, &get(&hub).await?), (&set, &set));
    hub.call("PATCH", "/ironhub/v1/settings", &[], &json!({ "subscriptionsMax": 9 })).await?.expect(200)?;
    patch(&hub, json!({ "feedback": { "maxDeliveryCount": null } })).await?.expect(200)?;
    let partly = get(&hub).await?;
    assert_eq!((&partly["maxDeliveryCount"], &partly["feedback"]["maxDeliveryCount"]), (&json!(5), &Value::Null));
    let hub = hub.kill_and_restart().await?;
    assert_eq!(get(&hub).await?, partly);
    let put = hub.call("PUT", "/ironhub/v1/settings", &[("If-Match", "*")], &json!({ "subscriptionsMax": 9 })).await?;
    assert_eq!(put.expect(200)?.json()?["cloudToDevice"], unset, "what a PUT does not name is taken back");
    Ok(())
}

#[tokio::test]
async fn values_out_of_their_range_are_refused_by_name() -> TestResult {
    let hub = Hub::start().await?;
    for (change, said) in [
        (json!({ "defaultTtlAsIso8601": "PT59S" }), "cloudToDevice.defaultTtlAsIso8601 must be between PT1M and P2D"),
        (json!({ "defaultTtlAsIso8601": "P2DT1S" }), "cloudToDevice.defaultTtlAsIso8601 must be between PT1M and P2D"),
        (json!({ "defaultTtlAsIso8601": "P1M" }), "ISO 8601 duration"),
        (json!({ "defaultTtlAsIso8601": 3600 }), "ISO 8601 duration"),
        (json!({ "maxDeliveryCount": 0 }), "cloudToDevice.maxDeliveryCount must be between 1 and 100"),
        (json!({ "maxDeliveryCount": 101 }), "cloudToDevice.maxDeliveryCount must be between 1 and 100"),
        (json!({ "maxDeliveryCount": "10" }), "whole number"),
        (json!({ "feedback": { "ttlAsIso8601": "PT49H" } }), "feedback.ttlAsIso8601 must be between PT1M and P2D"),
        (json!({ "feedback": { "lockDurationAsIso8601": "PT4S" } }), "must be between PT5S and PT5M"),
        (json!({ "feedback": { "lockDurationAsIso8601": "PT301S" } }), "must be between PT5S and PT5M"),
        (json!({ "feedback": { "maxDeliveryCount": 101 } }), "feedback.maxDeliveryCount must be between 1 and 100"),
        (json!({ "feedback": { "nonsense": 1 } }), "cloudToDevice.feedback has no setting 'nonsense'"),
        (json!({ "nonsense": 1 }), "cloudToDevice has no setting 'nonsense'"),
        (json!("PT1H"), "cloudToDevice is an object"),
    ] {
        let refused = patch(&hub, change.clone()).await?.expect(400)?;
        assert_eq!(refused.error_name()?, "ArgumentInvalid");
        let text = String::from_utf8_lossy(&refused.body).into_owned();
        assert!(text.contains(said), "{change}: {text}");
    }
    assert_eq!(get(&hub).await?["maxDeliveryCount"], Value::Null);
    Ok(())
}

#[tokio::test]
async fn messages_follow_the_settings() -> TestResult {
    let hub = Hub::start().await?;
    let device = hub.new_device().await?;
    assert_eq!(life_of_a_message(&hub, &device).await?, 3600);
    send(&hub, &device, &[], "sent before").await?.expect(204)?;
    patch(&hub, json!({ "defaultTtlAsIso8601": "PT2M", "maxDeliveryCount": 1 })).await?.expect(200)?;
    let before = receive(&hub, &device).await?.unwrap();
    eventually("messages live shorter", async || Ok(life_of_a_message(&hub, &device).await? == 120)).await?;
    let abandon = async |message: &Response| {
        settle(&hub, &device, "POST", &format!("/{}/abandon", lock_token(message)?)).await?.expect(204)
    };
    abandon(&before).await?;
    assert_eq!(count(&hub, &device).await?, 1, "a message keeps the count that it was sent with");
    let again = receive(&hub, &device).await?.unwrap();
    settle(&hub, &device, "DELETE", &format!("/{}", lock_token(&again)?)).await?.expect(204)?;
    send(&hub, &device, &[], "sent afterwards").await?.expect(204)?;
    abandon(&receive(&hub, &device).await?.unwrap()).await?;
    assert_eq!(count(&hub, &device).await?, 0, "the first abandon is one too many");
    patch(&hub, Value::Null).await?.expect(200)?;
    eventually("the process says again", async || Ok(life_of_a_message(&hub, &device).await? == 3600)).await
}

#[tokio::test]
async fn feedback_follows_the_settings() -> TestResult {
    let hub = hub_without_flush().await?;
    let device = hub.new_device().await?;
    send(&hub, &device, &[("iothub-ack", "full")], "x").await?.expect(204)?;
    let message = receive(&hub, &device).await?.unwrap();
    settle(&hub, &device, "DELETE", &format!("/{}", lock_token(&message)?)).await?.expect(204)?;
    let first = feedback(&hub).await?.unwrap();
    let feedback_settings = json!({ "lockDurationAsIso8601": "PT5S", "maxDeliveryCount": 2 });
    patch(&hub, json!({ "defaultTtlAsIso8601": "PT2M", "feedback": feedback_settings })).await?.expect(200)?;
    // The life of a message shows that the change has arrived.
    eventually("messages live shorter", async || Ok(life_of_a_message(&hub, &device).await? == 120)).await?;
    abandon_feedback(&hub, &first).await?.expect(204)?;
    let locked = Instant::now();
    let second = feedback(&hub).await?.unwrap();
    assert!(feedback(&hub).await?.is_none(), "it is in hand");
    let mut third = None;
    eventually("the lock ends", async || {
        third = feedback(&hub).await?;
        Ok(third.is_some())
    })
    .await?;
    let held = locked.elapsed();
    assert!((Duration::from_secs(4)..Duration::from_secs(20)).contains(&held), "{held:?}, by default 60 s");
    assert_eq!(abandon_feedback(&hub, &second).await?.expect(412)?.error_name()?, "DeviceMessageLockLost");
    abandon_feedback(&hub, &third.unwrap()).await?.expect(204)?;
    assert!(feedback(&hub).await?.is_none(), "given back twice, it is dropped");
    Ok(())
}
