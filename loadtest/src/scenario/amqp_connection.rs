//! An AMQP connection: TCP, TLS, open, a token, links; the client side of our own library.

use std::{sync::Arc, time::Instant};

use amqp::{
    Attach, AttachTarget, Config, Connection, DeliveryState, DeliveryTag, Event, LinkId, MESSAGE_FORMAT, Message,
    MessageWriter, Outgoing, Role, SendError, SessionId, Source, Target, Value,
};
use anyhow::{Context, bail, ensure};
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::tls::{Connector, TlsStream};

/// Links wait for an answer one after the other, so little else can come meanwhile.
const REQUESTS_CREDIT: u32 = 10;
const INPUT_BYTES: usize = 64 * 1024;

/// One connection with one session.
pub struct AmqpConnection {
    stream: TlsStream,
    connection: Connection,
    session: SessionId,
    input: BytesMut,
}

impl AmqpConnection {
    /// Connects and opens without SASL, as the SDKs for Node and C# do.
    pub async fn open(connector: &Connector, index: u32, config: Arc<Config>) -> anyhow::Result<Self> {
        let stream = connector.connect(index).await.context("cannot connect")?;
        let mut connection = Connection::client(config, None, Instant::now());
        connection.open();
        let session = connection.begin().context("no session")?;
        let mut opened = Self { stream, connection, session, input: BytesMut::new() };
        opened.wait_for(|event| matches!(event, Event::Begin(_)).then_some(())).await?;
        Ok(opened)
    }

    /// Puts a token (amqp §3.3).
    pub async fn authenticate(&mut self, token: &str, audience: &str) -> anyhow::Result<()> {
        let properties = [("operation", "put-token"), ("type", "servicebus.windows.net:sastoken"), ("name", audience)];
        self.request("$cbs", &properties, &Value::String(token)).await.map(drop)
    }

    /// Asks a node that answers on a link of its own, which all do that are not telemetry; the body of the answer.
    pub async fn request(
        &mut self,
        node: &str,
        properties: &[(&str, &str)],
        body: &Value<'_>,
    ) -> anyhow::Result<Vec<u8>> {
        let answers = self.attach_receiver(Source::at(node), REQUESTS_CREDIT).await?;
        let requests = self.attach_sender(node).await?;
        let mut payload = Vec::new();
        MessageWriter::new(&mut payload)
            .application_properties(|map| {
                properties.iter().for_each(|(name, value)| map.string(name, &Value::String(value)));
            })
            .value(body);
        self.send(requests, 0, &payload)?;
        let answer = self.wait_for(|event| match event {
            Event::Delivery(delivery) if delivery.link == answers => Some(delivery.payload.to_vec()),
            _ => None,
        });
        let answer = answer.await?;
        [requests, answers].into_iter().for_each(|link| self.detach(link));
        let status = Message::decode(&answer)?.application_properties.and_then(|all| all.get("status-code"));
        ensure!(matches!(status, Some(Value::Int(200 | 202))), "{node} answers {status:?}");
        Ok(answer)
    }

    /// A link to send on.
    pub async fn attach_sender(&mut self, address: &str) -> anyhow::Result<LinkId> {
        let target = Some(AttachTarget::Target(Target::at(address)));
        let name = format!("to {address}");
        let attach = Attach { source: Some(Source::default()), target, ..Attach::new(name, Role::Sender) };
        let link = self.attach(attach, 0).await?;
        if self.connection.sendable(link) == 0 {
            self.wait_for(|event| matches!(event, Event::Credit { link: of, .. } if *of == link).then_some(())).await?;
        }
        Ok(link)
    }

    /// A link to receive on, which gives its credit anew as messages come.
    pub async fn attach_receiver(&mut self, source: Source, credit: u32) -> anyhow::Result<LinkId> {
        let name = format!("from {}", source.address.as_deref().unwrap_or_default());
        let target = Some(AttachTarget::Target(Target::default()));
        self.attach(Attach { source: Some(source), target, ..Attach::new(name, Role::Receiver) }, credit).await
    }

    async fn attach(&mut self, attach: Attach, credit: u32) -> anyhow::Result<LinkId> {
        let name = attach.name.clone();
        let link = self.connection.attach(self.session, attach, credit).context("no link")?;
        let answer = self.wait_for(|event| match event {
            Event::Attached { link: of, attach } if *of == link && attach.source.is_some() => Some(Ok(())),
            Event::Detach { link: of, error } if *of == link => Some(Err(error.clone())),
            _ => None,
        });
        match answer.await? {
            Ok(()) => Ok(link),
            Err(error) => bail!("the link {name} is refused: {error:?}"),
        }
    }

    /// How many messages are taken in advance on a link to receive on.
    pub fn set_credit(&mut self, link: LinkId, credit: u32) {
        self.connection.set_credit(link, credit);
    }

    /// Ends a link.
    pub fn detach(&mut self, link: LinkId) {
        self.connection.detach(link, None);
    }

    /// How many messages may be sent now.
    pub fn sendable(&self, link: LinkId) -> u32 {
        self.connection.sendable(link)
    }

    /// Puts a message into the output; its number is its tag.
    pub fn send(&mut self, link: LinkId, number: u64, payload: &[u8]) -> Result<(), SendError> {
        let mut tag = [0; 16];
        tag[..8].copy_from_slice(&number.to_be_bytes());
        let outgoing =
            Outgoing { tag: DeliveryTag::from(tag), message_format: MESSAGE_FORMAT, settled: false, payload };
        self.connection.send(link, &outgoing).map(drop)
    }

    /// What happened, of that which was read already.
    pub fn take(&mut self) -> anyhow::Result<Option<Event>> {
        let event = self.connection.receive(&mut self.input, Instant::now())?;
        match &event {
            Some(Event::Delivery(delivery)) if !delivery.settled => {
                self.connection.settle(delivery.link, delivery.id, DeliveryState::Accepted);
            }
            Some(Event::End { error, .. } | Event::Close { error }) => bail!("the hub ends it: {error:?}"),
            _ => {}
        }
        Ok(event)
    }

    /// Reads once. May be dropped while it waits.
    pub async fn read(&mut self) -> anyhow::Result<()> {
        self.input.reserve(INPUT_BYTES);
        let read = self.stream.read_buf(&mut self.input).await?;
        ensure!(read > 0, "the server closed the connection");
        Ok(())
    }

    /// Writes what is to be written, down to the socket.
    pub async fn flush(&mut self) -> anyhow::Result<()> {
        while !self.connection.output().is_empty() {
            let count = self.stream.write(self.connection.output()).await?;
            self.connection.consume_output(count, Instant::now());
        }
        Ok(self.stream.flush().await?)
    }

    /// The bare connection, for one that stays silent.
    pub async fn into_stream(mut self) -> anyhow::Result<TlsStream> {
        self.flush().await?;
        Ok(self.stream)
    }

    async fn wait_for<T>(&mut self, find: impl Fn(&Event) -> Option<T>) -> anyhow::Result<T> {
        loop {
            while let Some(event) = self.take()? {
                if let Some(found) = find(&event) {
                    self.flush().await?;
                    return Ok(found);
                }
            }
            self.flush().await?;
            self.read().await?;
        }
    }
}
