//! Devices that all send telemetry, over any protocol: one stretch of load on one server.

use std::{future::Future, rc::Rc, sync::Arc};

use anyhow::Context;
use futures::future::try_join_all;

use super::{
    amqp_connection::AmqpConnection,
    amqp_publisher, https_publisher, mqtt_connection, mqtt_publisher,
    pacer::{self, Turns},
    window::Window,
};
use crate::{
    arguments::{Protocol, TelemetryArguments},
    devices::{self, Devices},
    http::Request,
    measurement::{Counters, Measurement},
    publish_template::PublishTemplate,
    server_process::ServerProcess,
    target::Target,
    tls::Connector,
};

/// Connections being opened at the same time.
const CONCURRENT_CONNECTS: u32 = 32;

pub struct Senders {
    options: TelemetryArguments,
    pub counters: Rc<Counters>,
    /// One for each connection when the load is paced.
    turns: Option<Vec<Rc<Turns>>>,
}

impl Senders {
    pub fn new(options: &TelemetryArguments) -> Self {
        let turns = || (0..options.connections).map(|_| Rc::default()).collect();
        Self { options: options.clone(), counters: Rc::default(), turns: options.rate.map(|_| turns()) }
    }

    fn turns(&self, index: u32) -> Option<Rc<Turns>> {
        self.turns.as_ref()?.get(index as usize).cloned()
    }

    fn window(&self, index: u32, max: u16) -> Window {
        Window::new(max.into(), self.turns(index))
    }

    /// Runs a task beside the others; its failure is an error of the load.
    pub fn spawn(&self, task: impl Future<Output = anyhow::Result<()>> + 'static) {
        let counters = self.counters.clone();
        tokio::task::spawn_local(async move {
            let result = task.await;
            counters.unless_stopped(result);
        });
    }

    /// Connects all to the hub, then lets all begin.
    pub async fn start(&self, target: &Target, devices: &Devices) -> anyhow::Result<()> {
        match self.options.protocol {
            Protocol::Mqtt => {
                let authority = &target.certificate_authority_file;
                let connector = Connector::new(&target.mqtt, &target.host_name, authority, false)?;
                self.start_mqtt(&connector, |index| (devices.id(index), devices.connect(index))).await
            }
            Protocol::Amqp => self.start_amqp(target, devices).await,
            Protocol::Https => self.start_https(target, devices).await,
        }
    }

    /// The same with any server of MQTT.
    pub async fn start_mqtt(
        &self,
        connector: &Connector,
        identity: impl Fn(u32) -> (String, mqtt::Connect),
    ) -> anyhow::Result<()> {
        let identities: Vec<_> = (0..self.options.connections).map(identity).collect();
        let opened = self.open_all(async |index| {
            let (_, connect) = identities.get(index as usize).context("no such device")?;
            mqtt_connection::open(connector, index, connect).await
        });
        let payload = self.payload();
        let acknowledged = self.options.quality_of_service == 1;
        let in_flight = if acknowledged { self.options.in_flight } else { mqtt_publisher::UNACKNOWLEDGED_BATCH };
        for ((index, stream), (id, _)) in (0..).zip(opened.await?).zip(&identities) {
            let topic = format!("devices/{id}/messages/events/");
            let publisher = mqtt_publisher::Publisher {
                template: PublishTemplate::new(&topic, &payload, acknowledged),
                acknowledged,
                window: self.window(index, in_flight),
                counters: self.counters.clone(),
            };
            self.spawn(publisher.run(stream));
        }
        Ok(())
    }

    async fn start_amqp(&self, target: &Target, devices: &Devices) -> anyhow::Result<()> {
        let authority = &target.certificate_authority_file;
        let connector = &Connector::new(&target.amqp, &target.host_name, authority, false)?;
        let config = Arc::new(amqp::Config::default());
        let opened = self.open_all(async |index| {
            let mut connection = AmqpConnection::open(connector, index, config.clone()).await?;
            let node = devices.node(index);
            connection.authenticate(&devices.token(index), &node).await?;
            let link = connection.attach_sender(&format!("{node}/messages/events")).await?;
            Ok((connection, link))
        });
        let mut payload = Vec::new();
        amqp::MessageWriter::new(&mut payload).data(&self.payload());
        for (index, (connection, link)) in (0..).zip(opened.await?) {
            let publisher = amqp_publisher::Publisher {
                payload: payload.clone(),
                window: self.window(index, self.options.in_flight),
                counters: self.counters.clone(),
            };
            self.spawn(publisher.run(connection, link));
        }
        Ok(())
    }

    async fn start_https(&self, target: &Target, devices: &Devices) -> anyhow::Result<()> {
        let connector = &devices::https_connector(target)?;
        let body = self.payload();
        let opened = self.open_all(async |index| connector.connect(index).await).await?;
        for (index, stream) in (0..).zip(opened) {
            let path = format!("/devices/{}/messages/events?api-version={}", devices.id(index), devices::API_VERSION);
            let token = devices.token(index);
            let request = Request {
                method: "POST",
                target: &path,
                host: &target.host_name,
                token: &token,
                headers: "",
                body: &body,
            };
            let (request, turns) = (request.encode(), self.turns(index));
            self.spawn(https_publisher::Publisher { request, turns, counters: self.counters.clone() }.run(stream));
        }
        Ok(())
    }

    fn payload(&self) -> Vec<u8> {
        vec![b'x'; self.options.payload_bytes]
    }

    /// Opens the connections, some at a time; they come back in order.
    async fn open_all<T>(&self, open: impl AsyncFn(u32) -> anyhow::Result<T>) -> anyhow::Result<Vec<T>> {
        let count = self.options.connections;
        let mut opened = Vec::with_capacity(count as usize);
        let mut next = 0;
        while next < count {
            let end = count.min(next + CONCURRENT_CONNECTS);
            opened.extend(try_join_all((next..end).map(async |index| open(index).await)).await?);
            next = end;
        }
        Ok(opened)
    }

    /// Gives the turns, if the load is paced.
    pub fn pace(&self) {
        if let (Some(rate), Some(turns)) = (self.options.rate, &self.turns) {
            self.spawn(pacer::run(rate, turns.clone(), self.counters.clone()));
        }
    }

    /// Warms up, then measures.
    pub async fn measure(&self, name: &str, server: Option<ServerProcess>) -> anyhow::Result<Measurement> {
        self.pace();
        self.counters.progress(&format!("{name} warms up"), "messages", self.options.warm_up()).await;
        self.counters.measure(name, "messages", self.options.duration(), server).await
    }
}
