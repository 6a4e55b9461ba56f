//! `ironhub shard`: a shard of a cluster.

use std::{sync::Arc, time::Duration};

use peer::{Connector, Credentials, Role};
use shard_client::Discovery;
use tokio::{net::TcpListener, task::JoinHandle};

use super::{
    Watched, bind,
    data_dir::DataDir,
    founding::Founding,
    registry::{self, RunningShard},
};
use crate::configuration::ShardConfig;

/// How long the process before this one may take to leave the data folder.
const PREDECESSOR_ENDS: Duration = Duration::from_secs(30);

/// A running shard. End it with [`ClusterShard::drain`].
pub struct ClusterShard {
    shard: RunningShard,
    watched: Watched,
    drain_timeout: Duration,
    credentials: JoinHandle<()>,
    founding: JoinHandle<()>,
    _data_dir: DataDir,
}

impl ClusterShard {
    /// Opens the disk, serves the others, and founds the hub with them when there is none.
    pub async fn start(config: ShardConfig) -> anyhow::Result<Self> {
        let data_dir = DataDir::open_when_free(&config.data_dir, PREDECESSOR_ENDS).await?;
        let watched = Watched::start(config.admin_address()).await?;
        let credentials = Credentials::open(config.peer.clone())?;
        let address = config.socket_address();
        let listener = TcpListener::bind(address).await;
        let listener = listener
            .map_err(|error| anyhow::anyhow!(bind::explain("gateways and shards", "--set port=", address, &error)))?;
        let connector = Connector::new(credentials.clone(), Role::Shard);
        let connect: shard_client::Connect = Arc::new(move |endpoint| connector.channel(endpoint));
        let mut shard = registry::open(config.shard.clone(), data_dir.path(), connect.clone()).await?;
        shard.serve_peers(listener, credentials.clone());
        let founding = Founding {
            founders: config.founders.clone(),
            advertised_address: config.advertised_address.clone(),
            founder: shard.node().founder(),
            discovery: Discovery { seeds: config.founders.clone(), connect },
        };
        tracing::info!(node_id = shard.node().node_id(), address = config.advertised_address, "serves the cluster");
        Ok(Self {
            shard: RunningShard::watched(shard, &watched)?,
            watched,
            drain_timeout: Duration::from_secs(config.drain_timeout_seconds),
            credentials: tokio::spawn(credentials.keep_fresh()),
            founding: tokio::spawn(founding.run()),
            _data_dir: data_dir,
        })
    }

    /// Answers what was read and closes the disk, by the deadline.
    pub async fn drain(self) {
        let Self { shard, watched, drain_timeout, credentials, founding, _data_dir } = self;
        let Watched { drain, admin, .. } = watched;
        drain.begin(drain_timeout);
        founding.abort();
        credentials.abort();
        drain.step("registry", shard.shutdown()).await;
        drop(admin);
    }
}
