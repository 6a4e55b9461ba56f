//! Accepting connections: bounded, patient, never silent about why it cannot.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout_at,
};

use crate::{
    admission::{Refused, Unproved},
    connections::{Connections, Place},
    front::Front,
};

/// Connections that the kernel keeps for us until they are accepted.
const BACKLOG: i32 = 4096;
/// After an error such as "too many open files", and while all places are taken.
const PAUSE: Duration = Duration::from_millis(50);

/// A listening socket; its address may be taken again at once after a restart. `::` takes IPv4 too.
pub(crate) fn bind(address: IpAddr, port: u16) -> io::Result<TcpListener> {
    let address = SocketAddr::new(address, port);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts until the gateway drains. `serve` gets the connection, its place among all, and its place among those that
/// have not proved themselves.
pub(crate) async fn accept<S, F>(listener: TcpListener, front: Arc<Front>, serve: S)
where
    S: Fn(Accepted) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                // Most often there are too many open files; who says nothing gives one back.
                front.admission.evict_oldest();
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let since = Instant::now();
        let Some(unproved) = admit(&front, peer.ip()).await else { continue };
        let Some(place) = Connections::enter(&front.connections) else {
            front.metrics.refused_connections.with_label_values(&["connections"]).inc();
            tracing::warn!(%peer, "too many connections: one is turned away");
            continue;
        };
        let _ = stream.set_nodelay(true); // a socket without it is slower, not broken
        let accepted = Accepted { stream, peer, place, unproved, since };
        let (front, serve) = (front.clone(), serve.clone());
        tokio::spawn(async move {
            if accepted.speaks(&front).await {
                Box::pin(serve(accepted)).await;
            }
        });
    }
}

/// Waits for a place among those that have not said who they are; `None` when the address has its share.
pub(crate) async fn admit(front: &Front, peer: IpAddr) -> Option<Unproved> {
    loop {
        match front.admission.enter(peer, Instant::now()) {
            Ok(unproved) => return Some(unproved),
            Err(Refused::Source) => {
                front.metrics.refused_connections.with_label_values(&["address"]).inc();
                tracing::debug!(%peer, "too many unfinished handshakes of one address: a connection is turned away");
                return None;
            }
            Err(Refused::Busy) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// A connection that has just begun.
pub(crate) struct Accepted {
    pub stream: TcpStream,
    pub peer: SocketAddr,
    pub place: Place,
    pub unproved: Unproved,
    /// All its time to prove itself runs from here.
    pub since: Instant,
}

impl Accepted {
    /// When TLS has to be finished.
    pub fn handshake_deadline(&self, front: &Front) -> tokio::time::Instant {
        (self.since + Duration::from_secs(front.config.limits.handshake_timeout_seconds)).into()
    }

    /// Waits for the first byte: before it nothing is made for the peer, so silent ones are cheap to hold.
    async fn speaks(&self, front: &Front) -> bool {
        tokio::select! {
            readable = timeout_at(self.handshake_deadline(front), self.stream.readable()) => {
                matches!(readable, Ok(Ok(())))
            }
            () = self.place.draining() => false,
            () = self.unproved.evicted() => false,
        }
    }
}
