//! Messages between their read and their PUBACK: acknowledged in the order of receipt, once they are durable (mqtt §4.4).

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use eventlog::{AppendError, Receipt};
use mqtt::ServerConnection;
use smallvec::SmallVec;

use crate::{front::ByteClaim, metrics::GatewayMetrics};

/// Packet ids of the messages that want a PUBACK.
pub(super) type PacketIds = SmallVec<[u16; 8]>;

/// The messages of one read that are acknowledged together.
pub(super) struct InFlight {
    pub awaits: Awaits,
    pub packet_ids: PacketIds,
    pub messages: usize,
    pub claim: ByteClaim,
    pub read_at: Instant,
}

/// What makes them so.
pub(super) enum Awaits {
    /// The event log has them.
    Durable(Receipt),
    /// So many twin requests of the connection are answered.
    Answered(u64),
    /// There is nothing to keep.
    Nothing,
}

impl Awaits {
    fn poll(&mut self, context: &mut Context<'_>, answered: u64) -> Poll<Result<(), AppendError>> {
        match self {
            Self::Durable(receipt) => Pin::new(receipt).poll(context).map(|durable| durable.map(|_| ())),
            Self::Answered(count) if *count > answered => Poll::Pending,
            Self::Answered(_) | Self::Nothing => Poll::Ready(Ok(())),
        }
    }
}

/// All messages of a connection that are not acknowledged, oldest first.
#[derive(Default)]
pub(super) struct Unacknowledged {
    waiting: VecDeque<InFlight>,
    messages: usize,
}

impl Unacknowledged {
    /// How many messages wait.
    pub fn len(&self) -> usize {
        self.messages
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// When the oldest one was read.
    pub fn oldest(&self) -> Option<Instant> {
        self.waiting.front().map(|oldest| oldest.read_at)
    }

    pub fn push(&mut self, in_flight: InFlight) {
        self.messages += in_flight.messages;
        self.waiting.push_back(in_flight);
    }

    /// Writes the PUBACKs of all that became durable; `answered` counts the twin requests that were answered. An error leaves the message unacknowledged: it must end the
    /// connection, so that the device sends again.
    pub fn poll(
        &mut self,
        context: &mut Context<'_>,
        protocol: &ServerConnection,
        metrics: &GatewayMetrics,
        answered: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), AppendError> {
        while let Some(oldest) = self.waiting.front_mut() {
            let Poll::Ready(durable) = oldest.awaits.poll(context, answered) else { return Ok(()) };
            durable?;
            oldest.packet_ids.iter().for_each(|packet_id| protocol.puback(*packet_id, out));
            if let Awaits::Durable(_) = oldest.awaits {
                metrics.acknowledged(oldest.messages, oldest.claim.bytes(), oldest.read_at.elapsed());
            }
            self.messages -= oldest.messages;
            self.waiting.pop_front();
        }
        self.waiting = VecDeque::new(); // an idle connection keeps no queue
        Ok(())
    }
}
