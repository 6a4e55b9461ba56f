//! How a connection ends: deadlines, and what is left to do.

use super::*;
use crate::{arrival::say_goodbye, device_bound};

/// How long a device that is asked to leave may take to answer the methods that it has begun.
const METHOD_ANSWER: Duration = Duration::from_secs(1);

impl Connection {
    /// Whether the gateway drains and nothing puts the end off. A method that the device has begun does, a little: its caller
    /// would wait for the whole timeout otherwise.
    pub(super) fn is_leaving(&mut self, context: &mut Context<'_>) -> bool {
        if !self.place.poll_drain(context) {
            return false;
        }
        let now = Instant::now();
        let leaves_at = *self.leaves_at.get_or_insert(now + METHOD_ANSWER);
        self.open_calls == 0 || leaves_at <= now
    }

    /// Fails when a deadline has passed; else sleeps until the next one.
    pub(super) fn poll_timer(&mut self, context: &mut Context<'_>) -> Result<(), Close> {
        loop {
            let deadline = self.check_deadlines(Instant::now())?.into();
            if self.timer.is_elapsed() || self.timer.deadline() > deadline {
                self.timer.as_mut().reset(deadline);
            }
            if self.timer.as_mut().poll(context).is_pending() {
                return Ok(());
            }
            if self.deliveries.as_ref().is_some_and(|deliveries| deliveries.is_due(Instant::now())) {
                context.waker().wake_by_ref(); // it is time to ask, which is not done here
                return Ok(());
            }
        }
    }

    fn check_deadlines(&self, now: Instant) -> Result<Instant, Close> {
        let acknowledge_timeout = Duration::from_secs(self.front.config.limits.acknowledge_timeout_seconds);
        if let Some(violation) = self.protocol.handle_timeout(now) {
            return Err(violation.into());
        }
        let mut deadline = self.protocol.deadline();
        if let Some(expires) = self.expires {
            // The owner may change the grace while the connection lives.
            let ends = expires + Duration::from_secs(self.front.limits.token_grace_seconds());
            if ends <= now {
                return Err(Close::TokenExpired);
            }
            deadline = deadline.min(ends);
        }
        if let Some(oldest) = self.unacknowledged.oldest() {
            if oldest + acknowledge_timeout <= now {
                return Err(Close::AcknowledgeTimeout);
            }
            deadline = deadline.min(oldest + acknowledge_timeout);
        }
        if let Some(ask_at) = self.deliveries.as_ref().and_then(|deliveries| deliveries.deadline()) {
            deadline = deadline.min(ask_at);
        }
        if let Some(leaves_at) = self.leaves_at.filter(|leaves_at| *leaves_at > now) {
            deadline = deadline.min(leaves_at);
        }
        let waits_for_room = self.unacknowledged.is_empty() && !self.front.has_room();
        Ok(if waits_for_room { deadline.min(now + ROOM_RETRY) } else { deadline })
    }

    /// Says goodbye and cleans up.
    pub(super) async fn end(mut self, close: Close) {
        let (reason, code) = close.name_and_code();
        let principal: &Principal = &self.session.principal;
        let connection_id = self.session.connection_id;
        let in_hand = self.deliveries.as_ref().is_some_and(|deliveries| deliveries.has_in_flight());
        if in_hand && !matches!(close, Close::Replaced | Close::Deleted) {
            // A newer connection takes over by itself.
            let (front, principal) = (self.front.clone(), principal.clone());
            tokio::spawn(async move { device_bound::release(&front, &principal, connection_id).await });
        }
        self.front.shard_client.detach(principal, connection_id);
        self.front.metrics.closes.with_label_values(&[reason]).inc();
        let seconds = self.connected_at.elapsed().as_secs();
        let (peer, connection) = (self.peer, self.place.number());
        tracing::info!(%principal, %peer, connection, reason, code, seconds, detail = %close, "disconnected");
        let incident =
            Incident { time: self.front.now(), peer, protocol: "MQTT", cause: reason, reason: close.to_string() };
        self.front.history.disconnected(&principal.to_string(), incident);
        if close.fires_will()
            && let Some(will) = self.will.take()
        {
            will.publish(&self.front, &self.stamp).await;
        }
        if !matches!(close, Close::Broken(_)) {
            self.socket.queue_close();
        }
        // The reason why it broke, too, may be in words for the peer.
        say_goodbye(&mut self.socket).await;
    }
}
