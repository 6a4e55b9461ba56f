//! Something that a device does again and again, one at a time: when it is due, and since when it waits for an answer.

use std::time::{Duration, Instant};

/// One of a device's activities; it outlives connections.
#[derive(Debug)]
pub struct Activity {
    /// `None`: only when it is asked for.
    period: Option<Duration>,
    due: Option<Instant>,
    under_way: Option<UnderWay>,
    number: u32,
}

#[derive(Clone, Copy, Debug)]
struct UnderWay {
    /// The first time.
    began: Instant,
    /// On the connection that there is.
    sent: Instant,
}

impl Activity {
    /// Nothing is due yet.
    pub fn new(period: Option<Duration>) -> Self {
        Self { period, due: None, under_way: None, number: 0 }
    }

    /// It is due then, unless it is earlier.
    pub fn ask(&mut self, due: Instant) {
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }

    /// Whether it has ever been due.
    pub fn is_planned(&self) -> bool {
        self.due.is_some() || self.under_way.is_some()
    }

    /// Begins the next when it is due and none is under way; its number.
    pub fn begin(&mut self, now: Instant) -> Option<u32> {
        let due = self.due.filter(|due| *due <= now && self.under_way.is_none())?;
        // What was missed is not made up for.
        self.due = self.period.map(|period| (due + period).max(now));
        self.under_way = Some(UnderWay { began: now, sent: now });
        self.number += 1;
        Some(self.number)
    }

    /// The one that is under way goes out again, on another connection; its number.
    pub fn send_again(&mut self, now: Instant) -> Option<u32> {
        self.under_way.as_mut()?.sent = now;
        Some(self.number)
    }

    /// Nobody will answer any more: it is due at once. Whether one was under way.
    pub fn give_up(&mut self, now: Instant) -> bool {
        let was_under_way = self.under_way.take().is_some();
        if was_under_way {
            self.due = Some(now);
        }
        was_under_way
    }

    /// The answer to that one has come; how long it took.
    pub fn answered(&mut self, number: u32, now: Instant) -> Option<Duration> {
        let under_way = self.under_way.take_if(|_| number == self.number)?;
        Some(now.saturating_duration_since(under_way.began))
    }

    /// The number of the one that is under way.
    pub fn under_way(&self) -> Option<u32> {
        self.under_way.map(|_| self.number)
    }

    /// When the one under way was sent on this connection.
    pub fn sent(&self) -> Option<Instant> {
        self.under_way.map(|under_way| under_way.sent)
    }

    /// When to look again: `None` while the answer is waited for, or nothing is planned.
    pub fn next(&self) -> Option<Instant> {
        self.due.filter(|_| self.under_way.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn one_at_a_time_and_nothing_is_made_up_for() {
        let (mut activity, begin) = (Activity::new(Some(10 * SECOND)), Instant::now());
        assert_eq!((activity.begin(begin), activity.is_planned()), (None, false));
        activity.ask(begin + SECOND);
        assert_eq!((activity.begin(begin), activity.next()), (None, Some(begin + SECOND)));
        assert_eq!(activity.begin(begin + SECOND), Some(1));
        assert_eq!((activity.begin(begin + 40 * SECOND), activity.next()), (None, None));
        assert_eq!(activity.answered(2, begin + 41 * SECOND), None);
        assert_eq!(activity.answered(1, begin + 41 * SECOND), Some(40 * SECOND));
        assert_eq!(activity.begin(begin + 41 * SECOND), Some(2));
        assert_eq!(activity.answered(2, begin + 42 * SECOND), Some(SECOND));
        assert_eq!(activity.next(), Some(begin + 41 * SECOND));
    }

    #[test]
    fn it_goes_out_again_or_is_given_up() {
        let (mut activity, begin) = (Activity::new(None), Instant::now());
        activity.ask(begin);
        assert_eq!(activity.begin(begin), Some(1));
        assert_eq!(activity.send_again(begin + 5 * SECOND), Some(1));
        assert_eq!(activity.sent(), Some(begin + 5 * SECOND));
        assert_eq!(activity.answered(1, begin + 6 * SECOND), Some(6 * SECOND));
        assert_eq!((activity.send_again(begin), activity.give_up(begin), activity.next()), (None, false, None));
        activity.ask(begin);
        assert_eq!(activity.begin(begin), Some(2));
        assert!(activity.give_up(begin + SECOND));
        assert_eq!(activity.begin(begin + SECOND), Some(3));
    }
}
