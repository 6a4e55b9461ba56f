//! How many identities the hub may hold (rest §22).
//!
//! No group knows the others, so the gateways keep the limit: each counts what it creates on top of what the groups last
//! said, and asks them again before it refuses anything. One gateway never exceeds the limit; several exceed it at most
//! by what they create within [`FRESH_FOR`].

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use shard_client::{RegistryError, ShardClient, Unavailable};

/// How long the groups' counters are taken for the truth while there is room.
const FRESH_FOR: Duration = Duration::from_secs(1);

pub(crate) struct Quota {
    identities_max: u64,
    shard_client: ShardClient,
    count: Mutex<Count>,
    /// Held while the groups are asked.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Count {
    /// What the groups said, and when they were asked.
    known: Option<(u64, Instant)>,
    /// Claimed since they were asked, or not yet done then.
    claimed: u64,
    /// Claims that are held now.
    under_way: u64,
}

/// Room for identities that are being created.
pub(crate) struct Claim {
    quota: Arc<Quota>,
    identities: u64,
}

impl Quota {
    pub fn new(identities_max: u64, shard_client: ShardClient) -> Arc<Self> {
        let (count, asking) = (Mutex::default(), tokio::sync::Mutex::default());
        Arc::new(Self { identities_max, shard_client, count, asking })
    }

    /// Room for so many more identities; hold it until they are created.
    pub async fn claim(self: &Arc<Self>, identities: u64) -> Result<Claim, RegistryError> {
        if identities == 0 {
            return Ok(Claim { quota: self.clone(), identities });
        }
        let asked = Instant::now();
        match self.try_claim(identities) {
            Some((claim, age)) => {
                if age > FRESH_FOR {
                    self.ask_in_background();
                }
                Ok(claim)
            }
            None => {
                self.ask(asked).await?;
                let claim = self.try_claim(identities).map(|(claim, _)| claim);
                claim.ok_or(RegistryError::QuotaExceeded)
            }
        }
    }

    /// `None` when there is no room as far as is known; else also how old that knowledge is.
    fn try_claim(self: &Arc<Self>, identities: u64) -> Option<(Claim, Duration)> {
        let mut count = self.count.lock();
        let (known, at) = count.known?;
        if known.saturating_add(count.claimed).saturating_add(identities) > self.identities_max {
            return None;
        }
        count.claimed += identities;
        count.under_way += identities;
        Some((Claim { quota: self.clone(), identities }, at.elapsed()))
    }

    /// Asks the groups, unless somebody else did since.
    async fn ask(&self, since: Instant) -> Result<(), Unavailable> {
        let _asking = self.asking.lock().await;
        if self.count.lock().known.is_some_and(|(_, at)| at > since) {
            return Ok(());
        }
        let at = Instant::now();
        let statistics = self.shard_client.statistics().await?;
        let mut count = self.count.lock();
        count.known = Some((statistics.total_device_count + statistics.module_count, at));
        count.claimed = count.under_way;
        Ok(())
    }

    fn ask_in_background(self: &Arc<Self>) {
        if self.asking.try_lock().is_err() {
            return;
        }
        let (quota, since) = (self.clone(), Instant::now());
        tokio::spawn(async move {
            // Whoever creates next asks again.
            let _ = quota.ask(since).await;
        });
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.quota.count.lock().under_way -= self.identities;
    }
}
