use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use crate::{Credentials, Role};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Handshakes at the same time; who comes then waits in the listener's backlog.
const HANDSHAKES_MAX: usize = 256;
/// Connections that wait for the server to take them.
const QUEUE_MAX: usize = 16;
/// Pause when the system gives no more sockets.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// A connection from a process of the cluster. A request's extensions hold the [`Role`] of the peer.
#[derive(Debug)]
pub struct PeerConnection {
    stream: TlsStream<TcpStream>,
    role: Role,
}

/// The connections whose peers have shown a certificate of the cluster, for as long as the stream is held.
pub fn accept(listener: TcpListener, credentials: Arc<Credentials>) -> ReceiverStream<io::Result<PeerConnection>> {
    let (connections, receiver) = mpsc::channel(QUEUE_MAX);
    tokio::spawn(async move {
        tokio::select! {
            () = run(&listener, &credentials, &connections) => {}
            () = connections.closed() => {}
        }
    });
    ReceiverStream::new(receiver)
}

async fn run(
    listener: &TcpListener,
    credentials: &Arc<Credentials>,
    connections: &mpsc::Sender<io::Result<PeerConnection>>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let Ok(permit) = handshakes.clone().acquire_owned().await else { return };
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "no connection could be accepted");
                sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let (credentials, connections) = (credentials.clone(), connections.clone());
        tokio::spawn(async move {
            let shaken = timeout(HANDSHAKE_TIMEOUT, shake(stream, &credentials)).await;
            drop(permit);
            match shaken.unwrap_or_else(|_| Err("the handshake took too long".to_owned())) {
                Ok(connection) => drop(connections.send(Ok(connection)).await),
                Err(reason) => refused(address, &reason),
            }
        });
    }
}

async fn shake(stream: TcpStream, credentials: &Credentials) -> Result<PeerConnection, String> {
    // Frames are written whole; waiting for more to send only adds latency.
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let acceptor = TlsAcceptor::from(credentials.current().server.clone());
    let stream = acceptor.accept(stream).await.map_err(|error| error.to_string())?;
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let role = certificates.first().and_then(Role::of);
    let role = role.ok_or("its certificate names no role: it needs ROLE.ironhub.internal as a DNS name")?;
    Ok(PeerConnection { stream, role })
}

fn refused(address: SocketAddr, reason: &str) {
    tracing::warn!(%address, reason, "a process was refused");
}

impl Connected for PeerConnection {
    type ConnectInfo = Role;

    fn connect_info(&self) -> Role {
        self.role
    }
}

impl AsyncRead for PeerConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for PeerConnection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
