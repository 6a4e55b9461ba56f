//! The devices of `--with-device`.

use anyhow::Context;
use auth::ConnectionString;
use model::{Authentication, DeviceId, DeviceIdentity, DeviceStatus, ETag, SymmetricKeys, Timestamp};
use shard_client::{Precondition, RegistryError, ShardClient};

use crate::first_start;

/// The device; created with fresh keys when it is missing.
pub async fn ensure(client: &ShardClient, id: &DeviceId) -> anyhow::Result<DeviceIdentity> {
    let failed = || format!("cannot create the device {id}");
    if let Some(device) = client.get_device(id).await.with_context(failed)? {
        return Ok(device);
    }
    match client.put_device(&identity(id)?, Precondition::Absent).await {
        Err(RegistryError::DeviceAlreadyExists) => client.get_device(id).await?.with_context(failed),
        created => created.with_context(failed),
    }
}

/// What an SDK connects with; `None` for a device that proves itself with a certificate.
pub fn connection_string(host_name: &str, device: &DeviceIdentity) -> Option<ConnectionString> {
    let Authentication::Sas(keys) = &device.authentication else { return None };
    Some(ConnectionString {
        host_name: host_name.to_owned(),
        device_id: Some(device.device_id.clone()),
        module_id: None,
        shared_access_key_name: None,
        shared_access_key: Some(keys.primary.clone()),
    })
}

fn identity(id: &DeviceId) -> anyhow::Result<DeviceIdentity> {
    let now = Timestamp::from_unix_microseconds(jiff::Timestamp::now().as_microsecond());
    Ok(DeviceIdentity {
        device_id: id.clone(),
        generation_id: now.dotnet_ticks().to_string(),
        etag: ETag(0),
        status: DeviceStatus::Enabled,
        status_reason: None,
        status_updated_time: None,
        authentication: Authentication::Sas(SymmetricKeys {
            primary: first_start::key()?,
            secondary: first_start::key()?,
        }),
        iot_edge: false,
        device_scope: None,
        parent_scopes: Vec::new(),
        connected: false,
        connection_state_updated_time: None,
        last_activity_time: None,
        cloud_to_device_message_count: 0,
    })
}
