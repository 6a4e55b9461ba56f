//! An orderly end: one [`Drain`] decides, many [`DrainToken`]s listen.

use std::{future::Future, time::Duration};

use tokio::{sync::watch, time::Instant};

/// How far the end of the process has come. It only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Normal service.
    Running,
    /// Take no new work, answer what was read, flush, say goodbye: all of it before the deadline.
    Draining { deadline: Instant },
    /// Stop at once; whoever waits gives up.
    Closing,
}

/// Decides when the process ends. Dropping it moves to [`Phase::Closing`], so that nobody waits for ever.
#[derive(Debug)]
pub struct Drain {
    phase: watch::Sender<Phase>,
}

/// Tells a task how far the end has come. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DrainToken {
    phase: watch::Receiver<Phase>,
}

impl Drain {
    /// Running, with no end in sight.
    pub fn new() -> Self {
        Self { phase: watch::Sender::new(Phase::Running) }
    }

    /// A listener; any number of them.
    pub fn token(&self) -> DrainToken {
        DrainToken { phase: self.phase.subscribe() }
    }

    /// Starts to drain; everything must be done within `timeout`. Later calls change nothing. Returns the deadline.
    pub fn begin(&self, timeout: Duration) -> Instant {
        let deadline = Instant::now() + timeout;
        self.phase.send_if_modified(|phase| {
            let running = *phase == Phase::Running;
            if running {
                *phase = Phase::Draining { deadline };
            }
            running
        });
        match *self.phase.borrow() {
            Phase::Draining { deadline } => deadline,
            Phase::Running | Phase::Closing => Instant::now(),
        }
    }

    /// Ends the drain: tasks that still run give up.
    pub fn close(&self) {
        self.phase.send_replace(Phase::Closing);
    }

    /// Runs one step of the drain until the deadline. `None`, and a warning, when time ran out first.
    pub async fn step<T>(&self, name: &str, step: impl Future<Output = T>) -> Option<T> {
        let Phase::Draining { deadline } = *self.phase.borrow() else { return Some(step.await) };
        let result = tokio::time::timeout_at(deadline, step).await.ok();
        if result.is_none() {
            tracing::warn!(step = name, "the drain ran out of time");
        }
        result
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        self.close();
    }
}

impl DrainToken {
    /// The phase now.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Whether new work must be refused.
    pub fn is_draining(&self) -> bool {
        self.phase() != Phase::Running
    }

    /// Waits until the drain begins and returns its deadline. Returns at once when it has begun already.
    pub async fn draining(&mut self) -> Instant {
        let phase = self.phase.wait_for(|phase| *phase != Phase::Running).await.map_or(Phase::Closing, |phase| *phase);
        match phase {
            Phase::Draining { deadline } => deadline,
            Phase::Running | Phase::Closing => Instant::now(),
        }
    }

    /// Waits until tasks must give up.
    pub async fn closing(&mut self) {
        // An error means that the owner is gone, which is the same.
        let _ = self.phase.wait_for(|phase| *phase == Phase::Closing).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn phases_move_forward_and_reach_every_token() {
        let drain = Drain::new();
        let mut token = drain.token();
        assert!(!token.is_draining());

        let deadline = drain.begin(Duration::from_secs(5));
        assert_eq!(drain.begin(Duration::from_secs(60)), deadline, "the first deadline stands");
        assert_eq!(token.draining().await, deadline);
        assert_eq!(drain.token().phase(), Phase::Draining { deadline }, "late listeners learn it too");

        drop(drain);
        token.closing().await;
        assert_eq!(token.phase(), Phase::Closing);
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_ends_at_the_deadline() {
        let drain = Drain::new();
        drain.begin(Duration::from_secs(1));
        assert_eq!(drain.step("quick", async { 7 }).await, Some(7));
        assert_eq!(drain.step("stuck", std::future::pending::<()>()).await, None);
    }
}
