//! What back ends hear of files that devices uploaded (messaging §11).

use std::time::Duration;

use model::{DeviceId, GroupId, Timestamp};
use proto::shard::v1::{self, command::Operation, command_result::Outcome};

use crate::{
    MessageError, NoticeId, ShardClient, Unavailable,
    messages::{UNEXPECTED, done},
};

/// A file that a device uploaded.
#[derive(Clone, Debug, PartialEq)]
pub struct UploadedFile {
    pub device_id: DeviceId,
    pub blob_uri: String,
    pub blob_name: String,
    pub last_updated: Timestamp,
    pub blob_size_bytes: u64,
}

/// A notification in a back end's hand.
#[derive(Clone, Debug, PartialEq)]
pub struct FileNotification {
    pub id: NoticeId,
    pub enqueued: Timestamp,
    /// How often it was given back.
    pub delivery_count: u32,
    pub file: UploadedFile,
}

impl ShardClient {
    /// Tells back ends of a file, until then; durable once it returns.
    pub async fn add_file_notification(&self, file: &UploadedFile, expires: Timestamp) -> Result<(), MessageError> {
        let notification = v1::FileNotification {
            device_id: file.device_id.to_string(),
            blob_uri: file.blob_uri.clone(),
            blob_name: file.blob_name.clone(),
            last_updated_time: file.last_updated.unix_microseconds(),
            blob_size_bytes: file.blob_size_bytes,
            expiry_time: expires.unix_microseconds(),
            ..v1::FileNotification::default()
        };
        let command = v1::AddFileNotification { notification: Some(notification) };
        let group = self.inner.group_of(&file.device_id);
        done(self.inner.command(group, Operation::AddFileNotification(command)).await?)
    }

    /// The next notification of any group, taken in hand for so long.
    pub async fn receive_file_notification(
        &self,
        token: u64,
        lock: Duration,
    ) -> Result<Option<FileNotification>, MessageError> {
        let lock_milliseconds = u32::try_from(lock.as_millis()).unwrap_or(u32::MAX);
        let command = v1::ReceiveFileNotification { lock_milliseconds, token };
        match self.receive_notice(token, &Operation::ReceiveFileNotification(command)).await? {
            Some((group, Outcome::FileNotification(locked))) => Ok(Some(in_hand(locked, group, token)?)),
            Some(_) => Err(UNEXPECTED.into()),
            None => Ok(None),
        }
    }

    /// Is done with a notification.
    pub async fn complete_file_notification(&self, id: NoticeId) -> Result<(), MessageError> {
        self.settle_file_notification(id, true, 1).await
    }

    /// Gives a notification back; one that was given back so often is dropped.
    pub async fn abandon_file_notification(&self, id: NoticeId, delivery_count_max: u32) -> Result<(), MessageError> {
        self.settle_file_notification(id, false, delivery_count_max).await
    }

    async fn settle_file_notification(
        &self,
        id: NoticeId,
        complete: bool,
        delivery_count_max: u32,
    ) -> Result<(), MessageError> {
        let command = v1::SettleFileNotification { number: id.number, token: id.token, complete, delivery_count_max };
        self.settle_notice(id, Operation::SettleFileNotification(command)).await
    }
}

fn in_hand(locked: v1::FileNotification, group: GroupId, token: u64) -> Result<FileNotification, Unavailable> {
    let device_id = locked.device_id.parse().map_err(|_| Unavailable::Protocol("a file of nobody"))?;
    Ok(FileNotification {
        id: NoticeId { group: group.0, number: locked.number, token },
        enqueued: Timestamp::from_unix_microseconds(locked.enqueued_time),
        delivery_count: locked.delivery_count,
        file: UploadedFile {
            device_id,
            blob_uri: locked.blob_uri,
            blob_name: locked.blob_name,
            last_updated: Timestamp::from_unix_microseconds(locked.last_updated_time),
            blob_size_bytes: locked.blob_size_bytes,
        },
    })
}
