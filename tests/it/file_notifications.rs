//! Notifications of uploaded files, as back ends hear them (amqp §6.3). Uploads do not make them yet: they are put where
//! uploads will put them.

use std::time::Duration;

use amqp::{Delivery, DeliveryState, Message, Value};
use ironhub_tests::{TestResult, cluster_keys, new_cluster_device};
use model::{Authentication, Timestamp};
use serde_json::Value as Json;
use shard_client::UploadedFile;

use crate::event_hubs_gateways::{back_end, start};

fn name(delivery: &Delivery) -> TestResult<Json> {
    Ok(body(delivery)?["blobName"].clone())
}

fn body(delivery: &Delivery) -> TestResult<Json> {
    Ok(serde_json::from_slice(Message::decode(&delivery.payload)?.body.data().unwrap_or_default())?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_goes_to_one_back_end_until_it_is_settled() -> TestResult {
    let (_cluster, first, second) = start().await?;
    for (device_id, blob_name) in [("d1", "d1/a b.txt"), ("d2", "d2/c")] {
        new_cluster_device(&first.client, device_id, Authentication::Sas(cluster_keys(1))).await?;
        let file = UploadedFile {
            device_id: device_id.parse()?,
            blob_uri: format!("https://files.example.test/{blob_name}"),
            blob_name: blob_name.to_owned(),
            last_updated: Timestamp::from_unix_milliseconds(1_464_816_161_789),
            blob_size_bytes: 1234,
        };
        first.client.add_file_notification(&file, Timestamp::from_unix_milliseconds(i64::MAX / 2000)).await?;
    }
    let (mut one, mut other) = (back_end(&first).await?, back_end(&second).await?);
    let one_link = one.attach_second("/messages/serviceBound/filenotifications", 10).await?;
    let mut held = [one.receive(one_link).await?, one.receive(one_link).await?];
    held.sort_by_key(|delivery| name(delivery).unwrap_or_default().to_string());
    let [a, c] = held;
    assert_eq!((a.tag.len(), a.settled), (16, false));
    let message = Message::decode(&a.payload)?;
    let content_type = message.properties.clone().unwrap_or_default().content_type;
    assert_eq!(content_type.map(|name| name.0), Some("application/vnd.microsoft.iothub.filenotification.json"));
    let enqueued = message.message_annotations.and_then(|all| all.get("iothub-enqueuedtime"));
    assert!(matches!(enqueued, Some(Value::Timestamp(_))));
    let mut said = body(&a)?;
    assert!(said["enqueuedTimeUtc"].take().as_str().is_some_and(|time| time.ends_with('Z')));
    let expected = serde_json::json!({
        "deviceId": "d1",
        "blobUri": "https://files.example.test/d1/a b.txt",
        "blobName": "d1/a b.txt",
        "lastUpdatedTime": "2016-06-01T21:22:41+00:00",
        "blobSizeInBytes": 1234,
        "enqueuedTimeUtc": null,
    });
    assert_eq!(said, expected);
    // The other back end, which spells it as the documents do, gets what is given back and nothing else.
    let other_link = other.attach_second("/messages/servicebound/fileuploadnotifications", 10).await?;
    let nothing = other.receive_within(other_link, Duration::from_millis(1500)).await?;
    assert!(nothing.is_none(), "{nothing:?}");
    one.connection.set_credit(one_link, 0);
    one.settle(&c, DeliveryState::Accepted).await?;
    one.settle(&a, DeliveryState::Released).await?;
    let again = other.receive(other_link).await?;
    assert_eq!(name(&again)?, "d1/a b.txt");
    let count = Message::decode(&again.payload)?.message_annotations.and_then(|all| all.get("iothub-deliverycount"));
    assert_eq!(count, Some(Value::UByte(1)));
    other.settle(&again, DeliveryState::Accepted).await?;
    let more = other.receive_within(other_link, Duration::from_millis(2500)).await?;
    assert!(more.is_none(), "{more:?}");
    Ok(())
}
