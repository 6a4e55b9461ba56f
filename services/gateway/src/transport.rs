//! What MQTT and AMQP run over: TLS on a port of their own, a WebSocket on that of HTTPS (mqtt §1, amqp §1.1), or, for
//! clients of the Event Hubs emulator, nothing.

use std::{
    io,
    task::{Context, Poll},
};

use crate::{
    plain_socket::PlainSocket,
    tls::{ReadOutcome, TlsSocket},
    websocket::WebSocket,
};

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

    /// Says goodbye; the caller flushes and drops the socket afterwards.
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tls_connection_pays_nothing_for_the_other_kinds() {
        assert_eq!(size_of::<Transport>(), size_of::<TlsSocket>());
    }
}
