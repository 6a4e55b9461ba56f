//! What every long-running service needs and no service should write again: logs, metrics, health, an admin listener
//! and an orderly end.
//!
//! ```text
//!   signal ──> Drain (phases, deadline) ──> DrainToken: tasks stop, answer what they read, flush
//!   parts of a service ──> Health ──┐
//!   counters ──> Metrics ───────────┴──> Admin listener: /metrics /healthz /readyz
//! ```
//!
//! Knows nothing of devices, protocols or storage, reads no environment and no command line: whatever differs between
//! services arrives as an argument.

mod admin;
mod health;
mod logging;
mod metrics;
mod shutdown;
mod signals;

pub use admin::{Admin, AdminConfig};
pub use health::{Health, Part, PartReport, Report, State};
pub use logging::{Format, LoggingError, start_logging};
pub use metrics::Metrics;
pub use shutdown::{Drain, DrainToken, Phase};
pub use signals::{Signal, Signals};
