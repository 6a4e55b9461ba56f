//! How long a device waits before it connects again: as the SDKs for Node, Java and C# do it, at once for the first time,
//! then exponentially with jitter, from 100 ms to 10 s.

use std::time::Duration;

const LEAST_MILLISECONDS: f64 = 100.0;
const MOST_MILLISECONDS: f64 = 10_000.0;
/// The steps are this much shorter or longer.
const JITTER: std::ops::Range<f64> = 0.75..1.5;
/// More doublings change nothing.
const DOUBLINGS_MAX: u32 = 20;

/// The attempts since the device was served last.
#[derive(Debug, Default)]
pub struct BackOff {
    attempts: u32,
}

impl BackOff {
    /// The time before the next attempt; `random` is from 0 to 1.
    pub fn next(&mut self, random: f64) -> Duration {
        let doublings = self.attempts.min(DOUBLINGS_MAX);
        self.attempts += 1;
        if doublings == 0 {
            return Duration::ZERO;
        }
        let jitter = JITTER.start + (JITTER.end - JITTER.start) * random;
        let step = f64::from((1_u32 << doublings) - 1) * LEAST_MILLISECONDS * jitter;
        Duration::from_secs_f64((LEAST_MILLISECONDS + step).min(MOST_MILLISECONDS) / 1000.0)
    }

    /// The device is served again.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_ten_seconds() {
        let mut back_off = BackOff::default();
        let milliseconds: Vec<_> = (0..9).map(|_| back_off.next(1.0 / 3.0).as_millis()).collect();
        assert_eq!(milliseconds, [0, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        (0..100).for_each(|_| assert!(back_off.next(1.0) <= Duration::from_secs(10)));
        back_off.reset();
        assert_eq!(back_off.next(0.0), Duration::ZERO);
        assert_eq!(back_off.next(0.0), Duration::from_millis(175));
    }
}
