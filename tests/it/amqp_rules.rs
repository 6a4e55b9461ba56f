//! Rules that fragile clients force on the hub (amqp §0), frame by frame, where neither the scripts of C#, Java and C nor
//! the transcripts of the library show them at work in the hub.

use std::time::{Duration, Instant};

use ironhub_tests::{AmqpScript, Hub, TestResult};

/// pyamqp begins at channel 1, talks of credit on links that it sends on, and detaches what has ended (amqp R21, R24, R31).
#[tokio::test]
async fn sessions_begin_at_any_channel_and_late_words_are_no_fault() -> TestResult {
    let hub = Hub::shared().await?;
    let mut client = AmqpScript::new(&hub, None).await?;
    client.set("token", &hub.policy_token("service")?);
    client
        .play(
            r#"
    > amqp
    > 0 open{"eventhub.pysdk-1b2c3d4e", "<host>", 1048576, 65535us, NULL, NULL, NULL, NULL, NULL, NULL}
    < amqp
    < 0 open{<>
    > 1 begin{NULL, 0, 65536, 65536, 4294967295, NULL, NULL, NULL}
    < 0 begin{1us, 1, 5000, 4294967295, 262143, NULL, NULL, NULL}
    > 1 attach{"receiver", 0, true, 2ub, 0ub, source{"$cbs"}, target{"$cbs"}, NULL, NULL, NULL, 1048576ul, NULL, NULL, NULL}
    > 1 flow{1, 65536, 0, 65536, 0, 0, 10000, NULL, NULL, false}
    < 0 attach{"receiver", 0, false, 2ub, 0ub, <>
    > 1 attach{"sender", 1, false, 2ub, 0ub, source{"$cbs"}, target{"$cbs"}, NULL, NULL, 0, 1048576ul, NULL, NULL, NULL}
    > 1 flow{1, 65536, 0, 65536, 1, 0, 10000, NULL, NULL, false}
    < 0 attach{"sender", 1, true, 2ub, 0ub, <>
    < 0 flow{0, 5000, 1, 4294967295, 1, 0, 100, 0, NULL, false, NULL}
    > 1 transfer{1, 0, 0x00000001, 0, false, false} | properties{uuid:0102030405060708090a0b0c0d0e0f10} application-properties map{"operation": "put-token", "type": "servicebus.windows.net:sastoken", "name": "sb://<host>/events"} amqp-value "<token>"
    < 0 disposition{true, 0, NULL, true, accepted{}, NULL}
    < 0 transfer{0, 0, <>, 0, true, false, NULL, NULL, NULL, NULL, NULL} | properties{NULL, NULL, NULL, NULL, NULL, uuid:0102030405060708090a0b0c0d0e0f10, <>} application-properties map{"status-code": 200i, <>
    > 1 end{NULL}
    < 0 end{NULL}
    > 1 detach{0, false, NULL}
    > 1 transfer{1, 1, 0x00000002, 0, false, false} | data b"late"
    > 1 begin{NULL, 0, 65536, 65536, 4294967295, NULL, NULL, NULL}
    < 0 begin{1us, 1, 5000, 4294967295, 262143, NULL, NULL, NULL}
"#,
        )
        .await
}

/// Both frames, back to back, of a sender and of a receiver (amqp R19, R28); the session lives on.
#[tokio::test]
async fn a_refusal_is_an_attach_to_nothing_and_a_detach() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut client = AmqpScript::authenticated(&hub, &device.token()).await?;
    client
        .play(
            r#"
    > 0 attach{"s", 2, false, 0ub, 0ub, source{}, target{"/devices/somebody-else/messages/events"}, NULL, NULL, 0}
    < 0 attach{"s", 2, true, 0ub, 0ub, NULL, NULL, NULL, NULL, NULL, 1048576ul, NULL, NULL, NULL}
    < 0 detach{2, true, error{:amqp:unauthorized-access, <>
    > 0 detach{2, true}
    > 0 attach{"r", 2, true, 0ub, 0ub, source{"/no/such/address"}, target{}}
    < 0 attach{"r", 2, false, 0ub, 0ub, NULL, NULL, NULL, NULL, 0, 1048576ul, NULL, NULL, NULL}
    < 0 detach{2, true, error{:amqp:not-found, <>
    > 0 detach{2, true}
    > 0 attach{"again", 2, true, 0ub, 0ub, source{"/no/such/address"}, target{}}
    < 0 attach{"again", 2, false, 0ub, 0ub, NULL, NULL, NULL, NULL, 0, 1048576ul, NULL, NULL, NULL}
    < 0 detach{2, true, <>
"#,
        )
        .await
}

/// Who has shown nothing is told the same of a device that is there and of one that is not.
#[tokio::test]
async fn without_a_token_nothing_is_learned_about_devices() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let mut words = Vec::new();
    for id in [device.device_id.as_str(), "nobody-at-all"] {
        let mut client = AmqpScript::new(&hub, None).await?;
        client.set("id", id);
        client
            .play(
                r#"
    > amqp
    > 0 open{"c", "<host>"}
    > 0 begin{NULL, 0, 100, 100}
    > 0 attach{"s", 0, false, 0ub, 0ub, source{}, target{"/devices/<id>/messages/events"}, NULL, NULL, 0}
    < amqp
    < 0 open{<>
    < 0 begin{<>
    < 0 attach{"s", 0, true, 0ub, 0ub, NULL, NULL, <>
    < 0 detach{0, true, error{:amqp:unauthorized-access, "<description>", map{<>
"#,
            )
            .await?;
        let description: serde_json::Value = serde_json::from_str(client.get("description")?)?;
        words.push(description["message"].clone());
    }
    assert_eq!(words[0], words[1]);
    Ok(())
}

/// Half of what the client says it waits (amqp R32).
#[tokio::test]
async fn a_client_hears_something_before_its_idle_time_out() -> TestResult {
    let hub = Hub::shared().await?;
    let mut client = AmqpScript::new(&hub, None).await?;
    client.play("> amqp\n> 0 open{\"c\", \"<host>\", NULL, NULL, 5000}\n< amqp\n< 0 open<>").await?;
    let begin = Instant::now();
    for _ in 0..2 {
        client.play("< heartbeat").await?;
    }
    let waited = begin.elapsed();
    assert!(waited > Duration::from_secs(4) && waited < Duration::from_secs(8), "{waited:?}");
    Ok(())
}
