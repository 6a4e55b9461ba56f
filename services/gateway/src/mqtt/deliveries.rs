//! Messages on their way to a device (mqtt §5): asked for when the shard says that some wait, published, settled by PUBACK.
//!
//! ```text
//!   hint, PUBACK, time -> receive (locked for this connection) -> PUBLISH -> in flight --PUBACK--> complete
//! ```
//!
//! At most so many are in flight; a device that does not take them leaves them in the queue.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use model::{ConnectionId, Principal, QualityOfService};
use shard_client::{Holder, MessageError, Received, ReceivedMessage, Settle};

use super::close::Close;
use crate::{Front, device_bound};

/// Deliveries of one connection that are not acknowledged.
const IN_FLIGHT_MAX: usize = 16;
/// How soon it is tried again when the shard cannot answer.
const RETRY: Duration = Duration::from_secs(1);

type Receiving = Pin<Box<dyn Future<Output = Result<Received, MessageError>> + Send>>;
type Settling = Pin<Box<dyn Future<Output = Result<(), MessageError>> + Send>>;

/// A message to publish.
pub(super) struct Delivery {
    pub message: ReceivedMessage,
    /// At least once; `None`: it is settled already.
    pub packet_id: Option<u16>,
}

struct InFlight {
    packet_id: u16,
    sequence: u64,
}

/// The deliveries of a connection that is interested.
pub(super) struct Deliveries {
    front: Arc<Front>,
    principal: Principal,
    connection_id: ConnectionId,
    in_flight: Vec<InFlight>,
    /// Acknowledged by the device, not settled yet.
    acknowledged: Vec<u64>,
    receiving: Option<(QualityOfService, Receiving)>,
    settling: Option<Settling>,
    /// Something may be had now, or then.
    ask: bool,
    ask_at: Option<Instant>,
}

impl Deliveries {
    /// Asks at once for what waits already.
    pub fn new(front: &Arc<Front>, principal: &Principal, connection_id: ConnectionId) -> Self {
        Self {
            front: front.clone(),
            principal: principal.clone(),
            connection_id,
            in_flight: Vec::new(),
            acknowledged: Vec::new(),
            receiving: None,
            settling: None,
            ask: true,
            ask_at: None,
        }
    }

    /// Messages may be had.
    pub fn ask(&mut self) {
        self.ask = true;
    }

    /// Whether the device has messages in hand.
    pub fn has_in_flight(&self) -> bool {
        !self.in_flight.is_empty() || self.receiving.is_some()
    }

    /// Whether every acknowledgement is settled.
    pub fn is_settled(&self) -> bool {
        self.acknowledged.is_empty() && self.settling.is_none()
    }

    /// When to look again.
    pub fn deadline(&self) -> Option<Instant> {
        self.ask_at
    }

    /// Whether that time has come.
    pub fn is_due(&self, now: Instant) -> bool {
        self.ask_at.is_some_and(|at| at <= now)
    }

    /// The device has the message. A packet id that is not in flight means nothing.
    pub fn acknowledge(&mut self, packet_id: u16) {
        if let Some(position) = self.in_flight.iter().position(|delivery| delivery.packet_id == packet_id) {
            self.acknowledged.push(self.in_flight.remove(position).sequence);
            self.ask = true; // there is room again
        }
    }

    /// Settles, asks, and answers what to publish now. To be polled until it is pending: what was heard of during one
    /// receive is asked for by the next.
    pub fn poll(
        &mut self,
        context: &mut Context<'_>,
        quality: Option<QualityOfService>,
        may_publish: bool,
    ) -> Result<Poll<Vec<Delivery>>, Close> {
        self.poll_settling(context)?;
        if self.is_due(Instant::now()) {
            self.ask_at = None;
            self.ask = true;
        }
        let Some(quality) = quality else { return Ok(Poll::Pending) };
        // What is acknowledged leaves the queue first, so that it is not handed out again.
        if self.ask && may_publish && self.receiving.is_none() && self.is_settled() {
            self.ask = false;
            self.begin(quality);
        }
        let Some((quality, receiving)) = &mut self.receiving else { return Ok(Poll::Pending) };
        let Poll::Ready(received) = receiving.as_mut().poll(context) else { return Ok(Poll::Pending) };
        let quality = *quality;
        self.receiving = None;
        match received {
            Ok(received) => Ok(Poll::Ready(self.received(received, quality))),
            Err(MessageError::ConnectionReplaced) => Err(Close::Replaced),
            Err(MessageError::NotFound) => Err(Close::Deleted),
            Err(_) => {
                self.ask_at = Some(Instant::now() + RETRY);
                Ok(Poll::Pending)
            }
        }
    }

    fn begin(&mut self, quality: QualityOfService) {
        let room = IN_FLIGHT_MAX.saturating_sub(self.in_flight.len());
        if room == 0 {
            return; // a PUBACK asks again
        }
        let (front, principal, connection_id) = (self.front.clone(), self.principal.clone(), self.connection_id);
        let receiving = Box::pin(async move {
            let lock = device_bound::lock(&front);
            let (holder, client) = (Holder::Connection(connection_id), &front.shard_client);
            let received = client.receive_messages(&principal, holder, room as u32, lock).await?;
            if quality == QualityOfService::AtMostOnce && !received.messages.is_empty() {
                let sequences: Vec<u64> = received.messages.iter().map(|message| message.sequence).collect();
                client.settle_messages(&principal, holder, &sequences, Settle::Complete).await?;
            }
            Ok(received)
        });
        self.receiving = Some((quality, receiving));
    }

    fn received(&mut self, received: Received, quality: QualityOfService) -> Vec<Delivery> {
        if received.has_more {
            self.ask = true;
        }
        let ask_at = device_bound::look_again_in(&self.front, &received).map(|time| Instant::now() + time);
        self.ask_at = self.ask_at.into_iter().chain(ask_at).min();
        received.messages.into_iter().map(|message| self.deliver(message, quality)).collect()
    }

    fn deliver(&mut self, message: ReceivedMessage, quality: QualityOfService) -> Delivery {
        if quality == QualityOfService::AtMostOnce {
            return Delivery { message, packet_id: None };
        }
        // The same message again keeps its packet id.
        let known = self.in_flight.iter().find(|delivery| delivery.sequence == message.sequence);
        let packet_id = known.map(|delivery| delivery.packet_id).unwrap_or_else(|| {
            let packet_id = self.packet_id_of(message.sequence);
            self.in_flight.push(InFlight { packet_id, sequence: message.sequence });
            packet_id
        });
        Delivery { message, packet_id: Some(packet_id) }
    }

    /// Follows from the sequence, so that it is the same on any gateway (design "Device-bound queue").
    fn packet_id_of(&self, sequence: u64) -> u16 {
        let mut packet_id = u16::try_from(sequence % 65_535).unwrap_or(0) + 1;
        while self.in_flight.iter().any(|delivery| delivery.packet_id == packet_id) {
            packet_id = packet_id.checked_add(1).unwrap_or(1);
        }
        packet_id
    }

    fn poll_settling(&mut self, context: &mut Context<'_>) -> Result<(), Close> {
        loop {
            if self.settling.is_none() && !self.acknowledged.is_empty() {
                let sequences = std::mem::take(&mut self.acknowledged);
                let (front, principal) = (self.front.clone(), self.principal.clone());
                let holder = Holder::Connection(self.connection_id);
                self.settling = Some(Box::pin(async move {
                    front.shard_client.settle_messages(&principal, holder, &sequences, Settle::Complete).await
                }));
            }
            let Some(settling) = &mut self.settling else { return Ok(()) };
            let Poll::Ready(settled) = settling.as_mut().poll(context) else { return Ok(()) };
            self.settling = None;
            match settled {
                // Somebody else had it in hand by then: it is delivered once more.
                Ok(()) | Err(MessageError::LockLost) => {}
                Err(MessageError::NotFound) => return Err(Close::Deleted),
                // The device has been told nothing that is not so: the message comes again.
                Err(error) => tracing::debug!(principal = %self.principal, %error, "a message is not settled"),
            }
        }
    }
}
