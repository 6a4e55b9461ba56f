//! Readers of partitions on a connection: events go out as long as there is credit and room.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use amqp::{Attach, LinkId, MESSAGE_FORMAT, Outgoing, SendError};
use model::{EventPartition, HubSettings};
use shard_client::{ClaimedReceiver, NewReceiver};

use super::{Receiver, ReceiverOptions, Refusal, endpoint::is_consumer_group};
use crate::{
    Front,
    amqp::{connection::Connection, link::Kind},
};

/// Events that one reader sends before others have their turn.
const TURN_MAX: usize = 256;
/// Readers of one connection, those that wait for their place included.
const READERS_MAX: usize = 1024;

/// A receiver that has its place.
pub(in crate::amqp) struct Reader {
    receiver: Receiver,
    claimed: ClaimedReceiver,
    consumer_group: String,
    name: String,
    epoch: Option<i64>,
    /// Delivery tags count (amqp R6: 16 bytes).
    sent: u128,
    /// The peer wants to know when there is nothing more.
    is_draining: bool,
}

impl Reader {
    /// Finds the start, then claims the place: who asks for nonsense displaces nobody. What is enqueued while the claim
    /// waits came after the attach, so a reader from `@latest` on gets it, though the receiver that it displaces may have
    /// had it as well; the other way round it could be missed by both.
    pub(super) async fn open(
        front: Arc<Front>,
        consumer_group: String,
        partition: EventPartition,
        options: ReceiverOptions,
    ) -> Result<Box<Self>, Refusal> {
        let receiver = Receiver::open(front.event_log.clone(), front.events.clone(), partition, &options).await?;
        let ReceiverOptions { epoch, name, .. } = options;
        let place = NewReceiver { consumer_group, partition, epoch, name };
        let claimed = front.shard_client.claim_receiver(&place).await?;
        let NewReceiver { consumer_group, name, .. } = place;
        Ok(Box::new(Self { receiver, claimed, consumer_group, name, epoch, sent: 0, is_draining: false }))
    }

    /// Why it cannot go on under these settings.
    pub(super) fn check(&self, settings: &HubSettings) -> Option<Refusal> {
        (!is_consumer_group(&self.consumer_group, settings)).then(|| Refusal::NotFound(self.consumer_group.clone()))
    }

    /// Sends what there is and may be sent. True when it did something; an error ends the link.
    fn advance(
        &mut self,
        link: LinkId,
        protocol: &mut amqp::Connection,
        context: &mut Context<'_>,
    ) -> Result<bool, Refusal> {
        if let Poll::Ready(lost) = Pin::new(&mut self.claimed).poll(context) {
            let name = std::mem::take(&mut self.name);
            return Err(Refusal::Displaced { name, epoch: self.epoch, by: lost.by });
        }
        for turn in 0..TURN_MAX {
            if protocol.sendable(link) == 0 {
                return Ok(turn > 0);
            }
            let Poll::Ready(payload) = self.receiver.poll_next(context) else {
                if self.is_draining && self.receiver.is_at_end() {
                    self.is_draining = false;
                    protocol.drained(link);
                }
                return Ok(turn > 0);
            };
            self.sent += 1;
            let tag = self.sent.to_be_bytes().into();
            let outgoing = Outgoing { tag, message_format: MESSAGE_FORMAT, settled: true, payload: payload? };
            if let Err(SendError::TooLarge { max }) = protocol.send(link, &outgoing) {
                tracing::warn!(max, "an event is too large for its reader and is left out");
            }
        }
        Ok(true)
    }
}

impl Connection {
    /// Begins to read a partition for a link.
    pub(super) fn open_reader(
        &mut self,
        link: LinkId,
        answer: Attach,
        consumer_group: String,
        partition: EventPartition,
        options: ReceiverOptions,
    ) {
        if self.readers.len() + self.opening_readers >= READERS_MAX {
            return self.refuse(link, Refusal::TooManyReaders(READERS_MAX).into());
        }
        self.opening_readers += 1;
        let opened = Reader::open(self.front.clone(), consumer_group, partition, options);
        self.start(opened, move |connection, opened| {
            connection.opening_readers -= 1;
            connection.reader_opened(link, answer, opened);
        });
    }

    fn reader_opened(&mut self, link: LinkId, answer: Attach, opened: Result<Box<Reader>, Refusal>) {
        if !self.links.contains_key(&link) {
            return; // gone meanwhile
        }
        match opened {
            // Tokens and settings may have changed meanwhile.
            Ok(reader) => match self.refuses_reader(&reader) {
                None => {
                    self.readers.insert(link, reader);
                    self.accept(link, answer, 0, Kind::Events);
                }
                Some(error) => self.refuse(link, error),
            },
            Err(refusal) => self.refuse(link, refusal.into()),
        }
    }

    /// The peer wants what there is, and to be told that there is no more.
    pub(in crate::amqp) fn drain_events(&mut self, link: LinkId) {
        if let Some(reader) = self.readers.get_mut(&link) {
            reader.is_draining = true;
        }
    }

    /// Lets every reader send.
    pub(in crate::amqp) fn poll_readers(&mut self, context: &mut Context<'_>) -> bool {
        let mut progress = false;
        let mut ended = Vec::new();
        for (link, reader) in &mut self.readers {
            match reader.advance(*link, &mut self.protocol, context) {
                Ok(sent) => progress |= sent,
                Err(refusal) => ended.push((*link, refusal)),
            }
        }
        for (link, refusal) in ended {
            progress = true;
            self.detach(link, refusal.into());
        }
        progress
    }
}
