//! The gateway: every way into the hub for devices and back ends.
//!
//! ```text
//!   8883 --TLS--> mqtt  --+                        +--> shard client: identities, live sessions, settings
//!         WebSocket ^     +--> telemetry, front ---+
//!   443  --TLS--> https --+                        +--> event log: append, then acknowledge
//! ```
//!
//! It holds nothing that a restart may lose except live connections. Heads translate a protocol; what the hub does is
//! behind [`Front`], the same for all of them. It knows nothing of Raft, RocksDB or files.

mod admission;
pub mod amqp;
pub mod config;
mod connections;
mod effective_limits;
mod front;
mod gateway;
mod history;
pub mod https;
mod listener;
mod metrics;
pub mod mqtt;
mod quota;
pub mod telemetry;
pub mod tls;
mod tracking;
mod unsent;
pub mod websocket;

pub use config::Config;
pub use front::Front;
pub use gateway::{Dependencies, Gateway, StartError};
pub use metrics::GatewayMetrics;
pub use tls::TicketSecret;
