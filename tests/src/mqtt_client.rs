//! A raw MQTT client: packets one by one, and the end of the connection.

use std::time::Duration;

use anyhow::{Context, bail};
use mqtt::client::{self, Answer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use crate::patience::PATIENCE;

/// TLS, or a WebSocket.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// One connection.
pub struct Mqtt {
    stream: Box<dyn Stream>,
    input: Vec<u8>,
}

/// What the hub did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    ConnAck {
        session_present: bool,
        code: u8,
    },
    PubAck(u16),
    SubAck {
        packet_id: u16,
        codes: Vec<u8>,
    },
    UnsubAck(u16),
    PingResponse,
    Publish {
        topic: String,
        payload: Vec<u8>,
        /// Of a message at least once.
        packet_id: Option<u16>,
        duplicate: bool,
    },
    /// It closed the connection.
    Closed,
}

impl From<Answer<'_>> for Received {
    fn from(answer: Answer<'_>) -> Self {
        match answer {
            Answer::ConnAck { session_present, code } => Self::ConnAck { session_present, code },
            Answer::PubAck(packet_id) => Self::PubAck(packet_id),
            Answer::SubAck { packet_id, codes } => Self::SubAck { packet_id, codes: codes.to_vec() },
            Answer::UnsubAck(packet_id) => Self::UnsubAck(packet_id),
            Answer::PingResponse => Self::PingResponse,
            Answer::Publish { topic, payload, packet_id, duplicate, .. } => {
                Self::Publish { topic: topic.to_owned(), payload: payload.to_vec(), packet_id, duplicate }
            }
        }
    }
}

impl Mqtt {
    pub fn new(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        Self { stream: Box::new(stream), input: Vec::new() }
    }

    /// Sends CONNECT and returns what the hub answers.
    pub async fn connect(&mut self, connect: &mqtt::Connect) -> anyhow::Result<Received> {
        let mut out = Vec::new();
        client::connect(connect, &mut out);
        self.send(&out).await?;
        self.receive().await
    }

    /// Sends the bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }

    /// Publishes; with a packet id at QoS 1.
    pub async fn publish(&mut self, topic: &str, payload: &[u8], packet_id: Option<u16>) -> anyhow::Result<()> {
        let mut out = Vec::new();
        client::publish(topic, payload, packet_id, &mut out);
        self.send(&out).await
    }

    /// Publishes at QoS 1 and waits for the acknowledgement.
    pub async fn publish_acknowledged(&mut self, topic: &str, payload: &[u8]) -> anyhow::Result<()> {
        self.publish(topic, payload, Some(7)).await?;
        self.expect(Received::PubAck(7)).await
    }

    pub async fn subscribe(&mut self, packet_id: u16, filters: &[(&str, u8)]) -> anyhow::Result<Received> {
        let mut out = Vec::new();
        client::subscribe(packet_id, filters, &mut out);
        self.send(&out).await?;
        self.receive().await
    }

    pub async fn unsubscribe(&mut self, packet_id: u16, filters: &[&str]) -> anyhow::Result<Received> {
        let mut out = Vec::new();
        client::unsubscribe(packet_id, filters, &mut out);
        self.send(&out).await?;
        self.receive().await
    }

    /// The next thing the hub does.
    pub async fn receive(&mut self) -> anyhow::Result<Received> {
        timeout(PATIENCE, self.read()).await.context("the hub does nothing")?
    }

    /// What the hub does within that time; `None` when it is silent.
    pub async fn receive_within(&mut self, time: Duration) -> anyhow::Result<Option<Received>> {
        timeout(time, self.read()).await.ok().transpose()
    }

    /// Fails unless the next thing is that one.
    pub async fn expect(&mut self, expected: Received) -> anyhow::Result<()> {
        match self.receive().await? {
            received if received == expected => Ok(()),
            received => bail!("{expected:?} expected, not {received:?}"),
        }
    }

    /// Fails unless the hub closes the connection, without another packet.
    pub async fn expect_closed(mut self) -> anyhow::Result<()> {
        self.expect(Received::Closed).await
    }

    /// The next message of the hub, which must be at most once: topic and payload.
    pub async fn message(&mut self) -> anyhow::Result<(String, Vec<u8>)> {
        match self.receive().await? {
            Received::Publish { topic, payload, packet_id: None, duplicate: false } => Ok((topic, payload)),
            received => bail!("a message expected, not {received:?}"),
        }
    }

    /// The same with a payload of JSON.
    pub async fn json_message(&mut self) -> anyhow::Result<(String, serde_json::Value)> {
        let (topic, payload) = self.message().await?;
        let json = serde_json::from_slice(&payload).with_context(|| format!("{topic} {payload:?}"))?;
        Ok((topic, json))
    }

    /// Asks for a sign of life.
    pub async fn ping(&mut self) -> anyhow::Result<()> {
        self.send(&[0xc0, 0]).await?;
        self.expect(Received::PingResponse).await
    }

    /// Says goodbye.
    pub async fn disconnect(mut self) -> anyhow::Result<()> {
        self.send(&[0xe0, 0]).await?;
        self.expect(Received::Closed).await
    }

    async fn read(&mut self) -> anyhow::Result<Received> {
        loop {
            if let Some((answer, length)) = client::decode_answer(&self.input)? {
                let received = answer.into();
                self.input.drain(..length);
                return Ok(received);
            }
            match self.stream.read_buf(&mut self.input).await {
                // However it closes: with a close of TLS, of TCP, or by a reset.
                Ok(0) | Err(_) => return Ok(Received::Closed),
                Ok(_) => {}
            }
        }
    }
}
