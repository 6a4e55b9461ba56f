//! The admin listener: `/metrics`, `/healthz`, `/readyz` over plain HTTP/1.1, on loopback unless configured otherwise.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
};

use crate::{DrainToken, Health, Metrics};

/// Connections served at the same time; more wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 32;
/// Bytes of request line and headers.
const HEADER_BYTES_MAX: usize = 8 * 1024;
/// Time for a request's headers to arrive.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection is closed after it, busy or not.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(60);

/// Where the admin listener listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    /// Address and port. Anyone who reaches it can read metrics and health, so keep it on loopback or in a private
    /// network. Port 0 takes a free one.
    pub address: SocketAddr,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { address: SocketAddr::from(([127, 0, 0, 1], 9600)) }
    }
}

/// A running admin listener; it ends when this is dropped.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Admin {
    /// Binds and serves. The error is that of the bind.
    pub async fn start(config: &AdminConfig, metrics: Metrics, health: Health, drain: DrainToken) -> io::Result<Self> {
        let listener = TcpListener::bind(config.address).await?;
        let address = listener.local_addr()?;
        let pages = Arc::new(Pages { metrics, health, drain });
        Ok(Self { address, task: tokio::spawn(accept(listener, pages)) })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, pages: Arc<Pages>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let pages = Arc::clone(&pages);
                tokio::spawn(async move {
                    serve(stream, pages).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the admin listener could not accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, pages: Arc<Pages>) {
    let service = service_fn(move |request| {
        let pages = Arc::clone(&pages);
        async move { Ok::<_, Infallible>(pages.answer(&request)) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // A client that goes away or talks nonsense is its own problem.
    let _ = tokio::time::timeout(CONNECTION_LIFETIME, connection).await;
}

struct Pages {
    metrics: Metrics,
    health: Health,
    drain: DrainToken,
}

impl Pages {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return page(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n");
        }
        match request.uri().path() {
            "/metrics" => self.metrics_page(),
            "/healthz" => self.health_page(),
            "/readyz" => self.ready_page(),
            _ => page(StatusCode::NOT_FOUND, "text/plain", "try /metrics, /healthz or /readyz\n"),
        }
    }

    fn metrics_page(&self) -> Response<Full<Bytes>> {
        match self.metrics.render() {
            Ok(text) => page(StatusCode::OK, "text/plain; version=0.0.4", text),
            Err(error) => page(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{error}\n")),
        }
    }

    fn health_page(&self) -> Response<Full<Bytes>> {
        let report = self.health.report();
        let status = if report.is_live() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        match serde_json::to_vec(&report) {
            Ok(json) => page(status, "application/json", json),
            Err(error) => page(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{error}\n")),
        }
    }

    fn ready_page(&self) -> Response<Full<Bytes>> {
        let report = self.health.report();
        if self.drain.is_draining() {
            page(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "draining\n")
        } else if report.is_ready() {
            page(StatusCode::OK, "text/plain", "ready\n")
        } else {
            page(StatusCode::SERVICE_UNAVAILABLE, "text/plain", format!("{}\n", report.status))
        }
    }
}

fn page(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::{Drain, State};

    struct Running {
        admin: Admin,
        health: Health,
        drain: Drain,
    }

    async fn start() -> Result<Running, Box<dyn Error>> {
        let (health, drain) = (Health::new(), Drain::new());
        let config = AdminConfig { address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let admin = Admin::start(&config, Metrics::new()?, health.clone(), drain.token()).await?;
        Ok(Running { admin, health, drain })
    }

    async fn ask(running: &Running, line: &str) -> Result<String, Box<dyn Error>> {
        let mut stream = TcpStream::connect(running.admin.address()).await?;
        stream.write_all(format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn readiness_follows_the_parts_and_the_drain() -> Result<(), Box<dyn Error>> {
        let running = start().await?;
        let store = running.health.part("store");
        assert!(ask(&running, "GET /readyz").await?.starts_with("HTTP/1.1 503"));
        store.set(State::Degraded("the disk is full".to_owned()));
        assert!(ask(&running, "GET /readyz").await?.starts_with("HTTP/1.1 200"));
        running.drain.begin(Duration::from_secs(1));
        assert!(ask(&running, "GET /readyz").await?.ends_with("draining\n"));
        Ok(())
    }

    #[tokio::test]
    async fn health_says_why_and_stays_live_while_degraded() -> Result<(), Box<dyn Error>> {
        let running = start().await?;
        running.health.probe("event-log", || State::Degraded("the disk is full".to_owned()));
        let degraded = ask(&running, "GET /healthz").await?;
        assert!(degraded.starts_with("HTTP/1.1 200") && degraded.contains("the disk is full"), "{degraded}");
        running.health.probe("event-log", || State::Failed("the writer is gone".to_owned()));
        assert!(ask(&running, "GET /healthz").await?.starts_with("HTTP/1.1 503"));
        Ok(())
    }

    #[tokio::test]
    async fn metrics_are_text_and_all_else_is_refused() -> Result<(), Box<dyn Error>> {
        let running = start().await?;
        let metrics = ask(&running, "GET /metrics").await?;
        assert!(metrics.starts_with("HTTP/1.1 200") && metrics.contains("process_open_fds"), "{metrics}");
        assert!(ask(&running, "GET /secrets").await?.starts_with("HTTP/1.1 404"));
        assert!(ask(&running, "POST /metrics").await?.starts_with("HTTP/1.1 405"));
        Ok(())
    }
}
