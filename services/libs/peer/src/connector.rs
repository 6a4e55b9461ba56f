use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{
    codegen::Service,
    transport::{Channel, Endpoint, Uri},
};

use crate::{Credentials, Role};

/// Longest time for TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Makes connections to processes of one role.
#[derive(Clone)]
pub struct Connector {
    credentials: Arc<Credentials>,
    role: Role,
}

impl Connector {
    /// To processes of that role and no others.
    pub fn new(credentials: Arc<Credentials>, role: Role) -> Self {
        Self { credentials, role }
    }

    /// A channel to `http://host:port`; connects when it is first needed, and again whenever the connection is lost.
    pub fn channel(&self, endpoint: Endpoint) -> Channel {
        endpoint.connect_with_connector_lazy(self.clone())
    }

    async fn connect(self, uri: Uri) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{uri}: {what}"));
        let host = uri.host().ok_or_else(|| invalid("no host"))?.trim_matches(['[', ']']);
        let port = uri.port_u16().ok_or_else(|| invalid("no port"))?;
        let name = self.role.server_name().ok_or_else(|| invalid("no name for the role"))?;
        let stream = TcpStream::connect((host, port)).await?;
        // Frames are written whole; waiting for more to send only adds latency.
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(self.credentials.current().client.clone());
        Ok(TokioIo::new(connector.connect(name, stream).await?))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let connected = timeout(CONNECT_TIMEOUT, connector.connect(uri.clone())).await;
            let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            connected.inspect_err(|error| tracing::debug!(%uri, %error, "no connection"))
        })
    }
}
