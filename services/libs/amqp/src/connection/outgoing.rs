//! Deliveries to the peer.

use bytes::{Buf, Bytes};

use super::{Event, LinkId, Outcome, Outgoing, SendError, Shared, link::LinkState, session::Session};
use crate::{DeliveryState, DeliveryTag, FRAME_HEADER_BYTES, Role, Transfer, types::Field};

/// A delivery that was sent and is not settled.
#[derive(Debug)]
pub(super) struct Sent {
    pub link: LinkId,
    tag: DeliveryTag,
    /// The peer has said what became of it and waits for our word.
    is_answered: bool,
}

/// A delivery of which some frames did not fit into the window.
#[derive(Debug)]
pub(super) struct HalfSent {
    pub link: LinkId,
    settled: bool,
    rest: Bytes,
}

impl Session {
    /// How many deliveries can be sent on the link at this moment.
    pub fn sendable(&self, id: LinkId, shared: &Shared) -> u32 {
        let Some(link) = self.link(id).filter(|link| link.role == Role::Sender) else { return 0 };
        let is_full = shared.output.len() >= shared.config.output_bytes_max;
        if link.state != LinkState::Attached || !self.is_window_open() || is_full {
            return 0;
        }
        let places = shared.config.unsettled_outgoing_max.saturating_sub(self.outgoing.len());
        link.credit.min(self.remote_incoming_window).min(u32::try_from(places).unwrap_or(u32::MAX))
    }

    /// Sends a delivery and returns its id: they are counted over all links of a session, without gaps (amqp R5).
    pub fn send(&mut self, id: LinkId, outgoing: &Outgoing<'_>, shared: &mut Shared) -> Result<u32, SendError> {
        self.check_send(id, outgoing, shared)?;
        let delivery_id = self.next_delivery_id;
        self.next_delivery_id = delivery_id.wrapping_add(1);
        let link = self.link_mut(id).ok_or(SendError::Gone)?;
        link.credit -= 1;
        link.delivery_count = link.delivery_count.wrapping_add(1);
        if !outgoing.settled {
            self.outgoing.insert(delivery_id, Sent { link: id, tag: outgoing.tag, is_answered: false });
        }
        // What the first frame says, and clients insist on (amqp R4).
        let first = Transfer {
            delivery_id: Some(delivery_id),
            delivery_tag: Some(outgoing.tag),
            message_format: Some(outgoing.message_format),
            ..continuation(id, outgoing.settled)
        };
        let rest = self.write_transfer(first, outgoing.payload, shared);
        let rest = self.write_frames(id, outgoing.settled, rest, shared);
        if !rest.is_empty() {
            self.half_sent =
                Some(Box::new(HalfSent { link: id, settled: outgoing.settled, rest: Bytes::copy_from_slice(rest) }));
        }
        self.end_drain(id, shared);
        Ok(delivery_id)
    }

    fn check_send(&self, id: LinkId, outgoing: &Outgoing<'_>, shared: &Shared) -> Result<(), SendError> {
        let link = self.link(id).filter(|link| link.role == Role::Sender && link.state == LinkState::Attached);
        let link = link.ok_or(SendError::Gone)?;
        let max = link.message_bytes_max;
        if max > 0 && outgoing.payload.len() as u64 > max {
            return Err(SendError::TooLarge { max });
        }
        if link.credit == 0 {
            return Err(SendError::NoCredit);
        }
        if !self.is_window_open() {
            return Err(SendError::NoWindow);
        }
        if shared.output.len() >= shared.config.output_bytes_max {
            return Err(SendError::OutputFull);
        }
        if !outgoing.settled && self.outgoing.len() >= shared.config.unsettled_outgoing_max {
            return Err(SendError::TooManyUnsettled);
        }
        Ok(())
    }

    /// Goes on with the delivery that the window cut.
    pub fn send_rest(&mut self, shared: &mut Shared) {
        let Some(mut half_sent) = self.half_sent.take() else { return };
        let rest = self.write_frames(half_sent.link, half_sent.settled, &half_sent.rest, shared).len();
        if rest > 0 {
            half_sent.rest.advance(half_sent.rest.len() - rest);
            self.half_sent = Some(half_sent);
        } else {
            self.end_drain(half_sent.link, shared);
        }
    }

    /// Writes the further frames of a delivery as far as the window goes, and returns what is left.
    fn write_frames<'a>(&mut self, link: LinkId, settled: bool, mut rest: &'a [u8], shared: &mut Shared) -> &'a [u8] {
        while !rest.is_empty() && self.remote_incoming_window > 0 {
            rest = self.write_transfer(continuation(link, settled), rest, shared);
        }
        rest
    }

    /// Writes one frame, and returns what did not fit into it.
    fn write_transfer<'a>(&mut self, mut transfer: Transfer, payload: &'a [u8], shared: &mut Shared) -> &'a [u8] {
        self.next_outgoing_id = self.next_outgoing_id.wrapping_add(1);
        self.remote_incoming_window -= 1;
        let frame_bytes_max = shared.frame_bytes_max as usize;
        let mut rest: &[u8] = &[];
        shared.output.frame_with(self.id.channel, |out| {
            let start = out.len();
            transfer.encode(out);
            let room = frame_bytes_max.saturating_sub(FRAME_HEADER_BYTES + out.len() - start).max(1);
            let (now, later) = payload.split_at(payload.len().min(room));
            if !later.is_empty() {
                // True takes as many bytes as false.
                out.truncate(start);
                transfer.more = true;
                transfer.encode(out);
                rest = later;
            }
            out.extend_from_slice(now);
        });
        rest
    }

    /// What the peer says of our deliveries: one event for each that it has not spoken of before.
    pub fn on_outcomes(
        &mut self,
        first: u32,
        last: u32,
        settled: bool,
        state: Option<DeliveryState>,
        shared: &mut Shared,
    ) {
        let outcome = |id: u32, sent: &Sent| {
            Event::Outcome(Outcome { link: sent.link, id, tag: sent.tag, state: state.clone(), settled })
        };
        if settled {
            let settled = self.outgoing.drain(first, last).filter(|(_, sent)| !sent.is_answered);
            shared.events.extend(settled.map(|(id, sent)| outcome(id, &sent)));
        } else if state.as_ref().is_some_and(DeliveryState::is_outcome) {
            let answered = self.outgoing.range_mut(first, last).filter(|(_, sent)| !sent.is_answered);
            shared.events.extend(answered.map(|(id, sent)| {
                sent.is_answered = true;
                outcome(id, sent)
            }));
        }
    }

    /// The last word on a delivery whose outcome the peer has told us unsettled (amqp R18); never said without being
    /// asked, because some clients take it for one of their own deliveries (amqp R17).
    pub fn settle_outgoing(&mut self, link: LinkId, id: u32, state: DeliveryState, shared: &mut Shared) -> bool {
        if !self.outgoing.get(id).is_some_and(|sent| sent.link == link && sent.is_answered) {
            return false;
        }
        self.outgoing.remove(id);
        shared.output.settle(self.id.channel, Role::Sender, id, state);
        true
    }
}

/// A frame that says no more than the standard asks of one that continues a delivery.
fn continuation(link: LinkId, settled: bool) -> Transfer {
    Transfer {
        handle: link.slot,
        delivery_id: None,
        delivery_tag: None,
        message_format: None,
        settled: settled.then_some(true),
        more: false,
        rcv_settle_mode: None,
        state: None,
        resume: None,
        aborted: None,
        batchable: None,
    }
}
