//! `ironhub all`: every role in this process, on embedded stores.
//!
//! ```text
//!   data folder (locked) ─> certificates ─┐
//!   event log ────────────────────────────┼─> gateway (MQTT, HTTPS) ─> devices, hub.json, banner
//!   shard node ─in process─> shard client ┘       the end goes the other way, by a deadline
//! ```

mod banner;
mod bind;
pub mod data_dir;
mod devices;
mod event_log;
mod event_log_metrics;
mod follow_settings;
mod hub;
pub mod hub_json;
mod parts;
mod ticket_secret;

use runtime::Signals;

use self::hub::Hub;
use crate::configuration::Config;

/// Runs a hub until SIGTERM or SIGINT, then drains it. A second signal ends it at once.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let hub = Hub::start(config).await?;
    let signal = signals.next().await;
    tracing::info!(?signal, "ending");
    tokio::select! {
        () = hub.drain() => tracing::info!("ended"),
        _ = signals.next() => tracing::warn!("ended at once, as asked"),
    }
    Ok(())
}
