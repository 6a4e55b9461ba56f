//! How long a device was without service.
//!
//! The time begins when its connection breaks, or when it sends an operation, whichever comes first; it ends with the
//! first operation of the device that the hub acknowledges (PUBACK, SUBACK, an answer of the twin; a CONNACK alone is
//! none). When more operations wait then, the next time begins at once. So an undisturbed device has its slowest answer
//! here, and a disturbed one everything from the break to the proof that it is served again. The first connect does not
//! count: nothing was lost.

use std::time::{Duration, Instant};

/// A stretch without service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    pub from: Instant,
    pub length: Duration,
}

/// The account of one device.
#[derive(Clone, Debug, Default)]
pub struct ServiceTime {
    without_since: Option<Instant>,
    was_served: bool,
    longest: Option<Gap>,
}

impl ServiceTime {
    /// The device wants something that it does not have yet: an acknowledgement, or a connection.
    pub fn wants(&mut self, now: Instant) {
        self.without_since.get_or_insert(now);
    }

    /// The hub acknowledged an operation; `more`: others wait still.
    pub fn served(&mut self, now: Instant, more: bool) {
        if let Some(gap) = self.current(now) {
            self.longest = Some(longer(self.longest, gap));
        }
        self.was_served = true;
        self.without_since = more.then_some(now);
    }

    /// The stretch that has not ended; `None` as long as the device has never been served.
    pub fn current(&self, now: Instant) -> Option<Gap> {
        let from = self.without_since.filter(|_| self.was_served)?;
        Some(Gap { from, length: now.saturating_duration_since(from) })
    }

    /// The longest stretch, one that has not ended included.
    pub fn longest(&self, now: Instant) -> Option<Gap> {
        let current = self.current(now);
        self.longest.map(|longest| current.map_or(longest, |gap| longer(Some(longest), gap))).or(current)
    }

    /// What is over is forgotten; a stretch that has not ended keeps its whole length.
    pub fn forget_past(&mut self) {
        self.longest = None;
    }

    /// Whether there was an acknowledged operation ever.
    pub fn was_served(&self) -> bool {
        self.was_served
    }

    /// Whether the device waits for something.
    pub fn waits(&self) -> bool {
        self.without_since.is_some()
    }
}

fn longer(longest: Option<Gap>, gap: Gap) -> Gap {
    longest.filter(|longest| longest.length >= gap.length).unwrap_or(gap)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn length(service: &ServiceTime, now: Instant) -> Option<Duration> {
        service.longest(now).map(|gap| gap.length)
    }

    #[test]
    fn the_first_connect_is_no_gap() {
        let (mut service, begin) = (ServiceTime::default(), Instant::now());
        service.wants(begin);
        assert_eq!(length(&service, begin + 9 * SECOND), None);
        service.served(begin + 9 * SECOND, false);
        assert_eq!(length(&service, begin + 20 * SECOND), None);
        assert!(service.was_served() && !service.waits());
    }

    #[test]
    fn a_gap_runs_from_the_first_wish_to_the_first_acknowledgement() {
        let (mut service, begin) = (ServiceTime::default(), Instant::now());
        service.served(begin, false);
        service.wants(begin + SECOND); // sent, never answered
        service.wants(begin + 3 * SECOND); // the connection breaks
        assert_eq!(length(&service, begin + 4 * SECOND), Some(3 * SECOND));
        service.served(begin + 6 * SECOND, true);
        assert_eq!(length(&service, begin + 7 * SECOND), Some(5 * SECOND));
        service.served(begin + 8 * SECOND, false);
        assert_eq!(length(&service, begin + 99 * SECOND), Some(5 * SECOND));
        assert_eq!(service.longest(begin).map(|gap| gap.from), Some(begin + SECOND));
    }

    #[test]
    fn what_goes_on_is_not_forgotten_with_the_past() {
        let (mut service, begin) = (ServiceTime::default(), Instant::now());
        service.served(begin, false);
        service.wants(begin);
        service.served(begin + 5 * SECOND, false);
        service.forget_past();
        assert_eq!(length(&service, begin + 6 * SECOND), None);
        service.wants(begin + 6 * SECOND);
        service.forget_past();
        assert_eq!(length(&service, begin + 8 * SECOND), Some(2 * SECOND));
    }
}
