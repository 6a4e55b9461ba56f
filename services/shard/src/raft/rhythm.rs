//! The timers of all groups go off at the same moments. An idle process then sleeps in between, and what the groups send
//! when they beat travels in one frame to each peer.

use std::{
    future::Future,
    hash::{BuildHasher, RandomState},
    sync::LazyLock,
    time::{Duration, Instant as StdInstant},
};

use openraft::{AsyncRuntime, OptionalSend, TokioRuntime};
use tokio::{runtime::Handle, time::Instant};

/// A beat is late by less than this part of its period.
const LATE_PART: u64 = 3;

/// Sleeps until the next beat of that period.
pub async fn beat(period: Duration) {
    tokio::time::sleep_until(next_beat(period)).await;
}

/// Beats are the multiples of the period since some moment, each a little late. How late is drawn anew for each: two
/// nodes that asked for votes at the same moment, and got none, will not do so again and again. Nodes that share a process
/// in tests, on runtimes of their own, count from different moments, as nodes do.
fn next_beat(period: Duration) -> Instant {
    static BEGAN: LazyLock<(StdInstant, RandomState)> = LazyLock::new(|| (StdInstant::now(), RandomState::new()));
    let (began, random) = &*BEGAN;
    let runtime = Handle::current().id();
    let earlier = Duration::from_nanos(u64::from(random.hash_one(runtime) as u32));
    let now = Instant::now();
    let since = now.into_std().saturating_duration_since(*began) + earlier;
    now + until_next(since, period, |beat| random.hash_one((runtime, beat)))
}

/// From a moment to the next beat behind it.
fn until_next(since: Duration, period: Duration, draw: impl Fn(u64) -> u64) -> Duration {
    let nanoseconds = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let (since, period) = (nanoseconds(since), nanoseconds(period).max(1));
    let at = |beat: u64| beat.saturating_mul(period).saturating_add(draw(beat) % period.div_ceil(LATE_PART));
    let this = since / period;
    let next = if at(this) > since { at(this) } else { at(this + 1) };
    Duration::from_nanos(next - since)
}

/// tokio, as openraft asks for it. Only the timer by which its groups beat sleeps until a moment instead of for a while:
/// that becomes the next beat of its period.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct InRhythm;

impl AsyncRuntime for InRhythm {
    type JoinError = <TokioRuntime as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <TokioRuntime as AsyncRuntime>::Sleep;
    type Instant = <TokioRuntime as AsyncRuntime>::Instant;
    type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = <TokioRuntime as AsyncRuntime>::ThreadLocalRng;
    type OneshotSender<T: OptionalSend> = <TokioRuntime as AsyncRuntime>::OneshotSender<T>;
    type OneshotReceiver<T: OptionalSend> = <TokioRuntime as AsyncRuntime>::OneshotReceiver<T>;
    type OneshotReceiverError = <TokioRuntime as AsyncRuntime>::OneshotReceiverError;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        TokioRuntime::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        TokioRuntime::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        let left = deadline.saturating_duration_since(Instant::now());
        // The moment was worked out a moment ago, from a period of whole milliseconds.
        let period = Duration::from_millis(left.as_nanos().div_ceil(1_000_000) as u64);
        TokioRuntime::sleep_until(next_beat(period))
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: Self::Instant, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        TokioRuntime::is_panic(join_error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        TokioRuntime::thread_rng()
    }

    fn oneshot<T: OptionalSend>() -> (Self::OneshotSender<T>, Self::OneshotReceiver<T>) {
        TokioRuntime::oneshot()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_come_once_in_a_period_and_are_a_little_late() {
        let milliseconds = Duration::from_millis;
        // The first is on time, the second 50 ms late, and so on.
        let late = |beat: u64| (beat % 2) * 50_000_000;
        for (since, wait) in [(0, 275), (1, 274), (225, 50), (274, 1), (275, 175), (449, 1), (450, 275)] {
            assert_eq!(until_next(milliseconds(since), milliseconds(225), late), milliseconds(wait), "{since}");
        }
        assert_eq!(until_next(milliseconds(5), Duration::ZERO, late), Duration::from_nanos(1));
        for draw in [0, 7, u64::MAX - 1, u64::MAX] {
            for since in 0..1000 {
                let wait = until_next(milliseconds(since), milliseconds(225), |_| draw);
                assert!(!wait.is_zero() && wait <= milliseconds(225), "{draw} {since} {wait:?}");
            }
        }
    }

    #[tokio::test]
    async fn who_begins_at_different_times_beats_together() {
        let first = next_beat(Duration::from_secs(3600));
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(next_beat(Duration::from_secs(3600)), first);
    }
}
