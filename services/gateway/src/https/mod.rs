//! The HTTPS head: registry, twins, methods, messages both ways, settings and the event reader, for back ends and
//! devices (rest §1-§10, §16, §17).
//!
//! ```text
//!   TLS -> hyper -> path.rs -> route.rs -> devices, modules, bulk, regenerate_keys, twins, methods, device_bound, feedback,
//!                          |                telemetry, events, statistics, settings, cluster
//!                          |                  | errors of every operation
//!                          |                  v
//!                          |                error.rs: the one place that knows status, code and envelope
//!                          | -> websocket -> the MQTT or AMQP head, with what is left of the connection
//! ```

mod authentication_json;
mod authorization;
mod backup;
mod body;
mod bulk;
mod cluster;
mod device_bound;
mod devices;
mod error;
mod events;
mod explain;
mod feedback;
mod header_case;
mod identity_json;
mod if_match;
mod json_body;
mod methods;
mod modules;
mod path;
mod query;
mod regenerate_keys;
mod route;
mod settings;
mod spelling;
mod statistics;
mod telemetry;
mod twin_json;
mod twins;
mod websocket;

pub use json_body::JsonBody;
pub use path::segments;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use auth::ClientCertificate;
use http::StatusCode;
use hyper::{
    Request, body::Incoming, server::conn::http1, server::conn::http2, service::service_fn, upgrade::OnUpgrade,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use rustls::ServerConfig;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpStream, time::timeout_at};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use self::spelling::Followed;
use crate::{
    Front, amqp,
    arrival::Arrived,
    listener::Accepted,
    mqtt,
    websocket::{SubProtocol, WebSocket},
};

/// Streams of one connection that were opened and reset before they were looked at: with more it is an attack (rapid
/// reset), and the connection ends.
const HTTP2_RESETS_MAX: usize = 20;
/// Streams of one connection that had to be refused, for their number or for an error: then it ends.
const HTTP2_REFUSALS_MAX: usize = 1024;
/// What one stream keeps for a reader that is slower than its answer.
const HTTP2_SEND_BYTES_MAX: usize = 64 * 1024;
/// How long a silent peer may take to say that it is still there.
const HTTP2_KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Bounds of the HTTPS head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of request line and headers.
    pub header_bytes_max: usize,
    /// Bytes of a JSON body of the registry.
    pub body_bytes_max: usize,
    /// Bytes of a telemetry request; a message or a whole batch has at most 256 KiB (messaging §1.4).
    pub telemetry_body_bytes_max: usize,
    /// Messages in one batch.
    pub batch_messages_max: usize,
    /// From the first byte of a request, or the answer before it, to the end of its headers.
    pub header_timeout_seconds: u64,
    /// For one request, body included. Following the events has no end.
    pub request_timeout_seconds: u64,
    /// How long an answer may wait for its peer to read on; then the connection is reset. A reader that follows the events
    /// may be busy for so long.
    pub unread_timeout_seconds: u64,
    /// Requests at the same time on one HTTP/2 connection.
    pub streams_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes_max: 64 * 1024,
            body_bytes_max: 1024 * 1024,
            // A batch carries its bodies in base64.
            telemetry_body_bytes_max: 512 * 1024,
            batch_messages_max: 500,
            header_timeout_seconds: 75,
            request_timeout_seconds: 60,
            unread_timeout_seconds: 300,
            streams_max: 100,
        }
    }
}

/// Serves HTTPS connections.
#[derive(Clone)]
pub(crate) struct Head {
    front: Arc<Front>,
    tls: TlsAcceptor,
    /// These two take over connections that became WebSockets.
    mqtt: mqtt::Head,
    amqp: amqp::Head,
}

/// One request's surroundings.
#[derive(Clone)]
pub(crate) struct Context {
    pub front: Arc<Front>,
    pub certificate: Option<Arc<ClientCertificate>>,
    pub peer: std::net::SocketAddr,
}

impl Head {
    pub fn new(front: Arc<Front>, tls: Arc<ServerConfig>, mqtt: mqtt::Head, amqp: amqp::Head) -> Self {
        Self { front, tls: tls.into(), mqtt, amqp }
    }

    /// Serves one connection to its end.
    pub async fn serve(self, accepted: Accepted) {
        let deadline = accepted.handshake_deadline(&self.front);
        let Accepted { stream, peer, place, unproved, .. } = accepted;
        bound_unread(&stream, Duration::from_secs(self.front.config.https.unread_timeout_seconds));
        let accepted = tokio::select! {
            accepted = timeout_at(deadline, self.tls.accept(stream)) => accepted,
            () = unproved.evicted() => return,
        };
        let Ok(Ok(stream)) = accepted else { return self.front.metrics.handshake_failures.inc() };
        self.front.metrics.handshakes.inc();
        drop(unproved); // a keep-alive connection may be idle
        let certificate = self.front.client_certificate(stream.get_ref().1.peer_certificates()).map(Arc::new);
        let context = Context { front: self.front.clone(), certificate: certificate.clone(), peer };
        self.front.metrics.https_connections.inc();
        // Boxed: a WebSocket must not carry along what only HTTP needs.
        let websocket = Box::pin(serve_requests(stream, context, place.draining())).await;
        self.front.metrics.https_connections.dec();
        let Some((sub_protocol, socket)) = websocket else { return };
        let arrived = Arrived::by_websocket(&self.front, socket, certificate, peer, place).await;
        match (sub_protocol, arrived) {
            (_, None) => {}
            (SubProtocol::Mqtt, Some(arrived)) => self.mqtt.serve_websocket(arrived).await,
            (SubProtocol::Amqp, Some(arrived)) => self.amqp.serve_websocket(arrived).await,
        }
    }
}

/// hyper waits without end for a peer that does not read: the kernel ends it, by a clock that every byte read turns back.
#[cfg_attr(not(target_os = "linux"), expect(unused_variables, reason = "other systems have no such clock"))]
fn bound_unread(stream: &TcpStream, timeout: Duration) {
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(timeout)) {
        tracing::debug!(%error, "a connection has no bound on how long it is not read");
    }
}

type Stream = Followed<TlsStream<TcpStream>>;

/// Serves requests until the connection ends or becomes a WebSocket.
async fn serve_requests(
    stream: TlsStream<TcpStream>,
    context: Context,
    draining: impl Future<Output = ()>,
) -> Option<(SubProtocol, WebSocket)> {
    let limits = context.front.config.https.clone();
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let (stream, spellings) = Followed::new(stream, limits.header_bytes_max);
    let upgrade = Arc::new(Mutex::new(None));
    let upgraded = upgrade.clone();
    let is_served = Arc::new(AtomicBool::new(false));
    let served = is_served.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (context, upgrade) = (context.clone(), upgrade.clone());
        served.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(spellings.next());
        let on_upgrade = hyper::upgrade::on(&mut request);
        async move {
            let response = route::answer(&context, request).await;
            if let (StatusCode::SWITCHING_PROTOCOLS, Some(sub_protocol)) =
                (response.status(), response.extensions().get::<SubProtocol>())
            {
                *upgrade.lock() = Some((*sub_protocol, on_upgrade));
            }
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let io = TokioIo::new(stream);
    // An error of a connection is its peer's business.
    if is_http2 {
        let mut connection = std::pin::pin!(http2_builder(&limits).serve_connection(io, service));
        // hyper waits for the first bytes of HTTP/2 without end.
        let silent = async {
            tokio::time::sleep(Duration::from_secs(limits.header_timeout_seconds)).await;
            if is_served.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            _ = connection.as_mut() => return None,
            () = silent => return None,
            () = draining => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    } else {
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).preserve_header_case(true).max_buf_size(limits.header_bytes_max.max(8192));
        builder.header_read_timeout(Duration::from_secs(limits.header_timeout_seconds));
        let mut connection = std::pin::pin!(builder.serve_connection(io, service).with_upgrades());
        let draining = tokio::select! {
            _ = connection.as_mut() => false,
            () = draining => true,
        };
        if draining {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
    let upgraded: Option<(SubProtocol, OnUpgrade)> = upgraded.lock().take();
    let (sub_protocol, on_upgrade) = upgraded?;
    Some((sub_protocol, websocket_of(on_upgrade).await?))
}

/// HTTP/2 with every bound named here, whatever the library's defaults become.
fn http2_builder(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).max_concurrent_streams(limits.streams_max);
    builder.max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX));
    builder.max_pending_accept_reset_streams(HTTP2_RESETS_MAX).max_local_error_reset_streams(HTTP2_REFUSALS_MAX);
    builder.max_send_buf_size(HTTP2_SEND_BYTES_MAX);
    builder.keep_alive_interval(Some(Duration::from_secs(limits.header_timeout_seconds)));
    builder.keep_alive_timeout(HTTP2_KEEP_ALIVE_TIMEOUT);
    builder
}

/// What is left of the connection once its last answer, 101, is written.
async fn websocket_of(on_upgrade: OnUpgrade) -> Option<WebSocket> {
    let parts = on_upgrade.await.ok()?.downcast::<TokioIo<Stream>>().ok()?;
    Some(WebSocket::new(Box::new(parts.io.into_inner().into_inner()), parts.read_buf))
}
