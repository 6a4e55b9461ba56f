//! Readers of the events over AMQP (amqp §8, §9): what SDKs do not show. The rest is in `tests/sdk`.

use amqp::{Attach, AttachTarget, Fields, Message, Role, SaslCode, Source, Target, Value, condition};
use ironhub_tests::{Amqp, Hub, TestResult, plain};
use model::{DeviceId, event_partition};
use serde_json::{Value as Json, json};

use crate::amqp_telemetry::{address, message};

/// Of a hub under test.
const PARTITIONS: u32 = 4;
const CONSUMER_GROUP: &str = "/ironhub/v1/consumer-groups/of-the-test";
const POLICY: &str = "/ironhub/v1/policies/event-reader";

async fn back_end(hub: &Hub) -> TestResult<Amqp> {
    hub.amqp_as(&hub.policy_token("service")?).await
}

pub fn receiver(client: &mut Amqp, address: &str, epoch: Option<i64>) -> Attach {
    let properties = Fields::new(|map| {
        if let Some(epoch) = epoch {
            map.symbol("com.microsoft:epoch", &Value::Long(epoch));
        }
    });
    Attach {
        source: Some(Source::at(address)),
        target: Some(AttachTarget::Target(Target::at("reader"))),
        properties: Some(properties),
        ..client.new_attach(Role::Receiver)
    }
}

#[tokio::test]
async fn the_hubs_own_host_sends_readers_to_the_event_hub() -> TestResult {
    let hub = Hub::shared().await?;
    let mut client = back_end(&hub).await?;
    for (asked, expected) in [
        ("messages/events", "events".to_owned()),
        ("/messages/events/$management", "events/$management".to_owned()),
        ("messages/events/ConsumerGroups/$Default/Partitions/0", "events/ConsumerGroups/$Default/Partitions/0".into()),
    ] {
        for asked in [asked.to_owned(), format!("amqps://{}/{}", hub.host_name, asked.trim_start_matches('/'))] {
            let error = client.attach_receiver(&asked, 1).await?.expect_err("a redirect");
            assert_eq!(&*error.condition, condition::LINK_REDIRECT);
            let info = error.info.unwrap();
            let (host, address) = (&hub.host_name, format!("amqps://{}:5671/{expected}", hub.host_name));
            assert_eq!(info.get("hostname"), Some(Value::String(host)));
            assert_eq!(info.get("network-host"), Some(Value::String(host)));
            assert_eq!(info.get("port"), Some(Value::Int(5671)));
            assert_eq!(info.get("address"), Some(Value::String(&address)));
        }
    }
    Ok(())
}

#[tokio::test]
async fn only_policies_that_may_read_hear_what_there_is() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    for token in [device.token(), hub.policy_token("device")?, hub.policy_token("registryRead")?] {
        let mut client = hub.amqp_as(&token).await?;
        for address in
            ["events/ConsumerGroups/$Default/Partitions/0", "$management", "messages/events", "x/$management"]
        {
            let error = client.attach_receiver(address, 1).await?.expect_err("a refusal");
            assert_eq!(&*error.condition, condition::UNAUTHORIZED_ACCESS, "{address}");
        }
    }
    let mut client = back_end(&hub).await?;
    for (address, expected) in [
        ("other/ConsumerGroups/$Default/Partitions/0", condition::NOT_FOUND),
        ("events/ConsumerGroups/absent/Partitions/0", condition::NOT_FOUND),
        ("events/ConsumerGroups/$Default/Partitions/4", condition::NOT_FOUND),
        ("other/$management", condition::NOT_FOUND),
        ("events", condition::NOT_FOUND),
    ] {
        let error = client.attach_receiver(address, 1).await?.expect_err("a refusal");
        assert_eq!(&*error.condition, expected, "{address}");
    }
    // Events come from devices only.
    for (address, expected) in [
        ("events", condition::UNAUTHORIZED_ACCESS),
        ("Events/Partitions/0", condition::UNAUTHORIZED_ACCESS),
        ("amqps://hub/events/Publishers/p", condition::UNAUTHORIZED_ACCESS),
        ("other", condition::NOT_FOUND),
    ] {
        let error = client.attach_sender(address).await?.expect_err("a refusal");
        assert_eq!(&*error.condition, expected, "{address}");
    }
    Ok(())
}

#[tokio::test]
async fn a_reader_gets_what_a_device_sends_and_loses_its_place_to_a_higher_epoch() -> TestResult {
    let hub = Hub::shared().await?;
    hub.call("PUT", CONSUMER_GROUP, &[], &Json::Null).await?.expect(201)?;
    let device = hub.new_device().await?;
    let partition = event_partition(&device.device_id.parse::<DeviceId>()?, PARTITIONS);
    let path = format!("events/ConsumerGroups/Of-The-Test/Partitions/{partition}");
    let (mut first, mut second) = (back_end(&hub).await?, back_end(&hub).await?);
    let attach = receiver(&mut first, &path, Some(1));
    let (link, answer) = first.attach(attach, 100).await?.unwrap();
    assert_eq!(answer.snd_settle_mode, Some(amqp::SenderSettleMode::Settled));
    let mut sender = hub.amqp_as(&device.token()).await?;
    let telemetry = sender.attach_sender(&address(&device)).await?.unwrap();
    sender.send(telemetry, &message(b"hello")).await?;
    loop {
        let delivery = first.receive(link).await?;
        assert!(delivery.settled && delivery.tag.len() == 16);
        let event = Message::decode(&delivery.payload)?;
        let of = event.message_annotations.and_then(|all| all.get("iothub-connection-device-id"));
        if of == Some(Value::String(&device.device_id)) {
            assert_eq!(event.body.data(), Some(&b"hello"[..]));
            break;
        }
    }
    let lower = receiver(&mut second, &path, Some(0));
    let refused = second.attach(lower, 1).await?.expect_err("a refusal");
    assert_eq!(&*refused.condition, condition::LINK_STOLEN);
    let higher = receiver(&mut second, &path, Some(2));
    let (higher, _) = second.attach(higher, 1).await?.unwrap();
    assert_eq!(&*first.detached(link).await?.condition, condition::LINK_STOLEN);
    // The consumer group goes, and its reader with it.
    hub.call("DELETE", CONSUMER_GROUP, &[("If-Match", "*")], &Json::Null).await?.expect(204)?;
    assert_eq!(&*second.detached(higher).await?.condition, condition::NOT_FOUND);
    Ok(())
}

/// Clients of Event Hubs that make no tokens show the key itself (amqp §3.1).
#[tokio::test]
async fn the_name_and_a_key_of_a_policy_open_the_events_and_nothing_else() -> TestResult {
    let hub = Hub::shared().await?;
    let policy = hub.call("PUT", POLICY, &[], &json!({ "rights": "ServiceConnect" })).await?.expect(201)?.json()?;
    let key = policy["primaryKey"].as_str().unwrap();
    for (user, password) in [("event-reader", "nonsense"), ("event-reader", ""), ("nobody", key), ("", key)] {
        assert_eq!(hub.amqp_with(plain(user, password), None).await?.1, SaslCode::Auth, "{user}");
    }
    let (mut client, code) = hub.amqp_with(plain("Event-Reader", key), None).await?;
    assert_eq!(code, SaslCode::Ok);
    let link = client.attach_receiver("events/ConsumerGroups/$Default/Partitions/0", 1).await?.unwrap();
    let refused = client.attach_sender("/messages/devicebound").await?.expect_err("a refusal");
    assert_eq!(&*refused.condition, condition::UNAUTHORIZED_ACCESS);
    let path = format!("{POLICY}/regenerate-key");
    hub.call("POST", &path, &[], &json!({ "key": "primary" })).await?.expect(200)?;
    assert_eq!(&*client.detached(link).await?.condition, condition::UNAUTHORIZED_ACCESS);
    hub.call("DELETE", POLICY, &[("If-Match", "*")], &Json::Null).await?.expect(204)?;
    Ok(())
}
