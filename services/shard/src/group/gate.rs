use std::sync::Arc;

use tokio::sync::{OwnedRwLockWriteGuard, RwLock, RwLockReadGuard};

/// Holds commands and reads back while a leadership is on its way to another node. What waits goes on afterwards, here
/// or, when this node leads no more, with a refusal that names the new leader.
#[derive(Clone, Default)]
pub(super) struct Gate {
    lock: Arc<RwLock<()>>,
}

impl Gate {
    /// Waits while it is closed. It cannot be closed while the answer is held.
    pub async fn pass(&self) -> RwLockReadGuard<'_, ()> {
        self.lock.read().await
    }

    /// Waits for those who are passing, and closes it for as long as the answer is held.
    pub async fn close(&self) -> OwnedRwLockWriteGuard<()> {
        self.lock.clone().write_owned().await
    }
}
