//! What every protocol head stands on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use auth::{ChainCache, ClientCertificate, HostNames};
use eventlog::{EventLog, Topic};
use model::{HubSettings, Timestamp};
use rustls::pki_types::CertificateDer;
use shard_client::{SettingsWatch, ShardClient};

use crate::{
    Config, admission::Admission, config::CloudToDevice, connections::Connections, effective_limits::EffectiveLimits,
    history::History, metrics::GatewayMetrics, quota::Quota,
};

/// Shared by all connections of a gateway.
pub struct Front {
    pub config: Config,
    pub host_names: HostNames,
    pub shard_client: ShardClient,
    /// What the registry may hold.
    pub(crate) quota: Arc<Quota>,
    pub event_log: Arc<dyn EventLog>,
    /// The topic of the built-in endpoint.
    pub events: Topic,
    /// Number of its partitions.
    pub event_partitions: u32,
    pub metrics: GatewayMetrics,
    pub connections: Arc<Connections>,
    /// Those of them that have not said yet who they are.
    pub(crate) admission: Arc<Admission>,
    /// What happened to identities lately.
    pub(crate) history: History,
    /// Bytes of messages that are read but not yet durable.
    pub unacknowledged_bytes: AtomicUsize,
    /// What of the configuration the hub's settings may change.
    pub limits: EffectiveLimits,
    /// Certificate chains that were verified.
    pub chains: Arc<ChainCache>,
    pub(crate) settings: SettingsWatch,
}

impl Front {
    /// The hub's settings; `None` until they arrived for the first time: nobody can be authenticated before.
    pub fn settings(&self) -> Option<Arc<HubSettings>> {
        self.settings.borrow().clone()
    }

    /// What holds of messages for devices and feedback now: the configuration, and over it the hub's settings.
    pub(crate) fn cloud_to_device(&self) -> CloudToDevice {
        let configured = self.config.cloud_to_device;
        let settings = self.settings.borrow();
        settings.as_ref().map_or(configured, |settings| configured.under(&settings.overrides.cloud_to_device))
    }

    /// A watch of the hub's settings.
    pub fn settings_watch(&self) -> SettingsWatch {
        self.settings.clone()
    }

    /// The certificate that a peer presented in its handshake, with what came along.
    pub fn client_certificate(&self, chain: Option<&[CertificateDer<'_>]>) -> Option<ClientCertificate> {
        ClientCertificate::of_chain(chain.unwrap_or_default().iter().map(AsRef::as_ref), &self.chains)
    }

    /// Applies the hub's settings to the limits of this process, now and whenever they change, for ever.
    pub(crate) async fn follow_settings(self: Arc<Self>) {
        let mut settings = self.settings_watch();
        loop {
            let current = settings.borrow_and_update().clone();
            if let Some(current) = current {
                let (limits, overrides) = (&self.config.limits, &current.overrides);
                self.limits.apply(limits, overrides);
                self.connections.set_max(overrides.connections_max.map_or(limits.connections_max, |max| max as usize));
            }
            if settings.changed().await.is_err() {
                return;
            }
        }
    }

    /// The wall clock.
    pub fn now(&self) -> Timestamp {
        now()
    }

    /// Whether there is room for more bytes that wait to become durable.
    pub fn has_room(&self) -> bool {
        self.unacknowledged_bytes.load(Ordering::Relaxed) < self.config.limits.unacknowledged_bytes_max
    }

    /// Counts bytes in flight until the returned claim is dropped.
    pub fn claim_bytes(self: &Arc<Self>, bytes: usize) -> ByteClaim {
        let mut claim = ByteClaim { front: self.clone(), bytes: 0 };
        claim.grow(bytes);
        claim
    }
}

pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_microseconds(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Bytes that count as read but not durable.
pub struct ByteClaim {
    front: Arc<Front>,
    bytes: usize,
}

impl ByteClaim {
    /// Counts more bytes.
    pub fn grow(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.front.unacknowledged_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.front.metrics.unacknowledged_bytes.add(bytes as i64);
    }

    /// How many.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for ByteClaim {
    fn drop(&mut self) {
        self.front.unacknowledged_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.front.metrics.unacknowledged_bytes.sub(self.bytes as i64);
    }
}
