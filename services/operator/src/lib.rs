//! The operator on Kubernetes: keeps a hub as its `IotHub` says, and its shards as many as are wanted.
//!
//! ```text
//!   IotHub, Secrets, StatefulSet ──┐
//!   settings and cluster of hub ───┴─> observe ─> validate ─> plan ─> apply ─> hub, StatefulSet
//!                                      (fetches)  (pure)     (pure)     └─> report (pure) ─> status, events
//! ```
//!
//! One look after the other does all of it anew. Nothing is kept in the process: what has to outlast a look is in the
//! status, in the hub, or can be seen. A look that ends anywhere is taken over from by the next one.

mod apply;
mod cluster;
mod config;
mod controller;
mod events;
#[cfg(test)]
mod fixture;
pub mod hub;
mod metrics;
mod observe;
pub mod plan;
mod reconciler;
mod report;
pub mod resource;
mod validate;

pub use apply::change_hub;
pub use config::Config;
pub use controller::{Operator, StartError};
pub use observe::{Observed, StatefulSetState};
pub use validate::{Secrets, Wanted, validate};
