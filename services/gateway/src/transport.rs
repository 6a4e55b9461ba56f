//! What MQTT and AMQP run over: TLS on a port of their own, a WebSocket on that of HTTPS (mqtt §1, amqp §1.1), or, for
//! clients of the Event Hubs emulator, nothing.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    plain_socket::PlainSocket,
    tls::{ReadOutcome, TlsSocket},
    websocket::WebSocket,
};

/// One read of what nobody listens to any more takes up to so much.
const DISCARDED_BYTES: usize = 4096;

/// A connection's socket. The rarer kinds are boxed: the other must not become larger for them.
pub(crate) enum Transport {
    Tls(TlsSocket),
    WebSocket(Box<WebSocket>),
    Plain(Box<PlainSocket>),
}

impl Transport {
    /// Reads; appends to `plain`.
    pub fn poll_read(&mut self, context: &mut Context<'_>, plain: &mut Vec<u8>) -> Poll<io::Result<ReadOutcome>> {
        match self {
            Self::Tls(socket) => socket.poll_read(context, plain),
            Self::WebSocket(socket) => socket.poll_read(context, plain),
            Self::Plain(socket) => socket.poll_read(context, plain),
        }
    }

    /// Sends what the socket takes now; the rest waits for [`poll_flush`](Self::poll_flush).
    pub fn write(&mut self, context: &mut Context<'_>, plain: &[u8]) -> io::Result<()> {
        match self {
            Self::Tls(socket) => socket.write(context, plain),
            Self::WebSocket(socket) => socket.write(context, plain),
            Self::Plain(socket) => socket.write(context, plain),
        }
    }

    /// Says that nothing more is said; [`poll_goodbye`](Self::poll_goodbye) sends it.
    pub fn queue_close(&mut self) {
        match self {
            Self::Tls(socket) => socket.queue_close(),
            Self::WebSocket(socket) => socket.queue_close(),
            Self::Plain(_) => {} // its end is all there is to say
        }
    }

    /// Whether bytes wait for the peer.
    pub fn has_unsent(&self) -> bool {
        match self {
            Self::Tls(socket) => socket.has_unsent(),
            Self::WebSocket(socket) => socket.has_unsent(),
            Self::Plain(socket) => socket.has_unsent(),
        }
    }

    /// Sends what waits; ready once nothing does.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tls(socket) => socket.poll_flush(context),
            Self::WebSocket(socket) => socket.poll_flush(context),
            Self::Plain(socket) => socket.poll_flush(context),
        }
    }

    /// Sends what waits and ends the own direction; ready once the peer has ended its direction, too, and may be forgotten.
    pub fn poll_goodbye(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(context))?;
        match self {
            Self::Tls(socket) => poll_end(socket.stream(), context),
            Self::WebSocket(socket) => poll_end(socket.stream(), context),
            Self::Plain(socket) => poll_end(socket.stream(), context),
        }
    }
}

/// What the peer still sends is read and forgotten: closing on unread bytes resets the connection, which takes from the
/// peer what it has not read yet, and breaks what it is writing. One SDK (azure-iot-device of Python) never comes again
/// then: a broken write ends paho's thread.
fn poll_end(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), context: &mut Context<'_>) -> Poll<io::Result<()>> {
    ready!(Pin::new(&mut *stream).poll_shutdown(context))?;
    let mut space = [0; DISCARDED_BYTES];
    loop {
        let mut read = ReadBuf::new(&mut space);
        ready!(Pin::new(&mut *stream).poll_read(context, &mut read))?;
        if read.filled().is_empty() {
            return Poll::Ready(Ok(()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tls_connection_pays_nothing_for_the_other_kinds() {
        assert_eq!(size_of::<Transport>(), size_of::<TlsSocket>());
    }
}
