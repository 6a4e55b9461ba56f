//! `ironhub operator`: keeps a hub on Kubernetes as its `IotHub` says.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinHandle;

use super::Watched;
use crate::configuration::OperatorConfig;

/// A running operator. End it with [`RunningOperator::drain`].
pub struct RunningOperator {
    looking: JoinHandle<()>,
    watched: Watched,
    drain_timeout: Duration,
}

impl RunningOperator {
    /// Begins to look; it waits for Kubernetes by itself.
    pub async fn start(config: OperatorConfig) -> anyhow::Result<Self> {
        let watched = Watched::start(config.admin_address()).await?;
        let operator = operator::Operator::new(config.operator.clone(), &watched.health, &watched.metrics).await?;
        tracing::info!(name = config.operator.name, hub = config.operator.hub.address, "looks after the hub");
        let looking = tokio::spawn(Arc::clone(&operator).run(watched.drain.token()));
        Ok(Self { looking, watched, drain_timeout: Duration::from_secs(config.drain_timeout_seconds) })
    }

    /// A look that has begun comes to its end, by the deadline. One that is cut off is as well: the next operator looks anew.
    pub async fn drain(self) {
        let Self { looking, watched, drain_timeout } = self;
        let Watched { drain, admin, .. } = watched;
        drain.begin(drain_timeout);
        let stop = looking.abort_handle();
        drain.step("operator", looking).await;
        stop.abort();
        drop(admin);
    }
}
