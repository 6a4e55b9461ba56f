//! The roles of a process.
//!
//! ```text
//!   all      data folder (locked) ─> event log ─┐
//!            shard node ─in process─> client ───┴─> front ─> devices, back ends
//!   gateway  Kafka ─────────────────────────────┐
//!            shards ─mutual TLS─> client ───────┴─> front ─> devices, back ends
//!   shard    data folder (locked) ─> node ─> mutual TLS ─> gateways and other shards
//!   operator Kubernetes ─> looks ─> HTTPS of a gateway, StatefulSet
//! ```
//!
//! The end goes the other way, by a deadline.

mod all;
mod banner;
mod bind;
mod cluster_gateway;
mod cluster_shard;
pub mod data_dir;
mod devices;
mod event_log;
mod event_log_metrics;
mod follow_settings;
mod founding;
mod front;
pub mod hub_json;
mod operator;
mod registry;
pub mod ticket_secret;

use runtime::{Admin, AdminConfig, Drain, Health, Metrics, Signals};

use crate::configuration::{AllConfig, GatewayConfig, OperatorConfig, ShardConfig};

/// Runs a whole hub until SIGTERM or SIGINT, then drains it. A second signal ends it at once.
pub async fn all(config: AllConfig) -> anyhow::Result<()> {
    run(all::Hub::start(config), all::Hub::drain).await
}

/// Runs a gateway of a cluster in the same way.
pub async fn gateway(config: GatewayConfig) -> anyhow::Result<()> {
    run(cluster_gateway::ClusterGateway::start(config), cluster_gateway::ClusterGateway::drain).await
}

/// Runs a shard of a cluster in the same way.
pub async fn shard(config: ShardConfig) -> anyhow::Result<()> {
    run(cluster_shard::ClusterShard::start(config), cluster_shard::ClusterShard::drain).await
}

/// Runs the operator of a hub in the same way.
pub async fn operator(config: OperatorConfig) -> anyhow::Result<()> {
    run(operator::RunningOperator::start(config), operator::RunningOperator::drain).await
}

/// A start may wait for other processes; a signal ends that too.
async fn run<R>(start: impl Future<Output = anyhow::Result<R>>, drain: impl AsyncFnOnce(R)) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let running = tokio::select! {
        started = start => started?,
        signal = signals.next() => {
            tracing::info!(?signal, "ended before the start was finished");
            return Ok(());
        }
    };
    let signal = signals.next().await;
    tracing::info!(?signal, "ending");
    tokio::select! {
        () = drain(running) => tracing::info!("ended"),
        _ = signals.next() => tracing::warn!("ended at once, as asked"),
    }
    Ok(())
}

/// What every process is watched by.
struct Watched {
    metrics: Metrics,
    health: Health,
    drain: Drain,
    admin: Admin,
}

impl Watched {
    async fn start(address: std::net::SocketAddr) -> anyhow::Result<Self> {
        let (metrics, health, drain) = (Metrics::new()?, Health::new(), Drain::new());
        let config = AdminConfig { address };
        let admin = Admin::start(&config, metrics.clone(), health.clone(), drain.token()).await;
        let admin = admin
            .map_err(|error| anyhow::anyhow!(bind::explain("the admin pages", "--admin-port", address, &error)))?;
        Ok(Self { metrics, health, drain, admin })
    }
}
