//! The shard node of a process, and what it says about its health.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;
use runtime::State;
use shard::Shard;
use shard_client::{Connect, Node, ShardClient};

use super::Watched;
use crate::files;

/// The shard node of this process; shared with its health probe, taken out at the end.
#[derive(Clone)]
pub struct RunningShard(Arc<Mutex<Option<Shard>>>);

/// Opens the registry in the data folder. Other nodes are connected to like this.
pub async fn open(mut config: shard::Config, data_dir: &Path, connect: Connect) -> anyhow::Result<Shard> {
    config.directory = data_dir.join(&config.directory);
    files::make_folder(&config.directory)?;
    Shard::start_over(config, connect).await.context("cannot open the registry")
}

/// The registry, and a client that reaches it without a socket.
pub async fn start_in_process(
    config: shard::Config,
    data_dir: &Path,
    watched: &Watched,
) -> anyhow::Result<(RunningShard, ShardClient)> {
    let groups = config.groups;
    let mut shard = open(config, data_dir, Arc::new(|endpoint| endpoint.connect_lazy())).await?;
    let node = Node::in_process(shard.node().node_id(), shard.serve_in_process());
    let client = ShardClient::connect(shard_client::Config::new(vec![node], groups)).await;
    Ok((RunningShard::watched(shard, watched)?, client))
}

impl RunningShard {
    /// Registers counters and health.
    pub fn watched(shard: Shard, watched: &Watched) -> anyhow::Result<Self> {
        shard.metrics().register(watched.metrics.registry())?;
        let running = Self(Arc::new(Mutex::new(Some(shard))));
        let probed = running.clone();
        watched.health.probe("registry", move || probed.state());
        Ok(running)
    }

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
        } else if health.is_outside {
            State::Starting("waits to be made a member of the hub's groups".to_owned())
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
