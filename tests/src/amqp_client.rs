//! A raw AMQP client: the client side of our own library over a real connection, one step at a time.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use amqp::{
    Attach, AttachTarget, Config, Connection, Delivery, DeliveryState, DeliveryTag, Event, LinkId, MESSAGE_FORMAT,
    Message, MessageWriter, Outgoing, Properties, ReceiverSettleMode, Role, SaslCode, SaslLogin, Secret, SessionId,
    Source, Symbol, Target, Value,
};
use anyhow::{Context, bail};
use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use crate::patience::PATIENCE;

/// TLS, or a WebSocket.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// One connection.
pub struct Amqp {
    stream: Box<dyn Stream>,
    pub connection: Connection,
    input: BytesMut,
    /// What happened and was not looked for yet.
    events: VecDeque<Event>,
    session: Option<SessionId>,
    cbs: Option<(LinkId, LinkId)>,
    next: u64,
}

/// Why a link is not there: what the hub said.
pub type Refusal = amqp::Error;

/// Any login but PLAIN.
pub fn login(mechanism: &'static str) -> SaslLogin {
    SaslLogin { mechanism: Symbol::new(mechanism), initial_response: None, hostname: None }
}

/// PLAIN.
pub fn plain(user: &str, password: &str) -> SaslLogin {
    let response = format!("\0{user}\0{password}").into_bytes();
    SaslLogin { initial_response: Some(Secret(response)), ..login("PLAIN") }
}

const PUT_TOKEN: [(&str, &str); 3] =
    [("operation", "put-token"), ("type", "servicebus.windows.net:sastoken"), ("name", "whatever")];

/// The request that puts a token, with a message id of its own.
pub fn put_token_request(token: &str) -> anyhow::Result<Vec<u8>> {
    let mut id = Vec::new();
    amqp::put_value(&Value::String("id"), &mut id);
    cbs_request(&PUT_TOKEN, &Value::String(token), &id)
}

fn cbs_request(properties: &[(&str, &str)], body: &Value<'_>, message_id: &[u8]) -> anyhow::Result<Vec<u8>> {
    let message_id = Some(amqp::MessageId::decode(message_id)?);
    let mut payload = Vec::new();
    MessageWriter::new(&mut payload)
        .properties(&Properties { message_id, ..Properties::default() })
        .application_properties(|map| {
            properties.iter().for_each(|(name, value)| map.string(name, &Value::String(value)));
        })
        .value(body);
    Ok(payload)
}

impl Amqp {
    /// Nothing was said yet but the header; with a login, that is said, too.
    pub fn new(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, login: Option<SaslLogin>) -> Self {
        let config = Config { container_id: "test".to_owned(), ..Config::default() };
        Self {
            stream: Box::new(stream),
            connection: Connection::client(Arc::new(config), login, Instant::now()),
            input: BytesMut::new(),
            events: VecDeque::new(),
            session: None,
            cbs: None,
            next: 0,
        }
    }

    /// Opens the connection, with the login if there is one; answers how SASL ended.
    pub async fn open(&mut self, has_login: bool) -> anyhow::Result<SaslCode> {
        if has_login {
            let outcome = self.wait_for("the outcome of SASL", |event| match event {
                Event::SaslOutcome(code) => Some(*code),
                _ => None,
            });
            match outcome.await? {
                SaslCode::Ok => {}
                code => return Ok(code),
            }
        }
        self.connection.open();
        self.wait_for("the open", |event| matches!(event, Event::Open(_)).then_some(())).await?;
        self.session = self.connection.begin();
        Ok(SaslCode::Ok)
    }

    /// Begins another session; links are attached in the newest one.
    pub fn begin(&mut self) {
        self.session = self.connection.begin();
        self.cbs = None;
    }

    /// Puts a token; answers the status and its description. The message id must come back as it was.
    pub async fn put_token(&mut self, token: &str, message_id: &Value<'_>) -> anyhow::Result<(i32, String)> {
        self.cbs_request(&PUT_TOKEN, &Value::String(token), message_id).await
    }

    pub async fn cbs_request(
        &mut self,
        properties: &[(&str, &str)],
        body: &Value<'_>,
        message_id: &Value<'_>,
    ) -> anyhow::Result<(i32, String)> {
        let (requests, answers) = match self.cbs {
            Some(links) => links,
            None => {
                let requests = self.attach_sender("$cbs").await?.map_err(|error| anyhow::anyhow!("{error:?}"))?;
                let answers = self.attach_receiver("$cbs", 10).await?.map_err(|error| anyhow::anyhow!("{error:?}"))?;
                *self.cbs.insert((requests, answers))
            }
        };
        let mut id = Vec::new();
        amqp::put_value(message_id, &mut id);
        let payload = cbs_request(properties, body, &id)?;
        anyhow::ensure!(self.send(requests, &payload).await? == Some(DeliveryState::Accepted), "the request");
        let answer = self.receive(answers).await?;
        let message = Message::decode(&answer.payload)?;
        let correlation_id = message.properties.as_ref().and_then(|properties| properties.correlation_id);
        anyhow::ensure!(
            correlation_id.map(|id| id.bytes()) == Some(id.as_slice()),
            "the id did not come back as it was"
        );
        let properties = message.application_properties.context("no properties")?;
        match (properties.get("status-code"), properties.get("status-description")) {
            // The type matters (amqp R11).
            (Some(Value::Int(status)), Some(Value::String(text))) => Ok((status, text.to_owned())),
            other => bail!("{other:?}"),
        }
    }

    /// Puts a token that must be good.
    pub async fn authenticate(&mut self, token: &str) -> anyhow::Result<()> {
        match self.put_token(token, &Value::String("id")).await? {
            (200, _) => Ok(()),
            refused => bail!("the token is refused: {refused:?}"),
        }
    }

    /// A link to send on.
    pub async fn attach_sender(&mut self, address: &str) -> anyhow::Result<Result<LinkId, Refusal>> {
        let target = Some(AttachTarget::Target(Target::at(address)));
        let attach = Attach { source: Some(Source::default()), target, ..self.new_attach(Role::Sender) };
        self.attach(attach, 0).await.map(|answer| answer.map(|(link, _)| link))
    }

    /// A link to receive on.
    pub async fn attach_receiver(&mut self, address: &str, credit: u32) -> anyhow::Result<Result<LinkId, Refusal>> {
        let target = Some(AttachTarget::Target(Target::default()));
        let attach = Attach { source: Some(Source::at(address)), target, ..self.new_attach(Role::Receiver) };
        self.attach(attach, credit).await.map(|answer| answer.map(|(link, _)| link))
    }

    /// A link to receive on whose deliveries are settled in two steps, as C# does (amqp R18).
    pub async fn attach_second(&mut self, address: &str, credit: u32) -> anyhow::Result<LinkId> {
        let target = Some(AttachTarget::Target(Target::default()));
        let rcv_settle_mode = Some(ReceiverSettleMode::Second);
        let attach = self.new_attach(Role::Receiver);
        let attach = Attach { source: Some(Source::at(address)), target, rcv_settle_mode, ..attach };
        let answer = self.attach(attach, credit).await?;
        answer.map(|(link, _)| link).map_err(|error| anyhow::anyhow!("{error:?}"))
    }

    pub fn new_attach(&mut self, role: Role) -> Attach {
        self.next += 1;
        Attach::new(format!("link-{}", self.next), role)
    }

    /// Asks for a link without waiting.
    pub fn attach_only(&mut self, attach: Attach, credit: u32) -> anyhow::Result<LinkId> {
        let session = self.session.context("no session")?;
        self.connection.attach(session, attach, credit).context("no link")
    }

    /// The link with the hub's answer, or its refusal.
    pub async fn attach(
        &mut self,
        attach: Attach,
        credit: u32,
    ) -> anyhow::Result<Result<(LinkId, Box<Attach>), Refusal>> {
        let is_sender = attach.role == Role::Sender;
        let link = self.attach_only(attach, credit)?;
        let answer = self
            .wait_for("the answer to an attach", |event| match event {
                Event::Attached { link: of, attach } if *of == link => Some(attach.clone()),
                _ => None,
            })
            .await?;
        if answer.source.is_none() {
            return Ok(Err(self.detached(link).await?));
        }
        if is_sender {
            self.wait_for("credit", |event| {
                matches!(event, Event::Credit { link: of, .. } if *of == link).then_some(())
            })
            .await?;
        }
        Ok(Ok((link, answer)))
    }

    /// The error with which the hub ends a link.
    pub async fn detached(&mut self, link: LinkId) -> anyhow::Result<Refusal> {
        let error = self.wait_for("a detach", |event| match event {
            Event::Detach { link: of, error } if *of == link => Some(error.clone()),
            _ => None,
        });
        Ok(*error.await?.context("a detach without error")?)
    }

    /// Sends a message and waits for what becomes of it.
    pub async fn send(&mut self, link: LinkId, payload: &[u8]) -> anyhow::Result<Option<DeliveryState>> {
        let id = self.send_only(link, payload, MESSAGE_FORMAT, false)?;
        self.outcome(link, id).await
    }

    /// Sends without waiting; answers its id.
    pub fn send_only(
        &mut self,
        link: LinkId,
        payload: &[u8],
        message_format: u32,
        settled: bool,
    ) -> anyhow::Result<u32> {
        self.next += 1;
        let tag = DeliveryTag::new(&self.next.to_be_bytes()).context("a tag")?;
        Ok(self.connection.send(link, &Outgoing { tag, message_format, settled, payload })?)
    }

    /// What becomes of a message that was sent; it must be settled (amqp R16).
    pub async fn outcome(&mut self, link: LinkId, id: u32) -> anyhow::Result<Option<DeliveryState>> {
        let outcome = self.wait_for("an outcome", |event| match event {
            Event::Outcome(outcome) if outcome.link == link && outcome.id == id => Some(outcome.clone()),
            _ => None,
        });
        let outcome = outcome.await?;
        anyhow::ensure!(outcome.settled, "{outcome:?}");
        Ok(outcome.state)
    }

    /// The next message on a link.
    pub async fn receive(&mut self, link: LinkId) -> anyhow::Result<Delivery> {
        self.wait_for("a message", |event| match event {
            Event::Delivery(delivery) if delivery.link == link => Some(delivery.clone()),
            _ => None,
        })
        .await
    }

    /// The next message on a link within that time, if there is one.
    pub async fn receive_within(&mut self, link: LinkId, time: Duration) -> anyhow::Result<Option<Delivery>> {
        match timeout(time, self.receive(link)).await {
            Ok(delivery) => delivery.map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Settles a message and makes sure that the hub heard of it.
    pub async fn settle(&mut self, delivery: &Delivery, state: DeliveryState) -> anyhow::Result<()> {
        anyhow::ensure!(self.connection.settle(delivery.link, delivery.id, state), "nobody waits for it");
        self.flush().await
    }

    /// How the hub ends the connection: its error, or `None` when it just closes.
    pub async fn closed(&mut self) -> anyhow::Result<Option<Refusal>> {
        let close = self.wait_for("the end", |event| match event {
            Event::Close { error } => Some(error.clone().map(|error| *error)),
            _ => None,
        });
        close.await
    }

    /// The first event that is looked for; others stay.
    pub async fn wait_for<T>(&mut self, what: &str, find: impl Fn(&Event) -> Option<T>) -> anyhow::Result<T> {
        let found = timeout(PATIENCE, async {
            loop {
                if let Some((position, found)) =
                    self.events.iter().enumerate().find_map(|(position, event)| Some((position, find(event)?)))
                {
                    self.events.remove(position);
                    return anyhow::Ok(found);
                }
                self.read().await?;
            }
        });
        let found = found.await.with_context(|| format!("the hub keeps {what} back"))?;
        found.with_context(|| format!("waiting for {what} among {:?}", self.events))
    }

    async fn read(&mut self) -> anyhow::Result<()> {
        loop {
            self.flush().await?;
            if let Some(event) = self.connection.receive(&mut self.input, Instant::now())? {
                self.events.push_back(event);
                return self.flush().await;
            }
            self.flush().await?;
            anyhow::ensure!(self.stream.read_buf(&mut self.input).await? > 0, "the hub closed the connection");
        }
    }

    /// Writes what waits to be written.
    pub async fn flush(&mut self) -> anyhow::Result<()> {
        while !self.connection.output().is_empty() {
            let count = self.stream.write(self.connection.output()).await?;
            self.connection.consume_output(count, Instant::now());
        }
        Ok(self.stream.flush().await?)
    }
}
