//! What a connection must hear of its session.

use std::task::{Context, Poll};

use futures::{future::poll_fn, task::AtomicWaker};
use model::Credentials;
use parking_lot::Mutex;

/// Something happened to the session of a live connection.
#[derive(Clone, Debug, PartialEq)]
pub enum SessionEvent {
    /// A newer connection of the same principal is attached: close this one (mqtt §2.8).
    Replaced,
    /// The identity is gone: close the connection.
    Deleted,
    /// The stored identity changed: check the connection's credential and status again (security §9). `None` is the
    /// same as deleted.
    IdentityChanged(Option<Box<Credentials>>),
}

/// Where the events of one connection arrive. Small, and bounded: newer news of the identity replace older ones, and
/// the end of the session is the last event.
#[derive(Debug, Default)]
pub struct Mailbox {
    waiting: Mutex<Waiting>,
    waker: AtomicWaker,
}

#[derive(Debug, Default)]
struct Waiting {
    identity: Option<Option<Box<Credentials>>>,
    end: Option<End>,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Replaced,
    Deleted,
}

impl Mailbox {
    pub(crate) fn deliver(&self, event: SessionEvent) {
        {
            let mut waiting = self.waiting.lock();
            match event {
                SessionEvent::Replaced => waiting.end = Some(End::Replaced),
                SessionEvent::Deleted => waiting.end = Some(End::Deleted),
                SessionEvent::IdentityChanged(credentials) => waiting.identity = Some(credentials),
            }
        }
        self.waker.wake();
    }

    /// The next event, if one waits. An end that is taken is not told again.
    pub fn take(&self) -> Option<SessionEvent> {
        let mut waiting = self.waiting.lock();
        match waiting.end.take() {
            Some(End::Replaced) => Some(SessionEvent::Replaced),
            Some(End::Deleted) => Some(SessionEvent::Deleted),
            None => waiting.identity.take().map(SessionEvent::IdentityChanged),
        }
    }

    /// The next event; wakes the task that polled last when there is one. One task may wait at a time.
    pub fn poll_next(&self, context: &mut Context<'_>) -> Poll<SessionEvent> {
        if let Some(event) = self.take() {
            return Poll::Ready(event);
        }
        self.waker.register(context.waker());
        self.take().map_or(Poll::Pending, Poll::Ready)
    }

    /// Waits for the next event.
    pub async fn next(&self) -> SessionEvent {
        poll_fn(|context| self.poll_next(context)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_news_replace_older_ones_and_the_end_comes_first() {
        let mailbox = Mailbox::default();
        assert_eq!(mailbox.take(), None);
        mailbox.deliver(SessionEvent::IdentityChanged(None));
        mailbox.deliver(SessionEvent::IdentityChanged(None));
        mailbox.deliver(SessionEvent::Replaced);
        assert_eq!(mailbox.take(), Some(SessionEvent::Replaced));
        assert_eq!(mailbox.take(), Some(SessionEvent::IdentityChanged(None)));
        assert_eq!(mailbox.take(), None);
    }

    #[tokio::test]
    async fn who_waits_is_woken() {
        let mailbox = std::sync::Arc::new(Mailbox::default());
        let sender = mailbox.clone();
        let waiting = tokio::spawn(async move { mailbox.next().await });
        tokio::task::yield_now().await;
        sender.deliver(SessionEvent::Deleted);
        assert!(matches!(waiting.await, Ok(SessionEvent::Deleted)));
    }
}
