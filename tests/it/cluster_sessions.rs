//! Sessions, twins, methods and messages across gateways and changes of leader (mqtt §2.6, §2.8, §16.4, §16.6).

use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use ironhub_tests::{
    Cluster, ClusterGateway, Device, Mqtt, Received, TestResult, cluster_keys, eventually, new_cluster_device,
};
use model::{
    Authentication, ETag, HubSettings, Principal, Record, Right, Rights, SharedAccessPolicy, Timestamp, group_of,
    twin::{Patch, SectionChange, TwinChange},
};
use serde_json::{Value, json};
use shard_client::{Acknowledge, MethodRequest, NewMessage, ShardClient};

const DEVICE_GROUPS: u32 = 2;

/// Two gateways, and a device with a key.
async fn start() -> TestResult<(Cluster, ClusterGateway, ClusterGateway, Device)> {
    let cluster = Cluster::start(|config| shard::Config { disk_reserve_bytes: 0, ..config }).await?;
    let (first, second) = (ClusterGateway::start(&cluster).await?, ClusterGateway::start(&cluster).await?);
    let rights = Rights::of(&[Right::RegistryWrite, Right::ServiceConnect, Right::DeviceConnect]);
    let owner = SharedAccessPolicy { name: "owner".into(), keys: cluster_keys(10), rights, etag: ETag(1) };
    let settings = HubSettings { groups: DEVICE_GROUPS, policies: vec![owner], ..HubSettings::default() };
    first.client.initialize_hub(&settings).await?;
    let device = new_cluster_device(&first.client, "d", Authentication::Sas(cluster_keys(1))).await?;
    Ok((cluster, first, second, device))
}

fn principal() -> TestResult<Principal> {
    Ok(Principal::device("d".parse()?))
}

async fn send(client: &ShardClient, body: &str) -> TestResult {
    let record = Record { body: Bytes::copy_from_slice(body.as_bytes()), ..Record::default() };
    let message = NewMessage {
        record,
        acknowledgement: Acknowledge::None,
        expires: Timestamp::from_unix_microseconds(i64::MAX),
        delivery_count_max: 10,
        feedback_kept: Duration::ZERO,
    };
    Ok(client.enqueue_message(&principal()?, &message).await?)
}

async fn write_desired(client: &ShardClient, desired: Value) -> TestResult<u64> {
    let desired = Some(SectionChange::Patch(Patch::parse(desired)?));
    let written = client.update_twin(&principal()?, None, &TwinChange { tags: None, desired }).await?;
    Ok(written.twin.desired.version)
}

fn session(device: &Device) -> mqtt::Connect {
    mqtt::Connect { clean_session: false, ..device.connect() }
}

async fn subscribe_to_everything(client: &mut Mqtt) -> TestResult {
    let filters = [
        ("devices/d/messages/devicebound/#", 1),
        ("$iothub/methods/POST/#", 0),
        ("$iothub/twin/res/#", 0),
        ("$iothub/twin/PATCH/properties/desired/#", 0),
    ];
    let granted = client.subscribe(1, &filters).await?;
    assert_eq!(granted, Received::SubAck { packet_id: 1, codes: vec![1, 0, 0, 0] });
    Ok(())
}

/// A method that the device answers with its payload.
async fn method_works(client: &ShardClient, device: &mut Mqtt, connect_timeout: Duration) -> TestResult {
    let request = MethodRequest {
        name: "echo".into(),
        payload: "7".into(),
        connect_timeout,
        response_timeout: Duration::from_secs(10),
    };
    let (client, target) = (client.clone(), principal()?);
    let answer = tokio::spawn(async move { client.invoke_method(&target, &request).await });
    let (topic, payload) = device.message().await?;
    let request_id = topic.strip_prefix("$iothub/methods/POST/echo/?$rid=").unwrap();
    device.publish(&format!("$iothub/methods/res/200/?$rid={request_id}"), &payload, None).await?;
    assert_eq!(answer.await??.payload, "7");
    Ok(())
}

async fn twin_version(device: &mut Mqtt) -> TestResult<Value> {
    device.publish("$iothub/twin/GET/?$rid=1", b"", None).await?;
    let (topic, twin) = device.json_message().await?;
    assert_eq!(topic, "$iothub/twin/res/200/?$rid=1");
    Ok(twin["desired"]["$version"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_goes_on_at_another_gateway_without_subscribing() -> TestResult {
    let (_cluster, first, second, device) = start().await?;
    let (mut old, _) = first.connect_as(&session(&device), None).await?;
    subscribe_to_everything(&mut old).await?;
    send(&first.client, "not acknowledged").await?;
    let received = old.receive().await.context("the message, first")?;
    let Received::Publish { packet_id: Some(packet_id), duplicate: false, .. } = received else {
        panic!("the message")
    };
    // The newer connection, at the other gateway, wins and has everything.
    let (mut new, present) = second.connect_as(&session(&device), None).await?;
    assert!(present);
    old.expect_closed().await?;
    match new.receive().await.context("the message, again")? {
        Received::Publish { payload, packet_id: Some(again), duplicate: true, .. } => {
            assert_eq!((payload.as_slice(), again), (&b"not acknowledged"[..], packet_id));
        }
        other => panic!("{other:?}"),
    }
    method_works(&first.client, &mut new, Duration::ZERO).await?;
    assert_eq!(twin_version(&mut new).await?, 1);
    write_desired(&first.client, json!({ "a": 1 })).await?;
    assert_eq!(new.json_message().await?.1, json!({ "a": 1, "$version": 2 }));
    // A clean session has nothing.
    let (mut clean, present) = first.connect_as(&device.connect(), None).await?;
    assert!(!present);
    write_desired(&first.client, json!({ "a": 2 })).await?;
    clean.publish("$iothub/twin/GET/?$rid=1", b"", None).await?;
    send(&first.client, "unheard").await?;
    assert_eq!(clean.receive_within(Duration::from_millis(300)).await?, None);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_missed_when_the_leader_dies() -> TestResult {
    let (mut cluster, first, second, device) = start().await?;
    let (mut client, _) = first.connect_as(&session(&device), None).await?;
    subscribe_to_everything(&mut client).await?;
    let writer = second.client.clone();
    let writing = tokio::spawn(async move {
        let mut last = 1;
        for number in 0..60 {
            last = write_desired(&writer, json!({ "n": number })).await?;
            if number % 6 == 0 {
                send(&writer, &number.to_string()).await?;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        TestResult::Ok(last)
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let group = group_of(&"d".parse()?, DEVICE_GROUPS);
    let killed = cluster.leader(group).await?;
    cluster.kill(killed)?;
    // The device is connected all the time, and hears of every version once, in order.
    let (mut version, mut bodies, begun) = (1, Vec::new(), Instant::now());
    while (version < 61 || bodies.len() < 10) && begun.elapsed() < Duration::from_secs(30) {
        match client.receive().await? {
            Received::Publish { topic, payload, packet_id: None, .. } => {
                version += 1;
                let patch: Value = serde_json::from_slice(&payload)?;
                assert_eq!((topic.contains("/desired/"), &patch["$version"]), (true, &json!(version)), "{topic}");
            }
            Received::Publish { payload, packet_id: Some(packet_id), duplicate, .. } => {
                let body = String::from_utf8(payload)?;
                // At least once: what was not settled when the leader died may come again, and says so.
                assert_eq!(bodies.contains(&body), duplicate, "{body}");
                if !duplicate {
                    bodies.push(body);
                }
                let mut bytes = Vec::new();
                mqtt::client::puback(packet_id, &mut bytes);
                client.send(&bytes).await?;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(writing.await??, 61);
    assert_eq!((version, bodies.len()), (61, 10), "{bodies:?}");
    method_works(&second.client, &mut client, Duration::ZERO).await?;
    assert_eq!(twin_version(&mut client).await?, 61);
    eventually("all is settled", async || {
        let twin = second.client.get_twin(&principal()?).await?.unwrap();
        assert!(twin.device.connected, "it never was disconnected");
        Ok(twin.device.cloud_to_device_message_count == 0)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_method_right_after_a_change_of_leader_waits_for_the_device() -> TestResult {
    let (mut cluster, first, second, device) = start().await?;
    let (mut client, _) = first.connect_as(&session(&device), None).await?;
    subscribe_to_everything(&mut client).await?;
    // So that the next leader knows that the device was connected.
    eventually("the state is written", async || {
        let seen = second.client.get_device(&"d".parse()?).await?;
        Ok(seen.is_some_and(|device| device.connected))
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let killed = cluster.leader(group_of(&"d".parse()?, DEVICE_GROUPS)).await?;
    cluster.kill(killed)?;
    cluster.leader(group_of(&"d".parse()?, DEVICE_GROUPS)).await?;
    method_works(&second.client, &mut client, Duration::ZERO).await
}
