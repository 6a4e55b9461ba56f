//! Files that devices uploaded, as back ends read of them (amqp §6.3): the same for every protocol head.

use serde_json::{Value, json};
use shard_client::FileNotification;

/// Content type of a notification.
pub(crate) const CONTENT_TYPE: &str = "application/vnd.microsoft.iothub.filenotification.json";

/// The keys and their case are what clients look for. The time of the file is in whole seconds with an offset, because the
/// SDK for Java reads nothing else.
pub(crate) fn to_json(notification: &FileNotification) -> Value {
    let file = &notification.file;
    let updated = jiff::Timestamp::from_second(file.last_updated.unix_seconds()).unwrap_or_default();
    json!({
        "deviceId": file.device_id.as_str(),
        "blobUri": file.blob_uri,
        "blobName": file.blob_name,
        "lastUpdatedTime": updated.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string(),
        "blobSizeInBytes": file.blob_size_bytes,
        "enqueuedTimeUtc": notification.enqueued.to_string(),
    })
}
