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
    proxy_protocol::{self, Origin, ReadError},
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
/// have not proved themselves. `proxies`: who says first whose connection it is.
pub(crate) async fn accept<S, F>(listener: TcpListener, front: Arc<Front>, proxies: proxy_protocol::Config, serve: S)
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
        let is_proxy = proxies.trusts(peer.ip());
        let Some(unproved) = admit(&front, (!is_proxy).then_some(peer.ip())).await else { continue };
        let Some(place) = Connections::enter(&front.connections) else {
            front.metrics.refused_connections.with_label_values(&["connections"]).inc();
            tracing::warn!(%peer, "too many connections: one is turned away");
            continue;
        };
        let _ = stream.set_nodelay(true); // a socket without it is slower, not broken
        let accepted = Accepted { stream, peer, place, unproved, since };
        let (front, serve) = (front.clone(), serve.clone());
        tokio::spawn(async move {
            let accepted = if is_proxy { Box::pin(accepted.of_client(&front)).await } else { Some(accepted) };
            let Some(accepted) = accepted else { return };
            if accepted.speaks(&front).await {
                Box::pin(serve(accepted)).await;
            }
        });
    }
}

/// Waits for a place among those that have not said who they are; `None` when the address has its share.
pub(crate) async fn admit(front: &Front, peer: Option<IpAddr>) -> Option<Unproved> {
    loop {
        match front.admission.enter(peer, Instant::now()) {
            Ok(unproved) => return Some(unproved),
            Err(Refused::Source) => {
                turned_away(front, peer);
                return None;
            }
            Err(Refused::Busy) => tokio::time::sleep(PAUSE).await,
        }
    }
}

fn turned_away(front: &Front, peer: Option<IpAddr>) {
    front.metrics.refused_connections.with_label_values(&["address"]).inc();
    let peer = peer.map(tracing::field::display);
    tracing::debug!(peer, "too many unfinished handshakes of one address: a connection is turned away");
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
        matches!(self.in_time(front, self.stream.peek(&mut [0])).await, Some(Ok(_)))
    }

    /// The connection of the client that a proxy speaks for. `None`: the proxy does not say properly for whom, which is
    /// logged, or that address has its share.
    async fn of_client(mut self, front: &Front) -> Option<Self> {
        let proxy = self.peer;
        let header = proxy_protocol::read(&self.stream, self.handshake_deadline(front));
        match self.in_time(front, header).await? {
            Ok(Origin::Client(peer)) => self.peer = peer,
            Ok(Origin::Socket) => {}
            Err(ReadError::Nothing) => return None,
            Err(error) => {
                front.metrics.refused_connections.with_label_values(&["proxy_header"]).inc();
                tracing::warn!(%proxy, %error, "a connection of a trusted source is refused");
                return None;
            }
        }
        let peer = self.peer.ip();
        let named = self.unproved.name(peer, Instant::now());
        named.inspect_err(|_| turned_away(front, Some(peer))).ok().map(|()| self)
    }

    /// What comes of it before the time for the handshake is over; `None` too when the connection has to end.
    async fn in_time<T>(&self, front: &Front, step: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = timeout_at(self.handshake_deadline(front), step) => done.ok(),
            () = self.place.draining() => None,
            () = self.unproved.evicted() => None,
        }
    }
}
