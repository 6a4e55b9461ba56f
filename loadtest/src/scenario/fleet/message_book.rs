//! Messages that back ends send to devices: each that was acknowledged must arrive, once at least.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::fleet_report::FoundMessages;

/// Messages that have not arrived, or whose fate is not known; while there are so many, no more are sent.
const OPEN_MAX: usize = 200_000;

/// Every message whose story has not ended.
#[derive(Debug, Default)]
pub struct MessageBook {
    last: u64,
    open: HashMap<u64, Open>,
    acknowledged: u64,
    again: u64,
}

#[derive(Debug)]
struct Open {
    device: u32,
    sent: Instant,
    is_acknowledged: bool,
    has_arrived: bool,
}

impl MessageBook {
    /// The number of a message that is about to be sent to a device; `None` when too many are open.
    pub fn begin(&mut self, device: u32, now: Instant) -> Option<u64> {
        if self.open.len() >= OPEN_MAX {
            return None;
        }
        self.last += 1;
        self.open.insert(self.last, Open { device, sent: now, is_acknowledged: false, has_arrived: false });
        Some(self.last)
    }

    /// The hub took it.
    pub fn acknowledged(&mut self, number: u64) {
        self.acknowledged += 1;
        if let Some(open) = self.open.get_mut(&number) {
            open.is_acknowledged = true;
            if open.has_arrived {
                self.open.remove(&number);
            }
        }
    }

    /// The hub refused it, or nobody knows.
    pub fn failed(&mut self, number: u64) {
        self.open.remove(&number);
    }

    /// A device has it; how long that took, the first time.
    pub fn arrived(&mut self, number: u64, now: Instant) -> Option<Duration> {
        let open = self.open.get_mut(&number).filter(|open| !open.has_arrived);
        let Some(open) = open else {
            self.again += 1;
            return None;
        };
        open.has_arrived = true;
        let latency = now.saturating_duration_since(open.sent);
        if open.is_acknowledged {
            self.open.remove(&number);
        }
        Some(latency)
    }

    /// Acknowledged ones that their device does not have, though it is there.
    pub fn missing(&self, is_there: impl Fn(u32) -> bool) -> u64 {
        self.absent().filter(|device| is_there(*device)).count() as u64
    }

    pub fn found(&self, is_there: impl Fn(u32) -> bool) -> FoundMessages {
        let missing = self.missing(is_there);
        let waiting = self.absent().count() as u64 - missing;
        FoundMessages { acknowledged: self.acknowledged, missing, waiting, again: self.again }
    }

    fn absent(&self) -> impl Iterator<Item = u32> {
        self.open.values().filter(|open| open.is_acknowledged && !open.has_arrived).map(|open| open.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_acknowledged_is_missing_until_it_arrives() {
        let (mut book, now) = (MessageBook::default(), Instant::now());
        let numbers: Vec<u64> = (0..4).filter_map(|_| book.begin(5, now)).collect();
        book.acknowledged(numbers[0]);
        assert_eq!(book.missing(|device| device == 5), 1);
        let later = now + Duration::from_millis(7);
        assert_eq!(book.arrived(numbers[0], later), Some(Duration::from_millis(7)));
        // The device may be quicker than the answer to the back end.
        assert!(book.arrived(numbers[1], later).is_some());
        assert!(book.arrived(numbers[1], later).is_none());
        book.acknowledged(numbers[1]);
        book.failed(numbers[2]);
        assert!(book.arrived(numbers[2], later).is_none());
        assert_eq!(book.found(|_| true), FoundMessages { acknowledged: 2, missing: 0, waiting: 0, again: 2 });
        book.acknowledged(numbers[3]);
        assert_eq!(book.found(|_| true), FoundMessages { acknowledged: 3, missing: 1, waiting: 0, again: 2 });
        assert_eq!(book.found(|_| false), FoundMessages { acknowledged: 3, missing: 0, waiting: 1, again: 2 });
    }
}
