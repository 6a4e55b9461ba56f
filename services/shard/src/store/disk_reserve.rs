use std::{
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

use super::StoreError;

/// Space on the disk that is left untouched, so that what was accepted can always be finished. Below it proposals are
/// refused; when space comes back they are accepted again.
pub struct DiskReserve {
    directory: PathBuf,
    reserve_bytes: u64,
    free_bytes: AtomicU64,
}

impl DiskReserve {
    /// Guards the file system of the directory.
    pub fn new(directory: PathBuf, reserve_bytes: u64) -> Self {
        Self { directory, reserve_bytes, free_bytes: AtomicU64::new(u64::MAX) }
    }

    /// Asks the file system how much is free. To be called about once a second.
    pub fn measure(&self) -> Result<(), StoreError> {
        let file_system = rustix::fs::statvfs(&self.directory).map_err(std::io::Error::from)?;
        self.observe(file_system.f_bavail.saturating_mul(file_system.f_frsize));
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
    use super::*;

    #[test]
    fn refuses_below_the_reserve_and_recovers() {
        let disk = DiskReserve::new("/".into(), 1000);
        assert!(!disk.is_exhausted());
        disk.observe(999);
        assert!(disk.is_exhausted() && !disk.is_critical());
        disk.observe(499);
        assert!(disk.is_critical());
        disk.observe(1000);
        assert!(!disk.is_exhausted() && !disk.is_critical());
    }

    #[test]
    fn asks_the_file_system() -> Result<(), StoreError> {
        let disk = DiskReserve::new("/".into(), u64::MAX);
        disk.measure()?;
        assert!(disk.is_exhausted());
        Ok(())
    }
}
