//! Opens an MQTT connection: TCP, TLS, CONNECT, CONNACK.

use anyhow::{Context, bail, ensure};
use mqtt::client::{Answer, connect, decode_answer, disconnect};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::tls::{Connector, TlsStream};

/// Connects and waits until the server accepted.
pub async fn open(connector: &Connector, index: u32, identity: &mqtt::Connect) -> anyhow::Result<TlsStream> {
    open_session(connector, index, identity).await.map(|(stream, _)| stream)
}

/// The same; also, whether the server has a stored session of the client.
pub async fn open_session(
    connector: &Connector,
    index: u32,
    identity: &mqtt::Connect,
) -> anyhow::Result<(TlsStream, bool)> {
    let mut stream = connector.connect(index).await.context("cannot connect")?;
    let mut out = Vec::new();
    connect(identity, &mut out);
    send(&mut stream, &out).await?;
    let mut input = [0; 4];
    stream.read_exact(&mut input).await.context("no CONNACK")?;
    match decode_answer(&input)? {
        Some((Answer::ConnAck { code: 0, session_present }, _)) => Ok((stream, session_present)),
        Some((Answer::ConnAck { code, .. }, _)) => bail!("CONNACK {code}"),
        _ => bail!("the server answered CONNECT with something else"),
    }
}

/// Says goodbye and closes.
pub async fn close(mut stream: TlsStream) -> anyhow::Result<()> {
    let mut out = Vec::new();
    disconnect(&mut out);
    stream.write_all(&out).await?;
    Ok(stream.shutdown().await?)
}

/// Writes all of it, down to the socket.
pub async fn send(stream: &mut TlsStream, bytes: &[u8]) -> anyhow::Result<()> {
    stream.write_all(bytes).await?;
    Ok(stream.flush().await?)
}

/// What was read and not handled yet; keeps incomplete packets for the next read.
pub struct Input {
    bytes: Vec<u8>,
    filled: usize,
}

impl Input {
    pub fn new(bytes: usize) -> Self {
        Self { bytes: vec![0; bytes], filled: 0 }
    }

    /// Reads once and hands every complete packet to `handle`. May be dropped while it waits.
    pub async fn read(&mut self, stream: &mut TlsStream, mut handle: impl FnMut(&Answer<'_>)) -> anyhow::Result<()> {
        let space = self.bytes.get_mut(self.filled..).unwrap_or_default();
        ensure!(!space.is_empty(), "the server sent a packet that is too long");
        let read = stream.read(space).await?;
        ensure!(read > 0, "the server closed the connection");
        self.filled += read;
        let mut handled = 0;
        while let Some((answer, length)) = decode_answer(self.bytes.get(handled..self.filled).unwrap_or_default())? {
            handle(&answer);
            handled += length;
        }
        self.bytes.copy_within(handled..self.filled, 0);
        self.filled -= handled;
        Ok(())
    }
}
