//! Limits that the owner may change while the gateway runs: the configuration of the process, and over it the settings of
//! the hub. Read for every message, so each is one word of memory.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use model::Overrides;

use crate::config::Limits;

/// What holds now.
#[derive(Debug)]
pub struct EffectiveLimits {
    message_bytes_max: AtomicUsize,
    subscriptions_max: AtomicUsize,
    token_grace_seconds: AtomicU64,
}

impl EffectiveLimits {
    /// The configuration alone.
    pub fn new(limits: &Limits) -> Self {
        Self {
            message_bytes_max: limits.message_bytes_max.into(),
            subscriptions_max: limits.subscriptions_max.into(),
            token_grace_seconds: limits.token_grace_seconds.into(),
        }
    }

    /// The configuration under the hub's settings. What sizes buffers or is kept by the shard as well is only lowered.
    pub fn apply(&self, limits: &Limits, overrides: &Overrides) {
        let lowered = |configured: usize, set: Option<u32>| set.map_or(configured, |set| configured.min(set as usize));
        self.message_bytes_max.store(lowered(limits.message_bytes_max, overrides.message_bytes_max), Relaxed);
        self.subscriptions_max.store(lowered(limits.subscriptions_max, overrides.subscriptions_max), Relaxed);
        let grace = overrides.token_grace_seconds.map_or(limits.token_grace_seconds, u64::from);
        self.token_grace_seconds.store(grace, Relaxed);
    }

    /// Body and properties of a message, bytes.
    pub fn message_bytes_max(&self) -> usize {
        self.message_bytes_max.load(Relaxed)
    }

    /// Topic filters of one MQTT session.
    pub fn subscriptions_max(&self) -> usize {
        self.subscriptions_max.load(Relaxed)
    }

    /// How long a connection outlives its token.
    pub fn token_grace_seconds(&self) -> u64 {
        self.token_grace_seconds.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_lower_what_the_process_allows_and_are_taken_back() {
        let limits = Limits { message_bytes_max: 1000, subscriptions_max: 10, ..Limits::default() };
        let effective = EffectiveLimits::new(&limits);
        let overrides = Overrides {
            message_bytes_max: Some(2000),
            subscriptions_max: Some(3),
            token_grace_seconds: Some(600),
            ..Overrides::default()
        };
        effective.apply(&limits, &overrides);
        assert_eq!((effective.message_bytes_max(), effective.subscriptions_max()), (1000, 3));
        assert_eq!(effective.token_grace_seconds(), 600);
        effective.apply(&limits, &Overrides::default());
        assert_eq!((effective.subscriptions_max(), effective.token_grace_seconds()), (10, 300));
    }
}
