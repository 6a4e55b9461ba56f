//! Scopes of IoT Edge devices and of the devices below them (rest §7, twins-jobs-query §1.4).

use proto::shard::v1::{DeviceIdentity, command_error::Code};

use super::rows::Failure;

/// Sets the scopes as the registry keeps them. An Edge device gets a scope of its own for life and names its parent in
/// `parent_scopes`; any other device names its parent in `device_scope`, and `parent_scopes` only mirrors it.
pub fn settle_scopes(identity: DeviceIdentity, stored: Option<&DeviceIdentity>) -> Result<DeviceIdentity, Failure> {
    let given = identity.device_scope.clone().filter(|scope| !scope.is_empty());
    let was_edge = stored.is_some_and(|stored| stored.iot_edge);
    if !identity.iot_edge {
        // Who stops being an Edge device sends its own scope once more; it gets a parent by a second write.
        let given = given.filter(|_| !was_edge);
        let parent_scopes = given.clone().into_iter().collect();
        return Ok(DeviceIdentity { device_scope: given, parent_scopes, ..identity });
    }
    let own = match stored {
        Some(stored) if stored.iot_edge => stored.device_scope.clone(),
        _ => Some(format!("ms-azure-iot-edge://{}-{}", identity.device_id, identity.generation_id)),
    };
    let altered = was_edge && given != own;
    if altered || identity.parent_scopes.len() > 1 {
        return Err(Code::InvalidDeviceScope.into());
    }
    Ok(DeviceIdentity { device_scope: own, ..identity })
}
