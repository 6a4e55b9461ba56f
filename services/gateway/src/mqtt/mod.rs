//! The MQTT head: 3.1.1 over TLS or WebSocket for devices and modules (mqtt §1-§4).
//!
//! ```text
//!   introduce (connect.rs): after TLS or WebSocket, CONNECT, credential, attach, CONNACK     boxed, freed afterwards
//!   Connection (connection.rs): one task, one poll, few inputs
//!       socket -> publish.rs   -> event log -> acknowledge.rs -> PUBACK
//!              -> subscribe.rs -> shard     -> SUBACK
//!       session events, settings, deadlines, drain -> close.rs
//! ```

mod acknowledge;
mod close;
mod connect;
mod connection;
mod deliveries;
mod device_bound_topic;
pub mod filter;
pub mod property_bag;
mod publish;
mod settings_recheck;
mod subscribe;
pub mod topic;
mod twin;
pub mod username;
mod will;

use std::sync::Arc;

use rustls::ServerConfig;

use crate::{Front, arrival::Arrived, listener::Accepted};

/// Serves MQTT connections.
#[derive(Clone)]
pub(crate) struct Head {
    front: Arc<Front>,
    tls: Arc<ServerConfig>,
    limits: Arc<mqtt::Limits>,
}

impl Head {
    pub fn new(front: Arc<Front>, tls: Arc<ServerConfig>) -> Self {
        let limits = Arc::new(front.config.limits.mqtt());
        Self { front, tls, limits }
    }

    /// Serves one connection to its end.
    pub async fn serve(self, accepted: Accepted) {
        self.front.metrics.mqtt_connections.inc();
        let metrics = self.front.metrics.mqtt_connections.clone();
        if let Some(connection) = Box::pin(self.establish(accepted)).await {
            connection.run().await;
        }
        metrics.dec();
    }

    /// `None`: refused or gone; said and logged already.
    async fn establish(self, accepted: Accepted) -> Option<connection::Connection> {
        let arrived = Arrived::by_tls(&self.front, self.tls.clone(), accepted).await?;
        connect::introduce(self, arrived).await
    }

    /// Serves a connection to the HTTPS port that became a WebSocket, to its end.
    pub async fn serve_websocket(self, arrived: Arrived) {
        let metrics = self.front.metrics.clone();
        metrics.mqtt_connections.inc();
        metrics.mqtt_websocket_connections.inc();
        if let Some(connection) = Box::pin(connect::introduce(self, arrived)).await {
            connection.run().await;
        }
        metrics.mqtt_websocket_connections.dec();
        metrics.mqtt_connections.dec();
    }
}
