//! A device's MQTT connection through a gateway, as plain clients make them.

use std::{
    collections::BTreeMap,
    io,
    time::{Duration, Instant},
};

use model::Timestamp;
use mqtt::client;
use serde_json::Value;
use tokio::time::timeout;

use super::{
    Actor,
    desired::DesiredUpdates,
    operations::{property, write_id},
};
use crate::{
    hub::{self, GATEWAYS, HOST_NAME},
    mqtt_client::{MqttClient, Packet},
    oracle::{MqttConnection as Number, Seen, WriteId},
};

const KEEP_ALIVE_SECONDS: u16 = 10;
/// CONNACK and SUBACK come within that time, or the device gives up.
const PATIENCE: Duration = Duration::from_secs(15);
/// A request on a connection that lives is answered within that time, whatever fails.
const ANSWERED_WITHIN: Duration = Duration::from_secs(40);

pub struct MqttConnection<'a> {
    actor: &'a mut Actor,
    client: MqttClient,
    number: Number,
    desired: DesiredUpdates,
    requests: BTreeMap<u64, Request>,
    last_request: u64,
    last_ping: Instant,
    last_heard: Instant,
    /// Whether every message is acknowledged.
    pub diligent: bool,
}

/// A twin request without an answer.
struct Request {
    kind: Kind,
    asked: Instant,
}

enum Kind {
    /// What desired and reported properties must not be older than.
    Get {
        desired: u64,
        reported: u64,
    },
    Report(WriteId),
}

impl<'a> MqttConnection<'a> {
    /// Connects at some gateway and subscribes to everything, unless there is a stored session. `None`: it did not work.
    pub async fn open(actor: &'a mut Actor, clean_session: bool) -> Option<Self> {
        let gateway = GATEWAYS.start + actor.random.below(GATEWAYS.len() as u64) as usize;
        let connecting = actor.network.clone().connect(actor.host, gateway);
        let stream = timeout(PATIENCE, connecting).await.ok()?.ok()?;
        let number = {
            let mut oracle = actor.shared.oracle.lock();
            let now = oracle.now;
            oracle.sessions.mqtt_connects(&actor.device, now, clean_session)
        };
        let mut connection = Self {
            actor,
            client: MqttClient::new(stream),
            number,
            desired: DesiredUpdates::default(),
            requests: BTreeMap::new(),
            last_request: 0,
            last_ping: Instant::now(),
            last_heard: Instant::now(),
            diligent: false,
        };
        let opened = timeout(PATIENCE, connection.introduce(clean_session)).await;
        let is_open = matches!(opened, Ok(Ok(true)));
        {
            let mut oracle = connection.actor.shared.oracle.lock();
            let (device, host) = (&connection.actor.device, gateway);
            oracle.note(|| format!("{device}: MQTT connection {number} at {host}, clean {clean_session}: {opened:?}"));
            oracle.count("MQTT connect", if is_open { "done" } else { "failed" });
        }
        if is_open {
            return Some(connection);
        }
        connection.gone();
        None
    }

    /// False: refused.
    async fn introduce(&mut self, clean_session: bool) -> io::Result<bool> {
        let connect = self.connect_packet(clean_session);
        self.client.send(|out| client::connect(&connect, out)).await?;
        let Packet::ConnAck { session_present, code: 0 } = self.client.receive().await? else { return Ok(false) };
        {
            let mut oracle = self.actor.shared.oracle.lock();
            let present = (!clean_session).then_some(session_present);
            let result = oracle.sessions.mqtt_opened(&self.actor.device, self.number, present);
            oracle.expect(result);
        }
        if !session_present {
            self.subscribe().await?;
            if !clean_session {
                self.actor.shared.oracle.lock().sessions.mqtt_subscribed(&self.actor.device, self.number);
            }
        }
        self.get_twin().await?;
        Ok(true)
    }

    fn connect_packet(&self, clean_session: bool) -> mqtt::Connect {
        let device = &self.actor.device;
        let in_a_day = jiff::Timestamp::now().as_millisecond() + 24 * 3600 * 1000;
        let expires = Timestamp::from_unix_milliseconds(in_a_day);
        mqtt::Connect {
            client_id: device.clone(),
            username: Some(format!("{HOST_NAME}/{device}/?api-version=2021-04-12")),
            password: Some(auth::sign(&format!("{HOST_NAME}/devices/{device}"), &hub::key(), None, expires)),
            clean_session,
            keep_alive_seconds: KEEP_ALIVE_SECONDS,
            will: None,
        }
    }

    async fn subscribe(&mut self) -> io::Result<()> {
        let messages = format!("devices/{}/messages/devicebound/#", self.actor.device);
        let filters = [
            (messages.as_str(), 1),
            ("$iothub/methods/POST/#", 0),
            ("$iothub/twin/res/#", 0),
            ("$iothub/twin/PATCH/properties/desired/#", 0),
        ];
        self.client.send(|out| client::subscribe(1, &filters, out)).await?;
        loop {
            match self.client.receive().await? {
                Packet::SubAck { codes } if codes == [1, 0, 0, 0] => return Ok(()),
                Packet::SubAck { codes } => return Err(io::Error::other(format!("SUBACK {codes:?}"))),
                packet => self.take(packet).await?,
            }
        }
    }

    pub fn actor(&mut self) -> &mut Actor {
        self.actor
    }

    /// The desired version that was told last.
    pub fn last_told(&self) -> Option<u64> {
        self.desired.last_told()
    }

    /// Serves what comes for so long. An error: the connection has ended.
    pub async fn serve(&mut self, time: Duration) -> io::Result<()> {
        if self.last_ping.elapsed() > Duration::from_secs(KEEP_ALIVE_SECONDS.into()) / 2 {
            self.last_ping = Instant::now();
            self.client.send(client::ping).await?;
        }
        // The gateway answers pings, unless its host has no power.
        if self.last_heard.elapsed() > Duration::from_secs(KEEP_ALIVE_SECONDS.into()) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let overdue = self.requests.values().any(|request| request.asked.elapsed() > ANSWERED_WITHIN);
        if overdue {
            self.requests.clear();
            let what = format!("{}: a twin request on connection {} has no answer", self.actor.device, self.number);
            self.actor.shared.oracle.lock().violation(&what);
        }
        match timeout(time, self.client.receive()).await {
            Ok(packet) => {
                self.last_heard = Instant::now();
                self.take(packet?).await
            }
            Err(_) => Ok(()),
        }
    }

    async fn take(&mut self, packet: Packet) -> io::Result<()> {
        let Packet::Publish { topic, payload, packet_id } = packet else { return Ok(()) };
        if let Some(answer) = topic.strip_prefix("$iothub/twin/res/") {
            self.answered(answer, &payload);
        } else if let Some(version) = topic.strip_prefix("$iothub/twin/PATCH/properties/desired/?$version=") {
            let connection = format!("MQTT connection {}", self.number);
            self.desired.told(self.actor, &connection, version.parse().unwrap_or_default(), &payload);
        } else if let Some(request_id) = topic.strip_prefix("$iothub/methods/POST/echo/?$rid=") {
            self.method(request_id, &payload).await?;
        } else {
            self.message(&payload, packet_id).await?;
        }
        Ok(())
    }

    async fn method(&mut self, request_id: &str, payload: &[u8]) -> io::Result<()> {
        {
            let mut oracle = self.actor.shared.oracle.lock();
            let id = number(payload);
            oracle.note(|| format!("{}: method {id} reached MQTT connection {}", self.actor.device, self.number));
            let result = oracle.methods.reached(&self.actor.device, id);
            oracle.expect(result);
        }
        let topic = format!("$iothub/methods/res/200/?$rid={request_id}");
        self.client.send(|out| client::publish(&topic, payload, None, out)).await
    }

    async fn message(&mut self, payload: &[u8], packet_id: Option<u16>) -> io::Result<()> {
        let acknowledge = self.diligent || self.actor.random.percent(80);
        {
            let mut oracle = self.actor.shared.oracle.lock();
            let id = number(payload);
            oracle.note(|| format!("{}: message {id} by MQTT connection {}", self.actor.device, self.number));
            oracle.count("receive", "message by MQTT");
            let result = oracle.messages.published(&self.actor.device, id);
            oracle.expect(result);
            if acknowledge {
                oracle.messages.begin_acknowledge(id);
            }
        }
        match packet_id.filter(|_| acknowledge) {
            Some(packet_id) => self.client.send(|out| client::puback(packet_id, out)).await,
            None => Ok(()),
        }
    }

    /// Asks for the twin.
    pub async fn get_twin(&mut self) -> io::Result<()> {
        let (desired, reported) = {
            let mut oracle = self.actor.shared.oracle.lock();
            (oracle.twins.begin_read(&self.actor.desired()), oracle.twins.begin_read(&self.actor.reported()))
        };
        let request_id = self.ask(Kind::Get { desired, reported });
        let topic = format!("$iothub/twin/GET/?$rid={request_id}");
        self.client.send(|out| client::publish(&topic, b"", None, out)).await
    }

    /// Adds a reported property.
    pub async fn report(&mut self) -> io::Result<()> {
        let id = self.actor.shared.oracle.lock().twins.begin_write(&self.actor.reported());
        let request_id = self.ask(Kind::Report(id));
        let topic = format!("$iothub/twin/PATCH/properties/reported/?$rid={request_id}");
        let patch = serde_json::json!({ property(id): id }).to_string();
        self.client.send(|out| client::publish(&topic, patch.as_bytes(), None, out)).await
    }

    fn ask(&mut self, kind: Kind) -> u64 {
        self.last_request += 1;
        self.requests.insert(self.last_request, Request { kind, asked: Instant::now() });
        self.last_request
    }

    /// Whether every twin request has its answer.
    pub fn is_answered(&self) -> bool {
        self.requests.is_empty()
    }

    /// `{status}/?$rid={id}`, and `&$version={version}` behind a patch.
    fn answered(&mut self, answer: &str, payload: &[u8]) {
        let (status, rest) = answer.split_once("/?$rid=").unwrap_or((answer, ""));
        let (request_id, version) = rest.split_once("&$version=").unwrap_or((rest, ""));
        let request = request_id.parse().ok().and_then(|id: u64| self.requests.remove(&id));
        let (desired, reported) = (self.actor.desired(), self.actor.reported());
        let mut oracle = self.actor.shared.oracle.lock();
        oracle.note(|| format!("{}: twin answer {answer} to MQTT connection {}", self.actor.device, self.number));
        let result = match (request.map(|request| request.kind), status) {
            (None, _) => Err(format!("{}: an answer to no request, or a second one: {answer}", self.actor.device)),
            (Some(Kind::Get { desired: floor, reported: reported_floor }), "200") => {
                oracle.count("MQTT read", "done");
                let twin: Value = serde_json::from_slice(payload).unwrap_or_default();
                let seen = (seen(&twin["desired"]), seen(&twin["reported"]));
                self.desired.read(seen.0.version);
                let first = oracle.twins.read(&desired, floor, seen.0);
                first.and_then(|()| oracle.twins.read(&reported, reported_floor, seen.1))
            }
            (Some(Kind::Report(id)), "204") => {
                oracle.count("MQTT report", "done");
                oracle.twins.became(&reported, id, version.parse().unwrap_or_default())
            }
            (Some(_), status) => {
                oracle.count("MQTT twin request", status);
                Ok(())
            }
        };
        oracle.expect(result);
    }

    /// Ends it, sometimes with a word.
    pub async fn close(mut self) {
        if self.actor.random.percent(50) {
            let _ = self.client.send(client::disconnect).await; // the connection may have ended
        }
        self.gone();
    }

    /// The connection has ended.
    pub fn gone(self) {
        let mut oracle = self.actor.shared.oracle.lock();
        oracle.note(|| format!("{}: MQTT connection {} is gone", self.actor.device, self.number));
        let now = oracle.now;
        oracle.sessions.mqtt_closed(&self.actor.device, now, self.number);
    }
}

fn number(payload: &[u8]) -> u64 {
    std::str::from_utf8(payload).ok().and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn seen(section: &Value) -> Seen {
    let names = section.as_object().into_iter().flat_map(|members| members.keys());
    Seen {
        version: section["$version"].as_u64().unwrap_or_default(),
        writes: names.filter_map(|name| write_id(name)).collect(),
    }
}
