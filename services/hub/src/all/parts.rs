//! The stores of a hub, opened, and what they say about their health.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;
use runtime::{Health, Metrics, State};
use shard::Shard;
use shard_client::{Node, ShardClient};

use crate::files;

/// The shard node of this process; shared with its health probe, taken out at the end.
#[derive(Clone)]
pub struct RunningShard(Arc<Mutex<Option<Shard>>>);

/// Opens the registry, and a client that reaches it without a socket; registers counters and health.
pub async fn start_shard(
    mut config: shard::Config,
    data_dir: &Path,
    metrics: &Metrics,
    health: &Health,
) -> anyhow::Result<(RunningShard, ShardClient)> {
    config.directory = data_dir.join(&config.directory);
    files::make_folder(&config.directory)?;
    let (node_id, groups) = (config.node_id, config.groups);
    let mut shard = Shard::start(config).await.context("cannot open the registry")?;
    shard.metrics().register(metrics.registry())?;
    let node = Node::in_process(node_id, shard.serve_in_process());
    let client = ShardClient::connect(shard_client::Config::new(vec![node], groups)).await;
    let running = RunningShard(Arc::new(Mutex::new(Some(shard))));
    let probed = running.clone();
    health.probe("registry", move || probed.state());
    Ok((running, client))
}

impl RunningShard {
    /// Answers what was read and closes the disk.
    pub async fn shutdown(self) {
        let shard = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(shard) = shard {
            shard.shutdown().await;
        }
    }

    fn state(&self) -> State {
        let shard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(health) = shard.as_ref().map(Shard::health) else { return State::Failed("closed".to_owned()) };
        if !health.stopped_groups.is_empty() {
            State::Failed(format!("the disk of groups {} failed; a restart is needed", names(&health.stopped_groups)))
        } else if health.is_disk_full {
            State::Degraded("the disk is full, or gone: changes are refused, reads go on".to_owned())
        } else if !health.leaderless_groups.is_empty() {
            State::Starting(format!("groups {} have no leader", names(&health.leaderless_groups)))
        } else {
            State::Ready
        }
    }
}

fn names(groups: &[model::GroupId]) -> String {
    groups.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
