//! The MQTT head: 3.1.1 over TLS for devices and modules (mqtt §1-§4).
//!
//! ```text
//!   establish (connect.rs): TLS, CONNECT, credential, attach, CONNACK     boxed, freed afterwards
//!   Connection (connection.rs): one task, one poll, few inputs
//!       socket -> publish.rs   -> event log -> acknowledge.rs -> PUBACK
//!              -> subscribe.rs -> shard     -> SUBACK
//!       session events, settings, deadlines, drain -> close.rs
//! ```

mod acknowledge;
mod close;
mod connect;
mod connection;
mod percent;
pub mod property_bag;
mod publish;
mod subscribe;
pub mod topic;
pub mod username;
mod will;

use std::sync::Arc;

use rustls::ServerConfig;

use crate::{Front, listener::Accepted};

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
        if let Some(connection) = Box::pin(connect::establish(self, accepted)).await {
            connection.run().await;
        }
        metrics.dec();
    }
}
