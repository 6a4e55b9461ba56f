//! What a connection must hear of its session.

use std::{
    collections::VecDeque,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{future::poll_fn, task::AtomicWaker};
use model::Credentials;
use parking_lot::Mutex;

use crate::MethodCallId;

/// Desired updates that wait for a connection at most; one that does not take them misses some and has to end.
const DESIRED_UPDATES_MAX: usize = 64;
/// Methods that wait for a connection at most.
const METHOD_CALLS_MAX: usize = 32;

/// Something happened to the session of a live connection.
#[derive(Clone, Debug, PartialEq)]
pub enum SessionEvent {
    /// A newer connection of the same principal is attached: close this one (mqtt §2.8).
    Replaced,
    /// The identity is gone: close the connection.
    Deleted,
    /// Desired updates were lost on the way: close the connection, so that the device reads its twin again.
    MissedUpdates,
    /// The stored identity changed: check the connection's credential and status again (security §9). `None` is the
    /// same as deleted.
    IdentityChanged(Option<Box<Credentials>>),
}

/// One write of the desired properties, for a connection that is interested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredUpdate {
    pub version: u64,
    /// JSON object with `$version`.
    pub patch: Bytes,
}

/// A method for the device to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodCall {
    pub call_id: MethodCallId,
    pub name: String,
    /// JSON text.
    pub payload: Bytes,
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
    desired: VecDeque<DesiredUpdate>,
    methods: VecDeque<MethodCall>,
    messages: bool,
    end: Option<End>,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        let news = self.end.is_some() || self.identity.is_some() || self.messages;
        !news && self.desired.is_empty() && self.methods.is_empty()
    }
}

#[derive(Debug, Clone, Copy)]
enum End {
    Replaced,
    Deleted,
    MissedUpdates,
}

impl Mailbox {
    pub(crate) fn deliver(&self, event: SessionEvent) {
        {
            let mut waiting = self.waiting.lock();
            match event {
                SessionEvent::Replaced => waiting.end = Some(End::Replaced),
                SessionEvent::Deleted => waiting.end = Some(End::Deleted),
                SessionEvent::MissedUpdates => waiting.end = Some(End::MissedUpdates),
                SessionEvent::IdentityChanged(credentials) => waiting.identity = Some(credentials),
            }
        }
        self.waker.wake();
    }

    pub(crate) fn desired_updated(&self, update: DesiredUpdate) {
        {
            let mut waiting = self.waiting.lock();
            match waiting.desired.len() {
                DESIRED_UPDATES_MAX.. => waiting.end = waiting.end.or(Some(End::MissedUpdates)),
                _ => waiting.desired.push_back(update),
            }
        }
        self.waker.wake();
    }

    pub(crate) fn method_called(&self, call: MethodCall) {
        {
            let mut waiting = self.waiting.lock();
            // A device that does not take its methods times out.
            if waiting.methods.len() < METHOD_CALLS_MAX {
                waiting.methods.push_back(call);
            }
        }
        self.waker.wake();
    }

    pub(crate) fn messages_waiting(&self) {
        self.waiting.lock().messages = true;
        self.waker.wake();
    }

    /// Whether the shard said that a message can be had; said once.
    pub fn take_messages_waiting(&self) -> bool {
        std::mem::take(&mut self.waiting.lock().messages)
    }

    /// The next event, if one waits. An end that is taken is not told again.
    pub fn take(&self) -> Option<SessionEvent> {
        let mut waiting = self.waiting.lock();
        match waiting.end.take() {
            Some(End::Replaced) => Some(SessionEvent::Replaced),
            Some(End::Deleted) => Some(SessionEvent::Deleted),
            Some(End::MissedUpdates) => Some(SessionEvent::MissedUpdates),
            None => waiting.identity.take().map(SessionEvent::IdentityChanged),
        }
    }

    /// The next desired update, in the order of versions. The task that waits for events is woken for them too.
    pub fn take_desired_update(&self) -> Option<DesiredUpdate> {
        let mut waiting = self.waiting.lock();
        let update = waiting.desired.pop_front();
        if waiting.desired.is_empty() {
            waiting.desired = VecDeque::new(); // an idle connection keeps no queue
        }
        update
    }

    /// The next method, in the order of their calls.
    pub fn take_method_call(&self) -> Option<MethodCall> {
        let mut waiting = self.waiting.lock();
        let call = waiting.methods.pop_front();
        if waiting.methods.is_empty() {
            waiting.methods = VecDeque::new();
        }
        call
    }

    /// The next event; wakes the task that polled last when there is one. One task may wait at a time.
    pub fn poll_next(&self, context: &mut Context<'_>) -> Poll<SessionEvent> {
        if let Some(event) = self.take() {
            return Poll::Ready(event);
        }
        self.waker.register(context.waker());
        self.take().map_or(Poll::Pending, Poll::Ready)
    }

    /// Ready while anything waits to be taken: an event, an update, a method, the hint of a message. Wakes the task that
    /// polled last.
    pub fn poll_waiting(&self, context: &mut Context<'_>) -> Poll<()> {
        self.waker.register(context.waker());
        if self.waiting.lock().is_empty() { Poll::Pending } else { Poll::Ready(()) }
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

    #[test]
    fn updates_come_in_order_and_too_many_are_told() {
        let mailbox = Mailbox::default();
        let update = |version| DesiredUpdate { version, patch: Bytes::new() };
        (0..DESIRED_UPDATES_MAX as u64).for_each(|version| mailbox.desired_updated(update(version)));
        assert_eq!((mailbox.take(), mailbox.take_desired_update()), (None, Some(update(0))));
        mailbox.desired_updated(update(64));
        mailbox.desired_updated(update(65));
        assert_eq!(
            (mailbox.take(), mailbox.take_desired_update()),
            (Some(SessionEvent::MissedUpdates), Some(update(1)))
        );
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
