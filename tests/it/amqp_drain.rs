//! Who drains a link hears when there is nothing more, whenever it asks (AMQP 1.0 §2.6.7): clients wait for that.

use ironhub_tests::{AmqpScript, Hub, TestResult};

use crate::{
    amqp_devices::{queue_is, send},
    amqp_telemetry::{address, message},
};

/// The flow comes while the place of the reader is still asked for.
#[tokio::test]
async fn a_reader_of_events_drains_before_its_attach_is_answered() -> TestResult {
    let hub = Hub::start().await?;
    let mut client = AmqpScript::authenticated(&hub, &hub.policy_token("service")?).await?;
    client
        .play(
            r#"
    > 1 begin{NULL, 1, 5000, 5000}
    > 1 attach{"r", 0, true, NULL, NULL, source{"events/ConsumerGroups/$Default/Partitions/0"}, target{"t"}}
    > 1 flow{NULL, 5000, 1, 5000, 0, 0, 10, NULL, true, true}
    < 1 begin<>
    < 1 attach{"r", 0, false, 1ub, 0ub, <>
    # The echo that it asked for; then there is nothing.
    < 1 flow{1, 5000, 1, 4294967295, 0, 0, 10, 0, true, false, NULL}
    < 1 flow{1, 5000, 1, 4294967295, 0, 10, 0, 0, true, false, NULL}
    # Again, and again without credit.
    > 1 flow{1, 5000, 1, 5000, 0, 10, 3, NULL, true}
    < 1 flow{1, 5000, 1, 4294967295, 0, 13, 0, 0, true, false, NULL}
    > 1 flow{1, 5000, 1, 5000, 0, 13, 0, NULL, true}
    < 1 flow{1, 5000, 1, 4294967295, 0, 13, 0, 0, true, false, NULL}
"#,
        )
        .await
}

/// With as many events as credit nothing is left to say but that.
#[tokio::test]
async fn a_reader_of_events_drains_what_uses_its_credit_up() -> TestResult {
    let hub = Hub::start().await?;
    let device = hub.new_device().await?;
    let partition = model::event_partition(&device.device_id.parse()?, 4);
    let mut sender = hub.amqp_as(&device.token()).await?;
    let link = sender.attach_sender(&address(&device)).await?.unwrap();
    for body in [b"a", b"b", b"c"] {
        sender.send(link, &message(body)).await?;
    }
    let mut client = AmqpScript::authenticated(&hub, &hub.policy_token("service")?).await?;
    client.set("partition", &partition.to_string());
    client
        .play(
            r#"
    > 1 begin{NULL, 1, 5000, 5000}
    > 1 attach{"r", 0, true, NULL, NULL, source{"events/ConsumerGroups/$Default/Partitions/<partition>"}, target{"t"}}
    > 1 flow{NULL, 5000, 1, 5000, 0, 0, 2, NULL, true}
    < 1 begin<>
    < 1 attach<>
    < 1 transfer{0, 0, <>, 0, true, <> data b"a"
    < 1 transfer{0, 1, <>, 0, true, <> data b"b"
    < 1 flow{1, 5000, 3, 4294967295, 0, 2, 0, 0, true, false, NULL}
    > 1 flow{3, 5000, 1, 5000, 0, 2, 5, NULL, true}
    < 1 transfer{0, 2, <>, 0, true, <> data b"c"
    < 1 flow{1, 5000, 4, 4294967295, 0, 7, 0, 0, true, false, NULL}
"#,
        )
        .await
}

#[tokio::test]
async fn a_device_drains_its_messages_before_its_attach_is_answered() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    send(&hub, &device, &[], "only").await?;
    let mut client = AmqpScript::authenticated(&hub, &device.token()).await?;
    client.set("id", &device.device_id);
    client
        .play(
            r#"
    > 1 begin{NULL, 1, 5000, 5000}
    > 1 attach{"r", 0, true, NULL, NULL, source{"/devices/<id>/messages/devicebound"}, target{"t"}}
    > 1 flow{NULL, 5000, 1, 5000, 0, 0, 10, NULL, true}
    < 1 begin<>
    < 1 attach<>
    < 1 transfer{0, 0, <>, 0, NULL, <> data b"only"
    < 1 flow{1, 5000, 2, 4294967295, 0, 10, 0, 0, true, false, NULL}
    > 1 disposition{true, 0, 0, true, accepted{}}
"#,
        )
        .await?;
    queue_is(&hub, &device, 0).await
}
