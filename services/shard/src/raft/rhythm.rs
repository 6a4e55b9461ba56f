//! The timers of all groups go off at the same moments. An idle process then sleeps in between, and what the groups send
//! when they beat travels in one frame to each peer.

use std::{
    future::Future,
    sync::OnceLock,
    time::{Duration, Instant as StdInstant},
};

use openraft::{AsyncRuntime, OptionalSend, TokioRuntime};
use tokio::time::Instant;

/// The next moment that is a multiple of the period since this process began to count.
pub fn next_beat(period: Duration) -> Instant {
    static BEGAN: OnceLock<StdInstant> = OnceLock::new();
    let now = Instant::now();
    let began = *BEGAN.get_or_init(|| now.into_std());
    let since = now.into_std().saturating_duration_since(began);
    now + until_next(since, period)
}

/// From a moment to the next multiple of the period behind it.
fn until_next(since: Duration, period: Duration) -> Duration {
    let period = period.as_nanos().max(1);
    let rest = period - since.as_nanos() % period;
    Duration::from_nanos(u64::try_from(rest).unwrap_or(u64::MAX))
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
    fn a_beat_is_never_now_and_never_further_than_the_period() {
        let milliseconds = Duration::from_millis;
        for (since, wait) in [(0, 225), (1, 224), (224, 1), (225, 225), (449, 1)] {
            assert_eq!(until_next(milliseconds(since), milliseconds(225)), milliseconds(wait), "{since}");
        }
        assert_eq!(until_next(milliseconds(5), Duration::ZERO), Duration::from_nanos(1));
    }

    #[tokio::test]
    async fn who_begins_at_different_times_beats_together() {
        let first = next_beat(Duration::from_secs(3600));
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(next_beat(Duration::from_secs(3600)), first);
    }
}
