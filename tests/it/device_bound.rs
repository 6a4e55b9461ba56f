//! Messages for devices over HTTPS: queue, locks, limits (messaging §4, rest §16, §17).

use std::time::Duration;

use ironhub_tests::{Device, Hub, HubOptions, Response, TestResult, eventually};
use serde_json::{Value, json};

fn path(device: &Device, rest: &str) -> String {
    format!("/devices/{}/messages/devicebound{rest}", device.device_id)
}

pub(super) async fn send(hub: &Hub, device: &Device, headers: &[(&str, &str)], body: &str) -> TestResult<Response> {
    let token = hub.policy_token("service")?;
    hub.call_as(&token, "POST", &path(device, ""), headers, body.as_bytes()).await
}

pub(super) async fn receive(hub: &Hub, device: &Device) -> TestResult<Option<Response>> {
    let response = hub.call_as(&device.token(), "GET", &path(device, ""), &[], b"").await?;
    if response.status == 204 { Ok(None) } else { response.expect(200).map(Some) }
}

pub(super) fn lock_token(response: &Response) -> TestResult<String> {
    let etag = response.header("etag").unwrap_or_default();
    Ok(etag.strip_prefix('"').and_then(|etag| etag.strip_suffix('"')).unwrap().to_owned())
}

pub(super) async fn settle(hub: &Hub, device: &Device, method: &str, rest: &str) -> TestResult<Response> {
    hub.call_as(&device.token(), method, &path(device, rest), &[], b"").await
}

pub(super) async fn count(hub: &Hub, device: &Device) -> TestResult<Value> {
    let device = hub.call("GET", &format!("/devices/{}", device.device_id), &[], &Value::Null).await?.expect(200)?;
    Ok(device.json()?["cloudToDeviceMessageCount"].clone())
}

/// The feedback about the device, each as message id and status code, once so many are there.
async fn feedback(hub: &Hub, device: &Device, wanted: usize) -> TestResult<Vec<(String, String)>> {
    let token = hub.policy_token("service")?;
    let mut found = Vec::new();
    eventually("feedback", async || {
        let response = hub.call_as(&token, "GET", "/messages/serviceBound/feedback", &[], b"").await?;
        if response.status == 200 {
            assert_eq!(response.header("content-type"), Some("application/vnd.microsoft.iothub.feedback.json"));
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            for record in response.json()?.as_array().into_iter().flatten() {
                assert_eq!(text(&record["enqueuedTimeUtc"]).len(), "2026-01-01T00:00:00.1234567Z".len());
                if record["deviceId"] == *device.device_id {
                    assert_eq!(record["deviceGenerationId"], *device.generation_id);
                    found.push((text(&record["originalMessageId"]), text(&record["statusCode"])));
                }
            }
            let token_path = format!("/messages/serviceBound/feedback/{}", lock_token(&response)?);
            hub.call_as(&token, "DELETE", &token_path, &[], b"").await?.expect(204)?;
        }
        Ok(found.len() >= wanted)
    })
    .await?;
    Ok(found)
}

async fn quick_hub(settings: &str) -> TestResult<Hub> {
    let config = format!("[gateway.cloud_to_device]\nfeedback_flush_seconds = 0\n{settings}\n");
    Hub::start_with(HubOptions { config, ..HubOptions::default() }).await
}

#[tokio::test]
async fn a_message_arrives_with_all_that_was_set() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    assert!(receive(&hub, &device).await?.is_none());
    let headers = [
        ("iothub-messageid", "m1"),
        ("iothub-correlationid", "c1"),
        ("iothub-userid", "u1"),
        ("iothub-ack", "full"),
        ("iothub-contenttype", "application/json"),
        ("Content-Encoding", "utf-8"),
        ("iothub-app-level", "high"),
        ("iothub-to", "/anything"),
    ];
    send(&hub, &device, &headers, r#"{"x":1}"#).await?.expect(204)?;
    send(&hub, &device, &[], "second").await?.expect(204)?;
    assert_eq!(count(&hub, &device).await?, 2);
    let first = receive(&hub, &device).await?.unwrap();
    assert_eq!(first.body, br#"{"x":1}"#);
    for (name, value) in [
        ("iothub-messageid", "m1"),
        ("iothub-correlationid", "c1"),
        ("iothub-userid", "u1"),
        ("iothub-ack", "full"),
        ("contenttype", "application/json"),
        ("contentencoding", "utf-8"),
        ("iothub-app-level", "high"),
        ("iothub-sequencenumber", "1"),
        ("iothub-deliverycount", "0"),
    ] {
        assert_eq!(first.header(name), Some(value), "{name}: {first}");
    }
    assert_eq!(first.header("iothub-to"), Some(path(&device, "").replace("bound", "Bound").as_str()));
    for name in ["ETag", "ContentType", "ContentEncoding", "iothub-enqueuedtime", "iothub-expiry"] {
        assert!(first.has_header_spelled(name), "{name}: {first}");
    }
    // The first one is locked, the next one is the second.
    let second = receive(&hub, &device).await?.unwrap();
    assert_eq!((second.body.as_slice(), second.header("iothub-messageid")), (&b"second"[..], Some("")));
    assert!(receive(&hub, &device).await?.is_none());
    assert_eq!(count(&hub, &device).await?, 2);
    for message in [&first, &second] {
        let completed = settle(&hub, &device, "DELETE", &format!("/{}", lock_token(message)?)).await?;
        assert_eq!(completed.status, 204);
    }
    assert_eq!(count(&hub, &device).await?, 0);
    Ok(())
}

#[tokio::test]
async fn an_abandoned_message_comes_back_in_its_place_until_it_is_dropped() -> TestResult {
    let hub = quick_hub("max_delivery_count = 3").await?;
    let device = hub.new_device().await?;
    send(&hub, &device, &[("iothub-messageid", "m1"), ("iothub-ack", "negative")], "1").await?.expect(204)?;
    send(&hub, &device, &[("iothub-messageid", "m2"), ("iothub-ack", "positive")], "2").await?.expect(204)?;
    for deliveries in ["0", "1", "2"] {
        let message = receive(&hub, &device).await?.unwrap();
        assert_eq!((message.body.as_slice(), message.header("iothub-deliverycount")), (&b"1"[..], Some(deliveries)));
        settle(&hub, &device, "POST", &format!("/{}/abandon", lock_token(&message)?)).await?.expect(204)?;
    }
    let message = receive(&hub, &device).await?.unwrap();
    assert_eq!(message.body, b"2");
    settle(&hub, &device, "DELETE", &format!("/{}", lock_token(&message)?)).await?.expect(204)?;
    let mut heard = feedback(&hub, &device, 2).await?;
    heard.sort();
    assert_eq!(heard, [("m1".into(), "DeliveryCountExceeded".into()), ("m2".into(), "Success".into())]);
    Ok(())
}

#[tokio::test]
async fn a_lost_lock_settles_nothing() -> TestResult {
    let hub = quick_hub("lock_seconds = 1").await?;
    let device = hub.new_device().await?;
    send(&hub, &device, &[], "1").await?.expect(204)?;
    let first = receive(&hub, &device).await?.unwrap();
    assert!(receive(&hub, &device).await?.is_none());
    let mut again = None;
    eventually("the lock ends", async || {
        again = receive(&hub, &device).await?;
        Ok(again.is_some())
    })
    .await?;
    let again = again.unwrap();
    assert_eq!(again.header("iothub-deliverycount"), Some("0"), "time does not count as a failure");
    for (method, rest) in [("DELETE", ""), ("DELETE", "?reject"), ("POST", "/abandon")] {
        let rest = match rest {
            "?reject" => format!("/{}?reject&api-version=2021-04-12", lock_token(&first)?),
            rest => format!("/{}{rest}", lock_token(&first)?),
        };
        let lost = settle(&hub, &device, method, &rest).await?.expect(412)?;
        assert_eq!(lost.error_name()?, "DeviceMessageLockLost");
    }
    settle(&hub, &device, "DELETE", "/nonsense").await?.expect(412)?;
    settle(&hub, &device, "DELETE", &format!("/{}", lock_token(&again)?)).await?.expect(204)?;
    settle(&hub, &device, "DELETE", &format!("/{}", lock_token(&again)?)).await?.expect(412)?;
    Ok(())
}

#[tokio::test]
async fn outcomes_become_the_feedback_that_was_asked_for() -> TestResult {
    let hub = quick_hub("").await?;
    let device = hub.new_device().await?;
    let acknowledgements = ["none", "positive", "negative", "full"];
    for outcome in ["completed", "rejected", "purged"] {
        for acknowledgement in acknowledgements {
            let id = format!("{outcome}-{acknowledgement}");
            let headers = [("iothub-messageid", id.as_str()), ("iothub-ack", acknowledgement)];
            send(&hub, &device, &headers, "x").await?.expect(204)?;
            if outcome == "purged" {
                continue;
            }
            let lock_token = lock_token(&receive(&hub, &device).await?.unwrap())?;
            let rest = match outcome {
                "completed" => format!("/{lock_token}"),
                // As one client sends it.
                _ if acknowledgement == "full" => format!("/{lock_token}%3Freject=true"),
                _ => format!("/{lock_token}?reject&api-version=2021-04-12"),
            };
            settle(&hub, &device, "DELETE", &rest).await?.expect(204)?;
        }
    }
    let purge = format!("/devices/{}/commands", device.device_id);
    let purged = hub.call("DELETE", &purge, &[], &Value::Null).await?.expect(200)?.json()?;
    assert_eq!(purged, json!({ "deviceId": device.device_id, "moduleId": null, "totalMessagesPurged": 4 }));
    assert_eq!(count(&hub, &device).await?, 0);
    let mut heard = feedback(&hub, &device, 6).await?;
    heard.sort();
    let expected = [
        ("completed-full", "Success"),
        ("completed-positive", "Success"),
        ("purged-full", "Purged"),
        ("purged-negative", "Purged"),
        ("rejected-full", "Rejected"),
        ("rejected-negative", "Rejected"),
    ];
    assert_eq!(heard, expected.map(|(id, status)| (id.to_owned(), status.to_owned())));
    Ok(())
}

#[tokio::test]
async fn messages_expire_and_are_never_handed_out_late() -> TestResult {
    let hub = quick_hub("default_ttl_seconds = 1").await?;
    let device = hub.new_device().await?;
    send(&hub, &device, &[("iothub-messageid", "late"), ("iothub-ack", "full")], "x").await?.expect(204)?;
    let past = [("iothub-messageid", "past"), ("iothub-ack", "full"), ("iothub-expiry", "2020-01-01T00:00:00Z")];
    send(&hub, &device, &past, "x").await?.expect(204)?;
    let far = [("iothub-expiry", "2999-01-01T00:00:00Z")];
    assert_eq!(send(&hub, &device, &far, "x").await?.expect(403)?.error_name()?, "InvalidMessageExpiryTime");
    assert_eq!(
        send(&hub, &device, &[("iothub-expiry", "soon")], "x").await?.expect(400)?.error_name()?,
        "ArgumentInvalid"
    );
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert!(receive(&hub, &device).await?.is_none());
    eventually("they leave the queue by themselves", async || Ok(count(&hub, &device).await? == 0)).await?;
    let mut heard = feedback(&hub, &device, 2).await?;
    heard.sort();
    assert_eq!(heard, [("late".into(), "Expired".into()), ("past".into(), "Expired".into())]);
    Ok(())
}

#[tokio::test]
async fn limits_and_refusals_of_sending() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    for _ in 0..50 {
        send(&hub, &device, &[], "x").await?.expect(204)?;
    }
    let full = send(&hub, &device, &[], "x").await?.expect(403)?;
    assert_eq!(full.error_name()?, "DeviceMaximumQueueDepthExceeded");
    let locked = receive(&hub, &device).await?.unwrap();
    send(&hub, &device, &[], "x").await?.expect(403)?;
    settle(&hub, &device, "DELETE", &format!("/{}", lock_token(&locked)?)).await?.expect(204)?;
    send(&hub, &device, &[], "x").await?.expect(204)?;
    let device = hub.new_device().await?;
    let large = "x".repeat(64 * 1024);
    send(&hub, &device, &[], &large).await?.expect(204)?;
    let large = send(&hub, &device, &[("iothub-messageid", "m")], &large).await?.expect(413)?;
    assert_eq!(large.error_name()?, "MessageTooLarge");
    send(&hub, &device, &[("iothub-ack", "maybe")], "x").await?.expect(400)?;
    let nobody = Device { device_id: "nobody".into(), ..device.clone() };
    assert_eq!(send(&hub, &nobody, &[], "x").await?.expect(404)?.error_name()?, "DeviceNotFound");
    hub.update_device(&device, json!({ "status": "disabled" })).await?.expect(200)?;
    assert_eq!(send(&hub, &device, &[], "x").await?.expect(404)?.error_name()?, "DeviceNotFound");
    Ok(())
}

#[tokio::test]
async fn messages_and_feedback_survive_a_kill_and_messages_die_with_their_device() -> TestResult {
    let hub = quick_hub("").await?;
    let device = hub.new_device().await?;
    for id in ["1", "2"] {
        send(&hub, &device, &[("iothub-messageid", id), ("iothub-ack", "full")], id).await?.expect(204)?;
    }
    let first = receive(&hub, &device).await?.unwrap();
    settle(&hub, &device, "DELETE", &format!("/{}", lock_token(&first)?)).await?.expect(204)?;
    let hub = hub.kill_and_restart().await?;
    let device = Device { host_name: hub.host_name.clone(), ..device };
    assert_eq!(receive(&hub, &device).await?.unwrap().body, b"2");
    assert_eq!(feedback(&hub, &device, 1).await?, [("1".into(), "Success".into())]);
    hub.delete_device(&device).await?.expect(204)?;
    let device = hub.create_device(&device.device_id).await?;
    assert_eq!(count(&hub, &device).await?, 0);
    send(&hub, &device, &[], "new").await?.expect(204)?;
    assert_eq!(receive(&hub, &device).await?.unwrap().header("iothub-sequencenumber"), Some("1"));
    Ok(())
}
