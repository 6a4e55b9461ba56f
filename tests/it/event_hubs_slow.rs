//! A reader of events that stops reading (amqp §8): it costs little, holds nobody up, and loses nothing.

use amqp::{LinkId, Message};
use ironhub_tests::{Amqp, Device, Hub, TestResult, client_config, connect_deaf, handshake, survives};
use model::event_partition;
use tokio::net::TcpStream;

use crate::amqp_telemetry::{address, message};

const PARTITIONS: u32 = 4;
/// 30 MB in all; what the hub may grow by is a few times that, and the readers together are owed four times.
const EVENTS: u32 = 300;
const EVENT_BYTES: usize = 100_000;
const DEAF_READERS: usize = 4;

/// A reader of the partition with more credit than there are events.
async fn reader(hub: &Hub, partition: u32, stream: TcpStream) -> TestResult<(Amqp, LinkId)> {
    let stream = handshake(&client_config(&hub.authority, None)?, stream, &hub.host_name).await?;
    let mut client = Amqp::new(stream, None);
    client.open(false).await?;
    client.authenticate(&hub.policy_token("service")?).await?;
    let path = format!("events/ConsumerGroups/$Default/Partitions/{partition}");
    let link = client.attach_receiver(&path, 100_000).await?.unwrap();
    client.flush().await?;
    Ok((client, link))
}

async fn send_all(hub: &Hub, device: &Device) -> TestResult {
    let mut client = hub.amqp_as(&device.token()).await?;
    let link = client.attach_sender(&address(device)).await?.unwrap();
    for number in 0..EVENTS {
        let body = number.to_be_bytes().repeat(EVENT_BYTES / 4);
        client.send(link, &message(&body)).await?;
    }
    Ok(())
}

/// All events of the device, in order and whole; others may lie between them.
async fn read_all(client: &mut Amqp, link: LinkId, device: &Device) -> TestResult {
    for number in 0..EVENTS {
        loop {
            let delivery = client.receive(link).await?;
            let event = Message::decode(&delivery.payload)?;
            let of = event.message_annotations.and_then(|all| all.get("iothub-connection-device-id"));
            if of.and_then(|of| of.as_text()) == Some(&device.device_id) {
                let expected = number.to_be_bytes().repeat(EVENT_BYTES / 4);
                anyhow::ensure!(event.body.data() == Some(&expected), "event {number} is another one");
                break;
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn readers_that_do_not_read_cost_little_and_get_everything_later() -> TestResult {
    let hub = Hub::start().await?;
    let device = hub.new_device().await?;
    let partition = event_partition(&device.device_id.parse()?, PARTITIONS);
    survives(&hub, "deaf readers", async || {
        let mut deaf = Vec::new();
        for _ in 0..DEAF_READERS {
            deaf.push(reader(&hub, partition, connect_deaf(hub.amqp).await?).await?);
        }
        let (mut good, link) = reader(&hub, partition, TcpStream::connect(hub.amqp).await?).await?;
        tokio::try_join!(send_all(&hub, &device), read_all(&mut good, link, &device))?;
        Ok(deaf)
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_reader_that_reads_again_has_missed_nothing() -> TestResult {
    let hub = Hub::start().await?;
    let device = hub.new_device().await?;
    let partition = event_partition(&device.device_id.parse()?, PARTITIONS);
    let (mut slow, link) = reader(&hub, partition, TcpStream::connect(hub.amqp).await?).await?;
    send_all(&hub, &device).await?;
    read_all(&mut slow, link, &device).await
}
