//! Reads what two ends say to each other, and calls out what neither may do: a window or a credit overdrawn, a frame
//! larger than agreed, a delivery id out of its row, words about links that are not attached.
//!
//! It hears a grant when its words are on the way, so it never blames a sender for what it could not know, and it
//! remembers the highest grant, because a smaller one takes time to arrive.

use std::collections::HashMap;

use amqp::{
    Attach, Begin, Disposition, FRAME_HEADER_BYTES, Flow, FrameHeader, FrameKind, Performative, Role, Transfer,
};

/// Who says it: 0 or 1, the other is `1 - side`.
type Side = usize;

#[derive(Default)]
pub struct Referee {
    ends: [End; 2],
    sessions: Vec<[Direction; 2]>,
    links: HashMap<String, Link>,
}

#[derive(Default)]
struct End {
    frame_bytes_max: Option<u32>,
    /// From channels to sessions.
    channels: HashMap<u16, usize>,
    /// From channels to sessions that this side has ended; the answer to their begin may still be on its way.
    ended: HashMap<u16, usize>,
    /// From session and handle to the name of the link.
    handles: HashMap<(usize, u32), String>,
}

/// What one side sends in a session.
#[derive(Default)]
struct Direction {
    first_transfer: u32,
    transfers: u32,
    transfers_granted: u32,
    next_delivery: u32,
}

#[derive(Default)]
struct Link {
    receiver: Option<Side>,
    /// Used up, be it by deliveries or by draining.
    credit_used: u32,
    credit_granted: u32,
}

impl Referee {
    /// Whole frames of one side.
    pub fn hear(&mut self, side: Side, mut bytes: &[u8]) {
        while let Some(first) = bytes.first_chunk::<FRAME_HEADER_BYTES>() {
            if first.starts_with(b"AMQP") {
                bytes = &bytes[FRAME_HEADER_BYTES..];
                continue;
            }
            let max = self.ends[1 - side].frame_bytes_max.unwrap_or(u32::MAX);
            let header = FrameHeader::decode(*first, max).expect("a frame as large as agreed");
            let body = &bytes[header.body_offset..header.size];
            if header.kind == FrameKind::Amqp && !body.is_empty() {
                let (performative, _) = Performative::decode(body).expect("a performative");
                self.hear_performative(side, header.channel, performative);
            }
            bytes = &bytes[header.size..];
        }
        assert!(bytes.is_empty(), "half a frame");
    }

    fn hear_performative(&mut self, side: Side, channel: u16, performative: Performative) {
        match performative {
            Performative::Open(open) => self.ends[side].frame_bytes_max = open.max_frame_size,
            Performative::Begin(begin) => self.begin(side, channel, &begin),
            Performative::Attach(attach) => self.attach(side, channel, &attach),
            Performative::Flow(flow) => self.flow(side, channel, &flow),
            Performative::Transfer(transfer) => self.transfer(side, channel, &transfer),
            Performative::Disposition(disposition) => Self::disposition(&disposition),
            Performative::Detach(detach) => {
                let session = self.session(side, channel);
                let name = self.ends[side].handles.remove(&(session, detach.handle));
                assert!(name.is_some(), "a detach of a link that is not attached");
            }
            Performative::End(_) => {
                let session = self.session(side, channel);
                self.ends[side].channels.remove(&channel);
                self.ends[side].ended.insert(channel, session);
                self.ends[side].handles.retain(|(of, _), _| *of != session);
            }
            Performative::Close(_) => {}
        }
    }

    fn session(&self, side: Side, channel: u16) -> usize {
        *self.ends[side].channels.get(&channel).expect("a channel with a session")
    }

    fn begin(&mut self, side: Side, channel: u16, begin: &Begin) {
        let session = match begin.remote_channel {
            Some(answered) => {
                let peer = &self.ends[1 - side];
                *peer.channels.get(&answered).or(peer.ended.get(&answered)).expect("a begin to answer")
            }
            None => {
                self.sessions.push(Default::default());
                self.sessions.len() - 1
            }
        };
        assert_eq!(self.ends[side].channels.insert(channel, session), None, "a channel in use");
        self.sessions[session][side].first_transfer = begin.next_outgoing_id;
        self.sessions[session][1 - side].transfers_granted = begin.incoming_window;
    }

    fn attach(&mut self, side: Side, channel: u16, attach: &Attach) {
        let session = self.session(side, channel);
        let name = format!("{session} {}", attach.name);
        let link = self.links.entry(name.clone()).or_default();
        link.receiver = Some(if attach.role == Role::Receiver { side } else { 1 - side });
        let replaced = self.ends[side].handles.insert((session, attach.handle), name);
        assert_eq!(replaced, None, "a handle in use");
    }

    fn flow(&mut self, side: Side, channel: u16, flow: &Flow) {
        let session = self.session(side, channel);
        let peer = &mut self.sessions[session][1 - side];
        if let Some(next) = flow.next_incoming_id {
            let granted = next.wrapping_sub(peer.first_transfer) + flow.incoming_window;
            peer.transfers_granted = peer.transfers_granted.max(granted);
        }
        let Some(handle) = flow.handle else { return };
        let name = self.ends[side].handles.get(&(session, handle)).expect("a flow of an attached link");
        let link = self.links.get_mut(name).expect("a link");
        let (Some(count), Some(credit)) = (flow.delivery_count, flow.link_credit) else { panic!("amqp R9: {flow:?}") };
        if link.receiver == Some(side) {
            link.credit_granted = link.credit_granted.max(count + credit);
        } else {
            assert!(count <= link.credit_granted, "drained more than was granted");
            link.credit_used = link.credit_used.max(count);
        }
    }

    fn transfer(&mut self, side: Side, channel: u16, transfer: &Transfer) {
        let session = self.session(side, channel);
        let direction = &mut self.sessions[session][side];
        direction.transfers += 1;
        assert!(direction.transfers <= direction.transfers_granted, "the window is overdrawn");
        let name = self.ends[side].handles.get(&(session, transfer.handle)).expect("a transfer of an attached link");
        let Some(id) = transfer.delivery_id else { return };
        assert_eq!(id, direction.next_delivery, "amqp R5");
        direction.next_delivery += 1;
        assert!(transfer.message_format.is_some() && transfer.delivery_tag.is_some(), "amqp R4");
        let link = self.links.get_mut(name).expect("a link");
        link.credit_used += 1;
        assert!(link.credit_used <= link.credit_granted, "the credit is overdrawn");
    }

    fn disposition(disposition: &Disposition) {
        assert!(disposition.settled && disposition.state.is_some(), "amqp R16: {disposition:?}");
    }
}
