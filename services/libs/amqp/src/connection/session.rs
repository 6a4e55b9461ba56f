//! One session: its windows, and the way to its links.

use super::{
    Event, Fault, LinkId, SessionId, Shared,
    link::{Link, LinkState, unattached},
    numbers::{Numbers, distance},
    outgoing::{HalfSent, Sent},
    unsettled::Unsettled,
};
use crate::{Begin, Disposition, End, Error, Flow, Performative, Role};

/// The number of our first transfer; it has nothing to do with delivery ids.
const FIRST_OUTGOING_ID: u32 = 1;

#[derive(Debug)]
pub(super) struct Session {
    pub id: SessionId,
    /// The peer's channel; `None` until it has answered our begin.
    pub remote_channel: Option<u16>,
    /// We have ended it, and what still comes is not looked at until the peer's end.
    pub is_ending: bool,
    pub next_incoming_id: u32,
    /// Transfers since the peer last heard of the window.
    received_since_flow: u32,
    pub next_outgoing_id: u32,
    /// Transfers that the peer takes.
    pub remote_incoming_window: u32,
    /// The highest handle that the peer takes from us.
    pub remote_handle_max: u32,
    pub next_delivery_id: u32,
    pub last_incoming_delivery: Option<u32>,
    /// By our handle.
    pub links: Vec<Option<Box<Link>>>,
    /// From the peer's handles to ours.
    pub remote_handles: Numbers,
    pub incoming: Unsettled<LinkId>,
    pub outgoing: Unsettled<Sent>,
    /// The delivery that the window cut.
    pub half_sent: Option<Box<HalfSent>>,
}

impl Session {
    pub fn new(id: SessionId) -> Self {
        Self {
            id,
            remote_channel: None,
            is_ending: false,
            next_incoming_id: 0,
            received_since_flow: 0,
            next_outgoing_id: FIRST_OUTGOING_ID,
            remote_incoming_window: 0,
            remote_handle_max: u32::MAX,
            next_delivery_id: 0,
            last_incoming_delivery: None,
            links: Vec::new(),
            remote_handles: Numbers::default(),
            incoming: Unsettled::default(),
            outgoing: Unsettled::default(),
            half_sent: None,
        }
    }

    /// The peer's begin, be it an answer or not.
    pub fn on_begin(&mut self, remote_channel: u16, begin: &Begin) {
        self.remote_channel = Some(remote_channel);
        self.next_incoming_id = begin.next_outgoing_id;
        self.remote_incoming_window = begin.incoming_window;
        self.remote_handle_max = begin.handle_max.unwrap_or(u32::MAX);
    }

    /// Our begin; every field that clients look for has a number (amqp R8).
    pub fn write_begin(&self, shared: &mut Shared) {
        let begin = Begin {
            remote_channel: self.remote_channel,
            next_outgoing_id: self.next_outgoing_id,
            incoming_window: shared.config.incoming_window,
            outgoing_window: u32::MAX,
            handle_max: Some(shared.config.handle_max),
            offered_capabilities: None,
            desired_capabilities: None,
            properties: None,
        };
        shared.output.frame(self.id.channel, &Performative::Begin(Box::new(begin)));
    }

    /// Ends the session from our side: its links are gone at once.
    pub fn end(&mut self, error: Option<Error>, shared: &mut Shared) {
        shared.output.frame(self.id.channel, &Performative::End(End { error }));
        self.release(shared);
        self.is_ending = true;
    }

    /// Gives back what the session holds of the connection's limits.
    pub fn release(&mut self, shared: &mut Shared) {
        shared.unsettled_incoming -= self.incoming.retain(|_| false);
        for link in self.links.drain(..).flatten() {
            shared.links -= 1;
            shared.incomplete_bytes -= link.incomplete_bytes();
        }
        *self = Self { remote_channel: self.remote_channel, ..Self::new(self.id) };
    }

    /// The link with this id, unless it is gone.
    pub fn link_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        let link = self.links.get_mut(id.slot as usize)?.as_deref_mut()?;
        (link.id == id && link.state != LinkState::Detaching).then_some(link)
    }

    pub fn link(&self, id: LinkId) -> Option<&Link> {
        let link = self.links.get(id.slot as usize)?.as_deref()?;
        (link.id == id && link.state != LinkState::Detaching).then_some(link)
    }

    /// The link that the peer calls by this handle, whatever its state.
    pub fn by_remote_handle(&mut self, handle: u32) -> Option<&mut Link> {
        let slot = self.remote_handles.get(handle)?;
        self.links.get_mut(slot as usize)?.as_deref_mut()
    }

    /// A transfer has come; its window is renewed in good time (amqp R23).
    pub fn count_incoming(&mut self, shared: &mut Shared) {
        self.next_incoming_id = self.next_incoming_id.wrapping_add(1);
        self.received_since_flow += 1;
        if self.received_since_flow >= shared.config.incoming_window.div_ceil(2) {
            self.write_flow(None, shared);
        }
    }

    /// The state of the session and, if there is one, of a link: then with handle, delivery-count and credit (amqp R9).
    pub fn write_flow(&mut self, link: Option<LinkId>, shared: &mut Shared) {
        let link = link.and_then(|id| self.link(id));
        let flow = Flow {
            next_incoming_id: self.remote_channel.map(|_| self.next_incoming_id),
            incoming_window: shared.config.incoming_window,
            next_outgoing_id: self.next_outgoing_id,
            outgoing_window: u32::MAX,
            handle: link.map(|link| link.id.slot),
            delivery_count: link.map(|link| link.delivery_count),
            link_credit: link.map(|link| link.credit),
            available: link.map(|_| 0),
            drain: link.filter(|link| link.is_draining).map(|_| true),
            echo: false,
            properties: None,
        };
        self.received_since_flow = 0;
        shared.output.frame(self.id.channel, &Performative::Flow(Box::new(flow)));
    }

    pub fn on_flow(&mut self, flow: &Flow, shared: &mut Shared) -> Result<(), Fault> {
        let was_open = self.is_window_open();
        self.update_window(flow);
        self.send_rest(shared);
        if !was_open && self.is_window_open() {
            shared.event(Event::WindowOpen(self.id));
        }
        let mut link = None;
        if let Some(handle) = flow.handle {
            let may_be_gone = self.remote_handles.may_be_gone(handle);
            match self.by_remote_handle(handle) {
                Some(found) if found.state == LinkState::Detaching => return Ok(()),
                Some(found) => {
                    let id = found.id;
                    found.on_flow(flow, shared);
                    if found.state == LinkState::Asked {
                        found.owes_flow |= flow.echo;
                        return Ok(());
                    }
                    self.renew_credit(id, shared);
                    self.end_drain(id, shared);
                    link = Some(id);
                }
                None if may_be_gone => return Ok(()),
                None => return Err(unattached(handle)),
            }
        }
        if flow.echo {
            self.write_flow(link, shared);
        }
        Ok(())
    }

    /// Whether a delivery can begin.
    pub fn is_window_open(&self) -> bool {
        self.remote_incoming_window > 0 && self.half_sent.is_none()
    }

    /// AMQP 1.0 §2.5.6: what the peer takes, less what is on its way.
    fn update_window(&mut self, flow: &Flow) {
        let seen = flow.next_incoming_id.unwrap_or(FIRST_OUTGOING_ID);
        let on_the_way = distance(seen, self.next_outgoing_id).max(0).cast_unsigned();
        self.remote_incoming_window = flow.incoming_window.saturating_sub(on_the_way);
    }

    pub fn on_disposition(&mut self, disposition: Disposition, shared: &mut Shared) {
        let Disposition { role, first, last, settled, state, .. } = disposition;
        let last = last.unwrap_or(first);
        match role {
            Role::Receiver => self.on_outcomes(first, last, settled, state, shared),
            // The sender has settled: nobody waits for our outcome any more.
            Role::Sender if settled => {
                let gone: Vec<LinkId> = self.incoming.drain(first, last).map(|(_, link)| link).collect();
                shared.unsettled_incoming -= gone.len();
                for id in gone {
                    self.settled_incoming(id, shared);
                }
            }
            Role::Sender => {}
        }
    }

    /// Gives back memory that an idle session does not need.
    pub fn shrink(&mut self) {
        self.incoming.shrink();
        self.outgoing.shrink();
        self.links.shrink_to_fit();
    }
}
