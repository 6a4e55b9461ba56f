//! The AMQP 1.0 head: devices and back ends over TLS or WebSocket (amqp §1-§7).
//!
//! ```text
//!   Connection (connection.rs): one task, one poll; the protocol itself is the library `amqp`
//!       events.rs        what the peer did -> who handles it
//!       sasl.rs, cbs.rs  tokens -> authority.rs: what this connection may do; one connection may be many devices
//!       attach.rs        address.rs -> device.rs: identity, attach at the shard, its links
//!         devices        telemetry.rs, deliveries.rs, methods.rs, twin.rs
//!         back ends      send.rs, notices.rs
//!         Event Hubs     event_hubs.rs
//!       goodbye.rs       the orderly end: of the links first, then of the connection
//! ```
//!
//! Authorisation belongs to the connection, never to a session or a link (amqp §1.4). What takes time runs beside the
//! poll, as an operation that says what to do with its outcome (operation.rs).

pub mod address;
mod attach;
mod authority;
mod cbs;
mod close;
mod connection;
mod deliveries;
mod device;
mod error;
pub mod event_hubs;
mod events;
mod goodbye;
mod interests;
mod link;
mod message;
mod methods;
mod notices;
mod operation;
mod sasl;
mod send;
mod telemetry;
mod twin;

use std::{sync::Arc, time::Duration};

use rustls::ServerConfig;

use self::connection::Connection;
use crate::{Front, arrival::Arrived, listener::Accepted};

/// Serves AMQP connections.
#[derive(Clone)]
pub(crate) struct Head {
    front: Arc<Front>,
    tls: Arc<ServerConfig>,
    config: Arc<amqp::Config>,
}

impl Head {
    pub fn new(front: Arc<Front>, tls: Arc<ServerConfig>) -> Self {
        let config = amqp::Config {
            // As the real service calls itself (amqp §1.3).
            container_id: format!("DeviceGateway_{}", uuid::Uuid::new_v4().simple()),
            hostname: Some("localhost".to_owned()),
            handshake_timeout: Duration::from_secs(front.config.limits.connect_timeout_seconds),
            ..amqp::Config::default()
        };
        Self { front, tls, config: Arc::new(config) }
    }

    /// Serves one connection to its end.
    pub async fn serve(self, accepted: Accepted) {
        let metrics = self.front.metrics.clone();
        metrics.amqp_connections.inc();
        if let Some(arrived) = Box::pin(Arrived::by_tls(&self.front, self.tls.clone(), accepted)).await {
            Connection::new(&self, arrived).run().await;
        }
        metrics.amqp_connections.dec();
    }

    /// Serves one connection without TLS to its end (amqp §8.1).
    pub async fn serve_plain(self, accepted: Accepted) {
        let metrics = self.front.metrics.clone();
        metrics.amqp_connections.inc();
        Connection::new(&self, Arrived::by_tcp(accepted)).run().await;
        metrics.amqp_connections.dec();
    }

    /// Serves a connection to the HTTPS port that became a WebSocket, to its end.
    pub async fn serve_websocket(self, arrived: Arrived) {
        let metrics = self.front.metrics.clone();
        metrics.amqp_connections.inc();
        metrics.amqp_websocket_connections.inc();
        Connection::new(&self, arrived).run().await;
        metrics.amqp_websocket_connections.dec();
        metrics.amqp_connections.dec();
    }
}
