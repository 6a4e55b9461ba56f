//! Accepting connections: bounded, patient, never silent about why it cannot.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use crate::{
    connections::{Connections, Place},
    front::Front,
};

/// Connections that the kernel keeps for us until they are accepted.
const BACKLOG: i32 = 4096;
/// After an error such as "too many open files".
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

/// Accepts until the gateway drains. `serve` gets the connection, its place, and a permit that bounds how many
/// connections prove themselves at the same time: it is dropped once they have.
pub(crate) async fn accept<S, F>(listener: TcpListener, front: Arc<Front>, handshakes: Arc<Semaphore>, serve: S)
where
    S: Fn(Accepted) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let Ok(handshake) = handshakes.clone().acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Some(place) = Connections::enter(&front.connections) else {
            tracing::warn!(%peer, max = front.config.limits.connections_max, "too many connections: one is turned away");
            continue;
        };
        let _ = stream.set_nodelay(true); // a socket without it is slower, not broken
        tokio::spawn(serve(Accepted { stream, peer, place, handshake }));
    }
}

/// A connection that has just begun.
pub(crate) struct Accepted {
    pub stream: TcpStream,
    pub peer: SocketAddr,
    pub place: Place,
    pub handshake: tokio::sync::OwnedSemaphorePermit,
}
