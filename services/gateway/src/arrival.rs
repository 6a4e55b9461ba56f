//! From an accepted socket to a connection on which a protocol may begin.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use auth::ClientCertificate;
use rustls::ServerConfig;
use tokio::time::{timeout, timeout_at};

use crate::{
    Front,
    admission::Unproved,
    connections::Place,
    listener::{self, Accepted},
    plain_socket::PlainSocket,
    tls::TlsSocket,
    transport::Transport,
    websocket::WebSocket,
};

/// How long the last words may take.
pub(crate) const GOODBYE: Duration = Duration::from_secs(2);

/// A connection on which MQTT or AMQP may begin.
pub(crate) struct Arrived {
    pub socket: Transport,
    /// From the TLS handshake.
    pub certificate: Option<Arc<ClientCertificate>>,
    pub peer: SocketAddr,
    pub place: Place,
    pub unproved: Unproved,
    /// The time to say who one is runs from here.
    pub since: Instant,
    /// Read already.
    pub plain: Vec<u8>,
}

impl Arrived {
    /// Does the TLS handshake. `None`: it failed, which is logged.
    pub async fn by_tls(front: &Front, tls: Arc<ServerConfig>, accepted: Accepted) -> Option<Self> {
        let deadline = accepted.handshake_deadline(front);
        let Accepted { stream, peer, place, unproved, since } = accepted;
        let socket =
            TlsSocket::new(stream, tls).inspect_err(|error| tracing::error!(%error, "cannot begin a TLS handshake"));
        let mut socket = socket.ok()?;
        let mut plain = Vec::new();
        let handshake = tokio::select! {
            handshake = timeout_at(deadline, socket.handshake(&mut plain)) => handshake,
            () = unproved.evicted() => return None,
        };
        match handshake {
            Ok(Ok(())) => front.metrics.handshakes.inc(),
            failed => {
                front.metrics.handshake_failures.inc();
                let error = failed.err().map_or_else(|| "failed".to_owned(), |late| late.to_string());
                tracing::debug!(%peer, error, "no TLS handshake");
                say_goodbye(&mut Transport::Tls(socket)).await; // the alert
                return None;
            }
        }
        let certificate = front.client_certificate(socket.client_certificates()).map(Arc::new);
        Some(Self { socket: Transport::Tls(socket), certificate, peer, place, unproved, since, plain })
    }

    /// A connection that needs no handshake.
    pub fn by_tcp(accepted: Accepted) -> Self {
        let Accepted { stream, peer, place, unproved, since } = accepted;
        let socket = Transport::Plain(Box::new(PlainSocket::new(stream)));
        Self { socket, certificate: None, peer, place, unproved, since, plain: Vec::new() }
    }

    /// A connection to the HTTPS port that became a WebSocket; the certificate is that of its TLS handshake. It has
    /// proved to speak HTTPS; who it is it has yet to say. `None`: there is no room for another such.
    pub async fn by_websocket(
        front: &Front,
        socket: WebSocket,
        certificate: Option<Arc<ClientCertificate>>,
        peer: SocketAddr,
        place: Place,
    ) -> Option<Self> {
        let address: IpAddr = peer.ip();
        let unproved = listener::admit(front, Some(address)).await?;
        let socket = Transport::WebSocket(Box::new(socket));
        Some(Self { socket, certificate, peer, place, unproved, since: Instant::now(), plain: Vec::new() })
    }
}

/// Sends what waits, and waits until the peer has closed, too.
pub(crate) async fn say_goodbye(socket: &mut Transport) {
    let goodbye = std::future::poll_fn(|context| socket.poll_goodbye(context));
    let _ = timeout(GOODBYE, goodbye).await; // the peer may be gone already
}
