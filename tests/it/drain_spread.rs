//! A gateway that goes in a cluster: its connections end one after the other, and are served until their turn comes.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use amqp::DeliveryState;
use ironhub_tests::{Amqp, Device, Https, Hub, HubOptions, Mqtt, Received, TestResult, eventually};
use tokio::{net::TcpStream, task::JoinHandle, time::sleep};

use crate::amqp_telemetry::{address, message};

const SPREAD: Duration = Duration::from_secs(6);
const OF_EACH: usize = 30;
/// Between two messages, or two calls.
const PAUSE: Duration = Duration::from_millis(100);

/// What a device had acknowledged, and when it was served last.
struct Served {
    bodies: Vec<String>,
    until: Instant,
}

impl Served {
    fn new() -> Self {
        Self { bodies: Vec::new(), until: Instant::now() }
    }

    fn acknowledged(&mut self, body: String) {
        self.bodies.push(body);
        self.until = Instant::now();
    }
}

/// Sends until the connection ends.
fn send_by_mqtt(mut client: Mqtt, device: Device) -> JoinHandle<Served> {
    tokio::spawn(async move {
        let mut served = Served::new();
        for number in 1_u16.. {
            let body = format!("{} {number}", device.device_id);
            let sent = client.publish(&device.events_topic(), body.as_bytes(), Some(number)).await;
            match sent.and(client.receive().await) {
                Ok(Received::PubAck(id)) if id == number => served.acknowledged(body),
                _ => break,
            }
            sleep(PAUSE).await;
        }
        served
    })
}

fn send_by_amqp(mut client: Amqp, link: amqp::LinkId, device: Device) -> JoinHandle<Served> {
    tokio::spawn(async move {
        let mut served = Served::new();
        for number in 1.. {
            let body = format!("{} {number}", device.device_id);
            match client.send(link, &message(body.as_bytes())).await {
                Ok(Some(DeliveryState::Accepted)) => served.acknowledged(body),
                _ => break,
            }
            sleep(PAUSE).await;
        }
        served
    })
}

/// Answers methods until the connection ends.
fn answer_methods(mut client: Mqtt) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Ok((topic, _)) = client.message().await {
            let request_id = topic.rsplit_once('=').map_or("", |(_, id)| id);
            let answer = format!("$iothub/methods/res/200/?$rid={request_id}");
            if client.publish(&answer, b"{}", None).await.is_err() {
                return;
            }
        }
    })
}

/// Calls a method again and again until the connection of one of the two ends; when it was answered last.
fn call_methods(mut client: Https, token: String, device: Device) -> JoinHandle<Served> {
    tokio::spawn(async move {
        let path = format!("/twins/{}/methods?api-version=2021-04-12", device.device_id);
        let mut served = Served::new();
        let call = br#"{"methodName":"m","responseTimeoutInSeconds":5}"#;
        while client.request("POST", &path, &[("Authorization", &token)], call).await.is_ok_and(|it| it.status == 200) {
            served.acknowledged(String::new());
            sleep(PAUSE).await;
        }
        served
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_end_one_after_the_other_and_are_served_until_then() -> TestResult {
    let config = format!("drain_timeout_seconds = 18\n[gateway]\ndrain_spread_seconds = {}", SPREAD.as_secs());
    let mut hub = Hub::start_with(HubOptions { config, ..HubOptions::default() }).await?;
    let (mut senders, mut callers) = (Vec::new(), Vec::new());
    for _ in 0..OF_EACH {
        let device = hub.new_device().await?;
        senders.push(send_by_mqtt(hub.connect(&device).await?, device));
        let device = hub.new_device().await?;
        let mut client = hub.amqp_as(&device.token()).await?;
        let link = client.attach_sender(&address(&device)).await?.unwrap();
        senders.push(send_by_amqp(client, link, device));
    }
    for _ in 0..OF_EACH / 3 {
        let device = hub.new_device().await?;
        let mut client = hub.connect(&device).await?;
        client.subscribe(1, &[("$iothub/methods/POST/#", 0)]).await?;
        answer_methods(client);
        callers.push(call_methods(hub.https().await?, hub.policy_token("service")?, device));
    }
    sleep(2 * PAUSE).await;
    hub.terminate()?;
    let begin = Instant::now();
    eventually("newcomers are refused", async || {
        let mut refused = true;
        for address in [hub.mqtt, hub.amqp, hub.https] {
            refused &= TcpStream::connect(address).await.is_err();
        }
        Ok(refused)
    })
    .await?;
    assert!(begin.elapsed() < SPREAD / 2, "from the start of the drain");
    assert_eq!(hub.admin("/readyz").await?, (503, "draining\n".to_owned()));
    let status = hub.ended().await?;
    assert!(status.success(), "{status}\n{}", hub.log());

    let (mut acknowledged, mut ends) = (HashSet::new(), Vec::new());
    for sender in senders {
        let served = sender.await?;
        ends.push(served.until.duration_since(begin));
        acknowledged.extend(served.bodies);
    }
    let before =
        |share: f64| ends.iter().filter(|end| **end < SPREAD.mul_f64(share)).count() as f64 / ends.len() as f64;
    assert!(before(0.25) < 0.5, "all at once: {ends:?}");
    assert!((0.25..0.8).contains(&before(0.5)), "in one half: {ends:?}");
    assert!((0.5..0.97).contains(&before(0.75)), "not to the end: {ends:?}");
    let mut answered_late = 0;
    for caller in callers {
        answered_late += usize::from(caller.await?.until.duration_since(begin) > Duration::from_millis(500));
    }
    assert!(answered_late > 0, "methods are answered while the gateway drains");

    let hub = hub.restart().await?;
    let events = hub.all_events().await?;
    let kept: HashSet<&str> = events.iter().filter_map(|event| event["body"].as_str()).collect();
    let lost: Vec<_> = acknowledged.iter().filter(|body| !kept.contains(body.as_str())).collect();
    assert!(acknowledged.len() > 2 * OF_EACH && lost.is_empty(), "{lost:?} of {}", acknowledged.len());
    Ok(())
}
