//! The newest connection of a device wins: larger ids are given later, and older connections end by themselves.

use std::{collections::BTreeMap, time::Duration};

use model::ConnectionId;

use crate::network::HostId;

/// An MQTT connection, in the order of their CONNECTs.
pub type MqttConnection = u64;

#[derive(Default)]
pub struct Sessions {
    /// The largest id of a device that was given until now.
    newest: BTreeMap<String, ConnectionId>,
    open: BTreeMap<String, Vec<(HostId, ConnectionId)>>,
    mqtt: BTreeMap<String, Mqtt>,
}

/// A session may be forgotten so long after the device that asked for it has given up.
const CLEANED_WITHIN: Duration = Duration::from_secs(30);

/// What is known of a device's MQTT sessions.
#[derive(Default)]
struct Mqtt {
    connects: MqttConnection,
    open: Vec<MqttConnection>,
    /// Subscribed for good: the first connection that has to find its session.
    stored_before: Option<MqttConnection>,
    /// Connections that ask to have it forgotten, and until when that may still happen.
    cleaning: BTreeMap<MqttConnection, Duration>,
    /// The first connection that began when none of them could do so any more.
    undisturbed: Option<MqttConnection>,
}

impl Sessions {
    /// An attachment begins; answers what its id has to be larger than.
    pub fn begin(&self, device: &str) -> Option<ConnectionId> {
        self.newest.get(device).copied()
    }

    /// A connection at that host is attached.
    pub fn opened(
        &mut self,
        device: &str,
        floor: Option<ConnectionId>,
        host: HostId,
        id: ConnectionId,
    ) -> Result<(), String> {
        let newest = self.newest.entry(device.to_owned()).or_insert(id);
        *newest = id.max(*newest);
        self.open.entry(device.to_owned()).or_default().push((host, id));
        match floor {
            Some(older) if older >= id => Err(format!("{device}: {id:?} was given after {older:?}")),
            _ => Ok(()),
        }
    }

    /// It has ended, for whatever reason.
    pub fn closed(&mut self, device: &str, id: ConnectionId) {
        self.open.entry(device.to_owned()).or_default().retain(|(_, open)| *open != id);
    }

    /// All connections of the host have ended.
    pub fn host_died(&mut self, host: HostId) {
        self.open.values_mut().for_each(|open| open.retain(|(at, _)| *at != host));
    }

    /// A device is about to send CONNECT.
    pub fn mqtt_connects(&mut self, device: &str, now: Duration, clean_session: bool) -> MqttConnection {
        let mqtt = self.mqtt.entry(device.to_owned()).or_default();
        mqtt.connects += 1;
        let id = mqtt.connects;
        mqtt.cleaning.retain(|_, until| *until >= now);
        if clean_session {
            (mqtt.undisturbed, mqtt.stored_before) = (None, None);
            mqtt.cleaning.insert(id, Duration::MAX);
        } else if mqtt.cleaning.is_empty() {
            mqtt.undisturbed.get_or_insert(id);
        }
        id
    }

    /// CONNACK came. `present`: it asked for its session.
    pub fn mqtt_opened(&mut self, device: &str, id: MqttConnection, present: Option<bool>) -> Result<(), String> {
        let mqtt = self.mqtt.entry(device.to_owned()).or_default();
        mqtt.open.push(id);
        mqtt.cleaning.remove(&id);
        match (present, mqtt.stored_before) {
            (Some(false), Some(first)) if first <= id => Err(format!("{device}: connection {id} lost its session")),
            _ => Ok(()),
        }
    }

    /// SUBACK came on a connection with a session that stays: every later one has it.
    pub fn mqtt_subscribed(&mut self, device: &str, id: MqttConnection) {
        let mqtt = self.mqtt.entry(device.to_owned()).or_default();
        if mqtt.undisturbed.is_some_and(|first| first <= id) {
            mqtt.stored_before.get_or_insert(mqtt.connects + 1);
        }
    }

    pub fn mqtt_closed(&mut self, device: &str, now: Duration, id: MqttConnection) {
        let mqtt = self.mqtt.entry(device.to_owned()).or_default();
        mqtt.open.retain(|open| *open != id);
        mqtt.cleaning.entry(id).and_modify(|until| *until = now + CLEANED_WITHIN);
    }

    /// After a while in which nothing failed, a device has one connection.
    pub fn check_quiet(&self) -> Result<(), String> {
        if let Some((device, open)) = self.open.iter().find(|(_, open)| open.len() > 1) {
            return Err(format!("{device} has several connections: {open:?}"));
        }
        match self.mqtt.iter().find(|(_, mqtt)| mqtt.open.len() > 1) {
            Some((device, mqtt)) => Err(format!("{device} has several MQTT connections: {:?}", mqtt.open)),
            None => Ok(()),
        }
    }
}
