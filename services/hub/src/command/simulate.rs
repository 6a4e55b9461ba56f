//! `ironhub device simulate`: a device in the terminal. It sends telemetry, follows its twin and reports back what is
//! desired, answers methods with what they were given, and takes messages; everything it does is a line.

use std::time::Duration;

use anyhow::{Context, bail};
use model::Principal;
use mqtt::client::{self, Answer};
use serde_json::{Map, Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{MissedTickBehavior, interval},
};
use tokio_rustls::client::TlsStream;

use super::api_client::ApiClient;
use crate::arguments::SimulateArguments;

/// How often it says that it is there when it has nothing else to say.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Connects as the device and runs until Ctrl-C, or until so many messages were sent.
pub async fn run(
    client: &ApiClient,
    principal: &Principal,
    token: String,
    arguments: &SimulateArguments,
    as_json: bool,
) -> anyhow::Result<()> {
    let mut device = Simulated::connect(client, principal, token, as_json).await?;
    let mut telemetry = interval(Duration::from_secs_f64(arguments.every.as_secs_f64().max(0.001)));
    telemetry.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut keep_alive = interval(KEEP_ALIVE);
    let mut sent = 0;
    loop {
        tokio::select! {
            read = device.stream.read_buf(&mut device.input) => {
                anyhow::ensure!(read? > 0, "the hub closed the connection; `ironhub explain {principal}` says why");
                device.handle_input()?;
            }
            _ = telemetry.tick() => {
                if arguments.count.is_some_and(|count| sent >= count) {
                    return device.leave().await;
                }
                sent += 1;
                device.send_telemetry(sent);
            }
            _ = keep_alive.tick() => client::ping(&mut device.output),
            _ = tokio::signal::ctrl_c() => return device.leave().await,
        }
        device.flush().await?;
    }
}

struct Simulated {
    stream: TlsStream<TcpStream>,
    input: Vec<u8>,
    output: Vec<u8>,
    /// `devices/{id}` or `devices/{id}/modules/{id}`.
    path: String,
    as_json: bool,
    next_request: u32,
}

impl Simulated {
    async fn connect(client: &ApiClient, principal: &Principal, token: String, as_json: bool) -> anyhow::Result<Self> {
        let host = client.host_name();
        let module = principal.module_id.as_ref().map(|id| format!("/modules/{id}")).unwrap_or_default();
        let connect = mqtt::Connect {
            client_id: principal.to_string(),
            clean_session: false,
            keep_alive_seconds: 240,
            username: Some(format!("{host}/{principal}/?api-version=2021-04-12&DeviceClientType=ironhub-simulate")),
            password: Some(token),
            will: None,
        };
        let mut output = Vec::new();
        client::connect(&connect, &mut output);
        let path = format!("devices/{}{module}", principal.device_id);
        let messages = format!("{path}/messages/devicebound/#");
        let filters = [
            (messages.as_str(), 1),
            ("$iothub/methods/POST/#", 0),
            ("$iothub/twin/res/#", 0),
            ("$iothub/twin/PATCH/properties/desired/#", 0),
        ];
        client::subscribe(1, &filters, &mut output);
        client::publish("$iothub/twin/GET/?$rid=0", b"", None, &mut output);
        let stream = client.connect_mqtt().await?;
        let mut device = Self { stream, input: Vec::new(), output, path, as_json, next_request: 1 };
        device.flush().await?;
        Ok(device)
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        self.stream.write_all(&self.output).await?;
        self.output.clear();
        Ok(self.stream.flush().await?)
    }

    async fn leave(mut self) -> anyhow::Result<()> {
        client::disconnect(&mut self.output);
        self.flush().await?;
        self.say("disconnected", Value::Null);
        Ok(self.stream.shutdown().await?)
    }

    fn say(&self, what: &str, detail: Value) {
        match (self.as_json, &detail) {
            (true, _) => println!("{}", json!({ "event": what, "detail": detail })),
            (false, Value::Null) => println!("{what}"),
            (false, detail) => println!("{what}  {detail}"),
        }
    }

    fn send_telemetry(&mut self, number: u64) {
        // A day in the life of a thermometer, one minute a message.
        let temperature = 20.0 + 5.0 * (number as f64 / 1440.0 * std::f64::consts::TAU).sin();
        let body = json!({ "number": number, "temperature": (temperature * 100.0).round() / 100.0 });
        let topic = format!("{}/messages/events/$.ct=application%2Fjson&$.ce=utf-8", self.path);
        let packet_id = u16::try_from(number % 65_535).unwrap_or(0) + 1;
        client::publish(&topic, body.to_string().as_bytes(), Some(packet_id), &mut self.output);
        self.say("sent", body);
    }

    fn handle_input(&mut self) -> anyhow::Result<()> {
        let input = std::mem::take(&mut self.input);
        let mut used = 0;
        while let Some((answer, length)) = client::decode_answer(input.get(used..).unwrap_or_default())? {
            used += length;
            match answer {
                Answer::ConnAck { code: 0, .. } => self.say("connected", Value::Null),
                Answer::ConnAck { code, .. } => bail!("the hub refused the device (CONNACK {code})"),
                Answer::Publish { topic, payload, packet_id, .. } => self.received(topic, payload, packet_id)?,
                Answer::PubAck(_) | Answer::SubAck { .. } | Answer::UnsubAck(_) | Answer::PingResponse => {}
            }
        }
        self.input = input.get(used..).unwrap_or_default().to_vec();
        Ok(())
    }

    fn received(&mut self, topic: &str, payload: &[u8], packet_id: Option<u16>) -> anyhow::Result<()> {
        if let Some(rest) = topic.strip_prefix("$iothub/methods/POST/") {
            let (name, request_id) = rest.split_once("/?$rid=").context("a method without a request id")?;
            self.say("method", json!({ "name": name, "payload": readable(payload) }));
            client::publish(&format!("$iothub/methods/res/200/?$rid={request_id}"), payload, None, &mut self.output);
        } else if topic.starts_with("$iothub/twin/PATCH/properties/desired/") {
            self.desired(serde_json::from_slice(payload)?);
        } else if topic.starts_with("$iothub/twin/res/200/") {
            self.say("twin", readable(payload));
        } else if topic.starts_with("$iothub/twin/res/") {
            self.say(if topic.contains("/204/") { "reported" } else { "not reported" }, readable(payload));
        } else {
            self.say("message", json!({ "body": readable(payload), "properties": topic.rsplit('/').next() }));
            packet_id.iter().for_each(|packet_id| client::puback(*packet_id, &mut self.output));
        }
        Ok(())
    }

    /// Does as it is told, and says so.
    fn desired(&mut self, mut patch: Map<String, Value>) {
        self.say("desired", Value::Object(patch.clone()));
        patch.remove("$version");
        let topic = format!("$iothub/twin/PATCH/properties/reported/?$rid={}", self.next_request);
        self.next_request += 1;
        client::publish(&topic, Value::Object(patch).to_string().as_bytes(), None, &mut self.output);
    }
}

/// JSON if it is some, else text.
fn readable(payload: &[u8]) -> Value {
    match serde_json::from_slice(payload) {
        Ok(json) => json,
        Err(_) if payload.is_empty() => Value::Null,
        Err(_) => Value::String(String::from_utf8_lossy(payload).into_owned()),
    }
}
