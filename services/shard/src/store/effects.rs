use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use crate::state::Effect;

/// Log index of the entry, and what it means to the outside.
pub type EffectReceiver = mpsc::Receiver<(u64, Effect)>;

/// The way of effects from apply to whoever performs them, open while this node leads.
///
/// Apply never waits for the receiver. When it is too slow effects are lost, and the leadership that lost them has to
/// end: the next one starts from the state as it is.
pub struct Effects {
    leading: AtomicBool,
    sender: mpsc::Sender<(u64, Effect)>,
    receiver: Mutex<Option<EffectReceiver>>,
    taken: AtomicBool,
    lost: Notify,
}

impl Effects {
    /// A closed way that holds at most `queued_max` effects.
    pub fn new(queued_max: usize) -> Self {
        let (sender, receiver) = mpsc::channel(queued_max);
        Self {
            leading: AtomicBool::new(false),
            sender,
            receiver: Mutex::new(Some(receiver)),
            taken: AtomicBool::new(false),
            lost: Notify::new(),
        }
    }

    /// The receiving end; the first caller gets it. Before that effects go nowhere.
    pub fn take(&self) -> Option<EffectReceiver> {
        let receiver = self.receiver.lock().take();
        self.taken.store(receiver.is_some() || self.taken.load(Ordering::Acquire), Ordering::Release);
        receiver
    }

    /// Opens or closes the way.
    pub fn set_leading(&self, leading: bool) {
        self.leading.store(leading, Ordering::Release);
    }

    /// Resolves when effects were lost.
    pub async fn lost(&self) {
        self.lost.notified().await;
    }

    pub(super) fn send(&self, effects: Vec<(u64, Effect)>) {
        if !self.leading.load(Ordering::Acquire) || !self.taken.load(Ordering::Acquire) {
            return;
        }
        for effect in effects {
            if let Err(mpsc::error::TrySendError::Full(_)) = self.sender.try_send(effect) {
                tracing::error!("effects are not taken fast enough; this leadership ends");
                self.lost.notify_one();
                return;
            }
        }
    }
}
