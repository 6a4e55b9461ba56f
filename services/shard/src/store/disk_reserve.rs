use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::{KeyValue, StoreError};

/// Space on the disk that is left untouched, so that what was accepted can always be finished. Below it proposals are
/// refused; when space comes back they are accepted again.
pub struct DiskReserve {
    store: Arc<dyn KeyValue>,
    reserve_bytes: u64,
    free_bytes: AtomicU64,
}

impl DiskReserve {
    /// Guards the disk of the store.
    pub fn new(store: Arc<dyn KeyValue>, reserve_bytes: u64) -> Self {
        Self { store, reserve_bytes, free_bytes: AtomicU64::new(u64::MAX) }
    }

    /// Asks the disk how much is free. To be called about once a second.
    pub fn measure(&self) -> Result<(), StoreError> {
        self.observe(self.store.free_bytes()?);
        Ok(())
    }

    /// Takes note of the free space.
    pub fn observe(&self, free_bytes: u64) {
        let was_exhausted = self.is_exhausted();
        self.free_bytes.store(free_bytes, Ordering::Relaxed);
        match (was_exhausted, self.is_exhausted()) {
            (false, true) => tracing::error!(free_bytes, reserve_bytes = self.reserve_bytes, "disk full: no writes"),
            (true, false) => tracing::info!(free_bytes, "there is space on the disk again"),
            _ => {}
        }
    }

    /// Whether new work is to be refused.
    pub fn is_exhausted(&self) -> bool {
        self.free_bytes.load(Ordering::Relaxed) < self.reserve_bytes
    }

    /// Whether even what other replicas have accepted is to be refused, before the disk itself does.
    pub fn is_critical(&self) -> bool {
        self.free_bytes.load(Ordering::Relaxed) < self.reserve_bytes / 2
    }
}

#[cfg(test)]
mod tests {
    use super::{super::MemoryStore, *};

    #[test]
    fn refuses_below_the_reserve_and_recovers() -> Result<(), StoreError> {
        let store = Arc::new(MemoryStore::default());
        let disk = DiskReserve::new(store.clone(), 1000);
        for (free_bytes, exhausted, critical) in [(1000, false, false), (999, true, false), (499, true, true)] {
            store.set_free_bytes(free_bytes);
            disk.measure()?;
            assert_eq!((disk.is_exhausted(), disk.is_critical()), (exhausted, critical), "{free_bytes}");
        }
        store.set_free_bytes(1000);
        disk.measure()?;
        assert!(!disk.is_exhausted() && !disk.is_critical());
        Ok(())
    }
}
