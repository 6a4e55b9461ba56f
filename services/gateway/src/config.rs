//! What an operator can set. Every bound of the gateway has its name here, with the default of the specification.

use std::{net::IpAddr, time::Duration};

use model::CloudToDeviceOverrides;
use serde::{Deserialize, Serialize};

/// Configuration of a gateway. Times ending in `_seconds` are whole seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address that all protocols listen on.
    pub listen_address: IpAddr,
    /// MQTT over TLS; SDKs have 8883 compiled in. 0 takes a free port.
    pub mqtt_port: u16,
    /// AMQP 1.0 over TLS; SDKs have 5671 compiled in. 0 takes a free port.
    pub amqp_port: u16,
    /// HTTPS; SDKs have 443 compiled in. 0 takes a free port.
    pub https_port: u16,
    /// AMQP 1.0 without TLS, for Event Hubs clients with `UseDevelopmentEmulator=true`; SDKs have 5672 compiled in. Off
    /// unless set, and only on a loopback address: `listen_address` if it is one, else 127.0.0.1.
    pub emulator_port: Option<u16>,
    /// Names under which clients reach the hub; the audience of their tokens must be one of them.
    pub host_names: Vec<String>,
    /// The Event Hub-compatible name: what readers of the events call the built-in endpoint.
    pub event_hub_name: String,
    /// Over how long connections are ended when the gateway goes: seconds.
    pub drain_spread_seconds: u64,
    pub proxy_protocol: crate::proxy_protocol::Config,
    pub limits: Limits,
    pub https: crate::https::Limits,
    pub cloud_to_device: CloudToDevice,
    pub file_notifications: FileNotifications,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen_address: IpAddr::from([127, 0, 0, 1]),
            mqtt_port: 8883,
            amqp_port: 5671,
            https_port: 443,
            emulator_port: None,
            host_names: vec!["127.0.0.1".to_owned()],
            event_hub_name: "events".to_owned(),
            drain_spread_seconds: 0,
            proxy_protocol: crate::proxy_protocol::Config::default(),
            limits: Limits::default(),
            https: crate::https::Limits::default(),
            cloud_to_device: CloudToDevice::default(),
            file_notifications: FileNotifications::default(),
        }
    }
}

/// What back ends hear of files that devices uploaded (messaging §11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileNotifications {
    /// How long a back end may have a notification in hand.
    pub lock_seconds: u64,
    /// How often a notification may be given back; then it is dropped.
    pub max_delivery_count: u32,
}

impl Default for FileNotifications {
    fn default() -> Self {
        Self { lock_seconds: 60, max_delivery_count: 10 }
    }
}

/// Messages for devices, and the feedback about them (messaging §4.3). The hub's settings win over what both have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CloudToDevice {
    /// How long a message waits for its device when its sender does not say.
    pub default_ttl_seconds: u64,
    /// How often a message may be given back; then it is dropped.
    pub max_delivery_count: u32,
    /// How long a device may have a message in hand.
    pub lock_seconds: u64,
    /// How long feedback is kept for back ends.
    pub feedback_ttl_seconds: u64,
    /// How long a back end may have feedback in hand.
    pub feedback_lock_seconds: u64,
    /// How often feedback may be given back; then it is dropped.
    pub feedback_max_delivery_count: u32,
    /// How long feedback waits for more, to be handed out together.
    pub feedback_flush_seconds: u64,
}

impl Default for CloudToDevice {
    fn default() -> Self {
        Self {
            default_ttl_seconds: 3600,
            max_delivery_count: 10,
            lock_seconds: 60,
            feedback_ttl_seconds: 3600,
            feedback_lock_seconds: 60,
            feedback_max_delivery_count: 10,
            feedback_flush_seconds: 15,
        }
    }
}

impl CloudToDevice {
    /// What holds under the hub's settings.
    pub(crate) fn under(self, settings: &CloudToDeviceOverrides) -> Self {
        let seconds = |configured: u64, set: Option<u32>| set.map_or(configured, u64::from);
        Self {
            default_ttl_seconds: seconds(self.default_ttl_seconds, settings.default_ttl_seconds),
            max_delivery_count: settings.delivery_count_max.unwrap_or(self.max_delivery_count),
            feedback_ttl_seconds: seconds(self.feedback_ttl_seconds, settings.feedback_ttl_seconds),
            feedback_lock_seconds: seconds(self.feedback_lock_seconds, settings.feedback_lock_seconds),
            feedback_max_delivery_count: settings
                .feedback_delivery_count_max
                .unwrap_or(self.feedback_max_delivery_count),
            ..self
        }
    }
}

/// Bounds on what peers can make the gateway hold or do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections of all protocols at the same time; more are closed as they come.
    pub connections_max: usize,
    /// Connections that have not yet finished TLS (HTTPS) or sent a CONNECT (MQTT), at the same time. When there are more,
    /// the oldest makes room if its grace is over; else newcomers wait.
    pub handshakes_max: usize,
    /// Of them those from one IPv4 address, or from one IPv6 network of 64 bits.
    pub handshakes_per_address_max: usize,
    /// How long a connection may take for it before it has to make room for others, milliseconds.
    pub handshake_grace_milliseconds: u64,
    /// From the accepted connection to the end of the TLS handshake.
    pub handshake_timeout_seconds: u64,
    /// From the accepted connection to a complete CONNECT (mqtt §2.3).
    pub connect_timeout_seconds: u64,
    /// The longest silence of an MQTT client, whatever keep-alive it asks for (mqtt §2.5).
    pub silence_max_seconds: u64,
    /// A connection lives on so long after its token expired (mqtt §2.10).
    pub token_grace_seconds: u64,
    /// Devices and modules of the hub together (rest §22).
    pub identities_max: u64,
    /// Body and properties of a message, bytes (messaging §1.4).
    pub message_bytes_max: usize,
    /// Messages of one connection that are read but not acknowledged; then its socket is not read.
    pub unacknowledged_messages_max: usize,
    /// Bytes of messages and request bodies of all connections that are read but not durable; then no MQTT socket is
    /// read and requests are refused. Less than the event log's queue takes, so that the log is never what refuses.
    pub unacknowledged_bytes_max: usize,
    /// Topic filters of one MQTT session (mqtt §3).
    pub subscriptions_max: usize,
    /// How long the event log may take to acknowledge before the connection is closed, so that its device sends again.
    pub acknowledge_timeout_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 100_000,
            handshakes_max: 16_384,
            handshakes_per_address_max: 1024,
            handshake_grace_milliseconds: 1000,
            handshake_timeout_seconds: 15,
            connect_timeout_seconds: 30,
            silence_max_seconds: 1767,
            token_grace_seconds: 300,
            identities_max: 1_000_000,
            message_bytes_max: 262_144,
            unacknowledged_messages_max: 64,
            unacknowledged_bytes_max: 48 * 1024 * 1024,
            subscriptions_max: 50,
            acknowledge_timeout_seconds: 60,
        }
    }
}

impl Limits {
    pub(crate) fn admission(&self) -> crate::admission::Bounds {
        crate::admission::Bounds {
            total_max: self.handshakes_max,
            source_max: self.handshakes_per_address_max,
            grace: Duration::from_millis(self.handshake_grace_milliseconds),
        }
    }

    /// The bounds of one MQTT connection.
    pub(crate) fn mqtt(&self) -> mqtt::Limits {
        mqtt::Limits {
            packet_bytes_max: self.message_bytes_max.saturating_add(65_535 + 4),
            connect_timeout: Duration::from_secs(self.connect_timeout_seconds),
            silence_max: Duration::from_secs(self.silence_max_seconds),
            ..mqtt::Limits::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_of_the_hub_win_over_the_configuration() {
        let configured = CloudToDevice::default();
        assert_eq!(configured.under(&CloudToDeviceOverrides::default()), configured);
        let settings = CloudToDeviceOverrides {
            default_ttl_seconds: Some(60),
            delivery_count_max: Some(1),
            feedback_ttl_seconds: Some(61),
            feedback_lock_seconds: Some(5),
            feedback_delivery_count_max: Some(2),
        };
        let expected = CloudToDevice {
            default_ttl_seconds: 60,
            max_delivery_count: 1,
            feedback_ttl_seconds: 61,
            feedback_lock_seconds: 5,
            feedback_max_delivery_count: 2,
            ..configured
        };
        assert_eq!(configured.under(&settings), expected);
    }
}
