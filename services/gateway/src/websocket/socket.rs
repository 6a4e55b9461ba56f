//! A WebSocket driven by hand, over what is left of an HTTPS connection after its upgrade.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frame::{Decoder, State, Violation, write_binary, write_close};
use crate::{tls::ReadOutcome, unsent::Unsent};

/// One read takes up to so much.
const READ_BYTES: usize = 16 * 1024;
/// Status code of an end that is nobody's fault (RFC 6455 §7.4.1).
const NORMAL: u16 = 1000;

thread_local! {
    static READ_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What a WebSocket is spoken over: TLS as a rule.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// A WebSocket; an idle one owns no buffer beside those of TLS.
pub(crate) struct WebSocket {
    stream: Box<dyn ByteStream>,
    /// Bytes that came behind the handshake before it was answered.
    early: Bytes,
    decoder: Decoder,
    /// Frames that the TLS layer did not take yet.
    unsent: Unsent,
    /// The TLS layer may hold bytes that the socket did not take yet.
    unflushed: bool,
    /// What the peer's goodbye is answered with.
    answer_code: Option<Option<u16>>,
    closing: bool,
}

impl WebSocket {
    pub fn new(stream: Box<dyn ByteStream>, early: Bytes) -> Self {
        Self {
            stream,
            early,
            decoder: Decoder::default(),
            unsent: Unsent::default(),
            unflushed: false,
            answer_code: None,
            closing: false,
        }
    }

    /// Reads until payload came; appends it to `plain`. Pings are answered, and are no sign of life for the protocol
    /// inside.
    pub fn poll_read(&mut self, context: &mut Context<'_>, plain: &mut Vec<u8>) -> Poll<io::Result<ReadOutcome>> {
        let before = plain.len();
        loop {
            let state = ready!(self.poll_read_once(context, plain))?;
            let flushed = self.poll_flush(context)?; // pongs
            match state {
                State::Closed(code) => {
                    self.answer_code = Some(code);
                    return Poll::Ready(Ok(ReadOutcome::End));
                }
                State::Open if plain.len() > before => return Poll::Ready(Ok(ReadOutcome::Some)),
                State::Open if flushed.is_pending() => return Poll::Pending,
                State::Open => {}
            }
        }
    }

    fn poll_read_once(&mut self, context: &mut Context<'_>, plain: &mut Vec<u8>) -> Poll<io::Result<State>> {
        if !self.early.is_empty() {
            let early = std::mem::take(&mut self.early);
            return Poll::Ready(self.receive(&early, plain));
        }
        READ_BUFFER.with_borrow_mut(|buffer| {
            buffer.resize(READ_BYTES, 0);
            let mut read = ReadBuf::new(buffer);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(State::Closed(None)));
            }
            Poll::Ready(self.receive(read.filled(), plain))
        })
    }

    /// A violation's close frame waits to be flushed.
    fn receive(&mut self, bytes: &[u8], plain: &mut Vec<u8>) -> io::Result<State> {
        self.decoder.receive(bytes, plain, &mut self.unsent.0).map_err(|violation: Violation| {
            self.close(Some(violation.status_code()));
            io::Error::new(io::ErrorKind::InvalidData, violation)
        })
    }

    /// Sends the bytes as one message, as far as the socket takes it now; the rest waits for
    /// [`poll_flush`](Self::poll_flush).
    pub fn write(&mut self, context: &mut Context<'_>, plain: &[u8]) -> io::Result<()> {
        if !plain.is_empty() && !self.closing {
            write_binary(plain, &mut self.unsent.0);
        }
        let flushed = self.poll_flush(context);
        self.unsent.bound(flushed)
    }

    /// Says goodbye, or answers the peer's; it goes out with the next flush.
    pub fn queue_close(&mut self) {
        self.close(self.answer_code.unwrap_or(Some(NORMAL)));
    }

    fn close(&mut self, code: Option<u16>) {
        if !std::mem::replace(&mut self.closing, true) {
            write_close(code, &mut self.unsent.0);
        }
    }

    /// Whether bytes wait for the peer.
    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty() || self.unflushed
    }

    /// Sends what waits; ready once nothing does.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unflushed |= !self.unsent.is_empty();
        ready!(self.unsent.poll_write(&mut self.stream, context))?;
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(context))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// What it is spoken over: frames.
    pub fn stream(&mut self) -> &mut (impl AsyncRead + AsyncWrite + Unpin + use<>) {
        &mut self.stream
    }
}
