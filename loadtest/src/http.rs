//! One keep-alive HTTP/1.1 connection over TLS, one request at a time: just enough to drive a hub cheaply.

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::tls::TlsStream;

const RESPONSE_BYTES_MAX: usize = 1024 * 1024;

pub struct HttpConnection {
    stream: TlsStream,
    /// What of the next response was read already.
    input: Vec<u8>,
}

/// One request; `target` is path and query as they go onto the wire.
pub struct Request<'a> {
    pub method: &'a str,
    pub target: &'a str,
    pub host: &'a str,
    pub token: &'a str,
    /// More header lines, each ending with CR LF.
    pub headers: &'a str,
    pub body: &'a [u8],
}

impl Request<'_> {
    /// The bytes of the request.
    pub fn encode(&self) -> Vec<u8> {
        let Self { method, target, host, token, headers, body } = self;
        let length = body.len();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {token}\r\n{headers}Content-Length: {length}\r\n\r\n"
        );
        [head.as_bytes(), body].concat()
    }
}

impl HttpConnection {
    pub fn new(stream: TlsStream) -> Self {
        Self { stream, input: Vec::new() }
    }

    /// Sends an encoded request and reads the whole response: its status and body.
    pub async fn send(&mut self, request: &[u8]) -> anyhow::Result<(u16, Vec<u8>)> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        loop {
            if let Some((head, total)) = head(&self.input)? {
                let status = head.status;
                self.read_until(total).await?;
                let body = self.input.get(head.bytes..total).unwrap_or_default().to_vec();
                self.input.drain(..total);
                return Ok((status, body));
            }
            let wanted = self.input.len() + 1;
            self.read_until(wanted).await?;
        }
    }

    async fn read_until(&mut self, bytes: usize) -> anyhow::Result<()> {
        while self.input.len() < bytes {
            if self.stream.read_buf(&mut self.input).await? == 0 {
                bail!("the hub closed the connection");
            }
            anyhow::ensure!(self.input.len() <= RESPONSE_BYTES_MAX, "the hub's answer is too long");
        }
        Ok(())
    }
}

struct Head {
    status: u16,
    bytes: usize,
}

/// The head of the response at the front of `input`, and the length of head and body.
fn head(input: &[u8]) -> anyhow::Result<Option<(Head, usize)>> {
    let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(input.get(..end).unwrap_or_default()).context("the hub's answer is no HTTP")?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let mut length = 0;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().context("a content length that is no number")?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            bail!("the hub's answer is chunked, which this client does not read");
        }
    }
    let bytes = end + 4;
    Ok(Some((Head { status: status.context("the hub's answer has no status")?, bytes }, bytes + length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_ends_where_its_length_says() -> anyhow::Result<()> {
        let input = b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\nX: y\r\n\r\n{}HTTP";
        let (head, total) = head(input)?.context("a whole head")?;
        assert_eq!((head.status, &input[head.bytes..total]), (404, &b"{}"[..]));
        assert!(super::head(b"HTTP/1.1 204 No Content\r\n")?.is_none());
        assert!(super::head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        Ok(())
    }
}
