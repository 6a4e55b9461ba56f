//! A TCP connection without TLS: what clients of the Event Hubs emulator speak over (amqp §8.1).

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    net::TcpStream,
};

use crate::{tls::ReadOutcome, unsent::Unsent};

/// One read takes up to so much.
const READ_BYTES: usize = 16 * 1024;

pub(crate) struct PlainSocket {
    stream: TcpStream,
    unsent: Unsent,
}

impl PlainSocket {
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, unsent: Unsent::default() }
    }

    /// Reads; appends to `plain`.
    pub fn poll_read(&mut self, context: &mut Context<'_>, plain: &mut Vec<u8>) -> Poll<io::Result<ReadOutcome>> {
        let start = plain.len();
        plain.resize(start + READ_BYTES, 0);
        let mut buffer = ReadBuf::new(plain.get_mut(start..).unwrap_or_default());
        let read = Pin::new(&mut self.stream).poll_read(context, &mut buffer);
        let count = buffer.filled().len();
        plain.truncate(start + count);
        ready!(read)?;
        Poll::Ready(Ok(if count == 0 { ReadOutcome::End } else { ReadOutcome::Some }))
    }

    /// Sends what the socket takes now; the rest waits for [`poll_flush`](Self::poll_flush).
    pub fn write(&mut self, context: &mut Context<'_>, plain: &[u8]) -> io::Result<()> {
        self.unsent.0.extend_from_slice(plain);
        let flushed = self.poll_flush(context);
        self.unsent.bound(flushed)
    }

    /// Whether bytes wait for the peer.
    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Sends what waits; ready once nothing does.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unsent.poll_write(&mut self.stream, context)
    }

    /// What it is spoken over.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}
