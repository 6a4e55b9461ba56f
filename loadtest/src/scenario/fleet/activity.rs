//! Something that a device does again and again, one at a time: when it is due, and since when it waits for an answer.

use std::time::{Duration, Instant};

/// One of a device's activities; it outlives connections.
#[derive(Debug)]
pub struct Activity {
    /// `None`: only when it is asked for.
    period: Option<Duration>,
    due: Option<Instant>,
    /// The device needs the next one to know where it stands: it failed, or there is a new connection.
    is_needed: bool,
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
        Self { period, due: None, is_needed: false, under_way: None, number: 0 }
    }

    /// The first is due then, unless something is planned or under way.
    pub fn plan(&mut self, due: Instant) {
        if self.under_way.is_none() {
            self.due.get_or_insert(due);
        }
    }

    /// One is needed then, or earlier.
    pub fn need(&mut self, due: Instant) {
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
        self.is_needed = true;
    }

    /// Begins the next when it is due and none is under way; its number. `only_needed`: nothing else is begun any more.
    pub fn begin(&mut self, now: Instant, only_needed: bool) -> Option<u32> {
        let due = self.next(only_needed).filter(|due| *due <= now)?;
        // What was missed is not made up for.
        self.due = self.period.map(|period| (due + period).max(now));
        self.is_needed = false;
        self.under_way = Some(UnderWay { began: now, sent: now });
        self.number += 1;
        Some(self.number)
    }

    /// The one that is under way goes out again, on another connection; its number.
    pub fn send_again(&mut self, now: Instant) -> Option<u32> {
        self.under_way.as_mut()?.sent = now;
        Some(self.number)
    }

    /// Nobody will answer any more: another is needed at once. Whether one was under way.
    pub fn give_up(&mut self, now: Instant) -> bool {
        let was_under_way = self.under_way.take().is_some();
        if was_under_way {
            self.need(now);
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

    /// When the next is to begin: `None` while the answer is waited for, or nothing is planned.
    pub fn next(&self, only_needed: bool) -> Option<Instant> {
        self.due.filter(|_| self.under_way.is_none() && (self.is_needed || !only_needed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn one_at_a_time_and_nothing_is_made_up_for() {
        let (mut activity, begin) = (Activity::new(Some(10 * SECOND)), Instant::now());
        assert_eq!(activity.begin(begin, false), None);
        activity.plan(begin + SECOND);
        activity.plan(begin + 2 * SECOND); // nothing new
        assert_eq!((activity.begin(begin, false), activity.next(false)), (None, Some(begin + SECOND)));
        assert_eq!(activity.begin(begin + SECOND, false), Some(1));
        assert_eq!((activity.begin(begin + 40 * SECOND, false), activity.next(false)), (None, None));
        assert_eq!(activity.answered(2, begin + 41 * SECOND), None);
        assert_eq!(activity.answered(1, begin + 41 * SECOND), Some(40 * SECOND));
        assert_eq!(activity.begin(begin + 41 * SECOND, false), Some(2));
        assert_eq!(activity.answered(2, begin + 42 * SECOND), Some(SECOND));
        assert_eq!(activity.next(false), Some(begin + 41 * SECOND));
    }

    #[test]
    fn it_goes_out_again_or_is_given_up() {
        let (mut activity, begin) = (Activity::new(None), Instant::now());
        activity.need(begin);
        assert_eq!(activity.begin(begin, false), Some(1));
        assert_eq!(activity.send_again(begin + 5 * SECOND), Some(1));
        assert_eq!(activity.sent(), Some(begin + 5 * SECOND));
        assert_eq!(activity.answered(1, begin + 6 * SECOND), Some(6 * SECOND));
        assert_eq!((activity.send_again(begin), activity.give_up(begin), activity.next(false)), (None, false, None));
        activity.need(begin);
        assert_eq!(activity.begin(begin, false), Some(2));
        assert!(activity.give_up(begin + SECOND));
        assert_eq!(activity.begin(begin + SECOND, false), Some(3));
    }

    #[test]
    fn in_the_end_only_what_is_needed_begins() {
        let (mut activity, begin) = (Activity::new(Some(SECOND)), Instant::now());
        activity.plan(begin);
        assert_eq!((activity.begin(begin, true), activity.next(true)), (None, None));
        activity.need(begin + SECOND);
        assert_eq!((activity.next(true), activity.begin(begin, true)), (Some(begin), Some(1)));
        assert!(activity.answered(1, begin).is_some());
        assert_eq!(activity.begin(begin + 9 * SECOND, true), None);
    }
}
