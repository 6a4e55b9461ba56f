//! The settings of the whole hub on their way (rest §23).

use model::{CloudToDeviceOverrides, Overrides};
use serde_json::{Value, json};

/// All of them: what is `None` is left to the processes.
pub fn settings_to_json(settings: &Overrides) -> Value {
    let duration = |seconds: Option<u32>| seconds.map(|seconds| format!("PT{seconds}S"));
    let CloudToDeviceOverrides {
        default_ttl_seconds,
        delivery_count_max,
        feedback_ttl_seconds,
        feedback_lock_seconds,
        feedback_delivery_count_max,
    } = settings.cloud_to_device;
    json!({
        "retentionTimeInHours": settings.event_retention_hours,
        "messageBytesMax": settings.message_bytes_max,
        "subscriptionsMax": settings.subscriptions_max,
        "connectionsMax": settings.connections_max,
        "tokenGraceSeconds": settings.token_grace_seconds,
        "cloudToDevice": {
            "defaultTtlAsIso8601": duration(default_ttl_seconds),
            "maxDeliveryCount": delivery_count_max,
            "feedback": {
                "ttlAsIso8601": duration(feedback_ttl_seconds),
                "lockDurationAsIso8601": duration(feedback_lock_seconds),
                "maxDeliveryCount": feedback_delivery_count_max,
            },
        },
    })
}
