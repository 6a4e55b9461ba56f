//! A raw HTTP/1.1 client: it sends what it is told and keeps the head of the answer as it came.

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::{patience::PATIENCE, tls::TlsStream};

/// One connection; requests follow each other on it.
pub struct Https {
    stream: TlsStream,
    input: Vec<u8>,
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    /// Status line and header lines, byte for byte.
    pub head: String,
    pub body: Vec<u8>,
}

impl Response {
    /// The header's value; its name compares without case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// Whether a header is spelled exactly so.
    pub fn has_header_spelled(&self, name: &str) -> bool {
        self.head.split("\r\n").skip(1).any(|line| line.split_once(':').is_some_and(|(key, _)| key == name))
    }

    /// The body as JSON.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("{self}"))
    }

    /// Fails unless the status is that one.
    pub fn expect(self, status: u16) -> anyhow::Result<Self> {
        anyhow::ensure!(self.status == status, "{status} expected: {self}");
        Ok(self)
    }

    /// The name of the error, after checking that header and body agree (rest §21.1).
    pub fn error_name(&self) -> anyhow::Result<String> {
        let header = self.header("iothub-errorcode").with_context(|| format!("no iothub-errorcode: {self}"))?;
        let envelope = self.json()?;
        let message = envelope.get("Message").and_then(Value::as_str).with_context(|| format!("no Message: {self}"))?;
        let (code, text) = message.split_once(';').with_context(|| format!("no text: {self}"))?;
        anyhow::ensure!(code == format!("ErrorCode:{header}"), "header and body differ: {self}");
        anyhow::ensure!(!text.is_empty() && !text.contains(';'), "Node cannot read this text: {self}");
        let tracking = envelope.get("ExceptionMessage").and_then(Value::as_str).unwrap_or_default();
        anyhow::ensure!(
            tracking.starts_with("Tracking ID:") && tracking.contains("-TimeStamp:"),
            "no tracking id: {self}"
        );
        Ok(header.to_owned())
    }
}

impl std::fmt::Display for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n\n{}", self.head, String::from_utf8_lossy(&self.body))
    }
}

impl Https {
    pub fn new(stream: TlsStream) -> Self {
        Self { stream, input: Vec::new() }
    }

    /// Sends the bytes as they are.
    pub async fn send_raw(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }

    /// Sends a request; `headers` are name and value.
    pub async fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> anyhow::Result<Response> {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: hub\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        self.send_raw(&[head.as_bytes(), body].concat()).await?;
        self.response().await
    }

    /// Sends a request for another protocol; it has no body.
    pub async fn upgrade(&mut self, target: &str, headers: &[(&str, &str)]) -> anyhow::Result<Response> {
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        self.send_raw(format!("GET {target} HTTP/1.1\r\nHost: hub:443\r\n{lines}\r\n").as_bytes()).await?;
        self.response().await
    }

    /// What is left of the connection, and what was read of it already.
    pub fn into_parts(self) -> (TlsStream, Vec<u8>) {
        (self.stream, self.input)
    }

    /// Reads one answer.
    pub async fn response(&mut self) -> anyhow::Result<Response> {
        timeout(PATIENCE, self.read_response()).await.context("no answer in time")?
    }

    async fn read_response(&mut self) -> anyhow::Result<Response> {
        let end = self.read_past(b"\r\n\r\n", 0).await?;
        let head = String::from_utf8(self.input.get(..end - 4).unwrap_or_default().to_vec())?;
        self.input.drain(..end);
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
        let mut response = Response { status, head, body: Vec::new() };
        if response.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            while self.read_chunk(&mut response.body).await? {}
        } else if let Some(length) = response.header("content-length") {
            let length = length.parse()?;
            self.read_at_least(length).await?;
            response.body = self.input.drain(..length).collect();
        }
        Ok(response)
    }

    /// Returns false behind the last one.
    async fn read_chunk(&mut self, body: &mut Vec<u8>) -> anyhow::Result<bool> {
        let end = self.read_past(b"\r\n", 0).await?;
        let line = String::from_utf8(self.input.drain(..end).collect())?;
        let length = usize::from_str_radix(line.trim(), 16).context("a chunk without length")?;
        self.read_at_least(length + 2).await?;
        body.extend(self.input.drain(..length));
        self.input.drain(..2);
        Ok(length > 0)
    }

    async fn read_past(&mut self, mark: &[u8], from: usize) -> anyhow::Result<usize> {
        loop {
            let input = self.input.get(from..).unwrap_or_default();
            if let Some(position) = input.windows(mark.len()).position(|window| window == mark) {
                return Ok(from + position + mark.len());
            }
            let length = self.input.len();
            self.read_at_least(length + 1).await?;
        }
    }

    async fn read_at_least(&mut self, length: usize) -> anyhow::Result<()> {
        while self.input.len() < length {
            if self.stream.read_buf(&mut self.input).await? == 0 {
                bail!("the hub closed the connection; so far it said {:?}", String::from_utf8_lossy(&self.input));
            }
        }
        Ok(())
    }

    /// Resolves when the hub closes the connection; fails when it sends something instead.
    pub async fn closed(mut self) -> anyhow::Result<()> {
        let mut byte = [0];
        let read = timeout(PATIENCE, self.stream.read(&mut byte)).await.context("the connection stays open")?;
        anyhow::ensure!(!matches!(read, Ok(1)), "the hub sent something");
        Ok(())
    }
}
