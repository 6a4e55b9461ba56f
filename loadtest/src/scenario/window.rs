//! The messages of one connection that are under way.

use std::{collections::VecDeque, future, rc::Rc, time::Instant};

use super::pacer::Turns;
use crate::measurement::Counters;

/// Takes a message when fewer than `max` are under way and, if the load is paced, its turn has come.
pub struct Window {
    sent_at: VecDeque<Instant>,
    max: usize,
    /// Absent: as fast as the window allows.
    turns: Option<Rc<Turns>>,
}

impl Window {
    pub fn new(max: usize, turns: Option<Rc<Turns>>) -> Self {
        Self { sent_at: VecDeque::with_capacity(max), max, turns }
    }

    /// Whether one more is to be sent now; it is under way then.
    pub fn take(&mut self) -> bool {
        if self.sent_at.len() >= self.max {
            return false;
        }
        let now = Instant::now();
        let sent = match &self.turns {
            None => Some(now),
            // A message that waits for the window counts from when it was due.
            Some(turns) => turns.take().map(|due| due.min(now)),
        };
        self.sent_at.extend(sent);
        sent.is_some()
    }

    /// The oldest has arrived.
    pub fn acknowledged(&mut self, counters: &Counters) {
        if let Some(sent) = self.sent_at.pop_front() {
            counters.record(sent.elapsed());
        }
    }

    /// None is under way any more; answers how many were.
    pub fn forget(&mut self) -> usize {
        self.sent_at.drain(..).count()
    }

    /// Waits for a turn; for ever when there are none.
    pub async fn turn(&self) {
        match &self.turns {
            Some(turns) => turns.wait().await,
            None => future::pending().await,
        }
    }

    pub fn is_paced(&self) -> bool {
        self.turns.is_some()
    }
}
