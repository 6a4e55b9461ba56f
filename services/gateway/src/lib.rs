//! The gateway: every way into the hub for devices and back ends.
//!
//! ```text
//!   8883 --TLS--> mqtt  --+                        +--> shard client: identities, live sessions, settings
//!   5671 --TLS--> amqp  --+--> telemetry, front ---+
//!         WebSocket ^     +                        |
//!   443  --TLS--> https --+                        +--> event log: append, then acknowledge
//! ```
//!
//! It holds nothing that a restart may lose except live connections. Heads translate a protocol; what the hub does is
//! behind [`Front`], the same for all of them. It knows nothing of Raft, RocksDB or files.

mod admission;
pub mod amqp;
mod announce;
mod arrival;
pub mod config;
mod connections;
mod device_bound;
mod effective_limits;
mod feedback;
mod file_notification;
mod front;
mod gateway;
mod history;
pub mod https;
mod listener;
mod metrics;
pub mod mqtt;
mod percent;
mod plain_socket;
pub mod proxy_protocol;
mod quota;
pub mod telemetry;
pub mod tls;
mod tracking;
mod transport;
mod twin_requests;
mod unsent;
pub mod websocket;

pub use config::Config;
pub use front::Front;
pub use gateway::{Dependencies, Gateway, StartError};
pub use metrics::GatewayMetrics;
pub use tls::TicketSecret;
