//! One link: its credit, and how it comes and goes.

use super::{
    Event, Fault, LinkId, Shared,
    incoming::Incomplete,
    numbers::{distance, lowest_free},
    session::Session,
    shared::session_fault,
};
use crate::{
    Attach, AttachTarget, Detach, Error, Flow, Performative, ReceiverSettleMode, Role, SenderSettleMode, Target,
    condition,
};

/// Where a link stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkState {
    /// The peer has attached and waits for an answer.
    Asked,
    /// We have attached and wait for an answer.
    Asking,
    Attached,
    /// We have detached and wait for the peer to do so.
    Detaching,
}

#[derive(Debug)]
pub(super) struct Link {
    pub id: LinkId,
    /// What our end is.
    pub role: Role,
    pub state: LinkState,
    /// Needed until both ends are attached.
    name: Option<Box<str>>,
    pub delivery_count: u32,
    /// Deliveries that may still be sent: by us, or by the peer.
    pub credit: u32,
    /// As receiver: how much of credit and unsettled deliveries there is to be, together.
    credit_window: u32,
    /// As receiver: deliveries that wait to be settled.
    pub unsettled: u32,
    pub is_draining: bool,
    /// The peer asked how we stand before we have answered its attach; our flow comes behind the answer (amqp R12, R30).
    pub owes_flow: bool,
    /// Bytes of a message; 0: no limit (amqp R26).
    pub message_bytes_max: u64,
    pub incomplete: Option<Box<Incomplete>>,
}

impl Link {
    fn new(id: LinkId, role: Role, state: LinkState, name: &str) -> Self {
        Self {
            id,
            role,
            state,
            name: Some(name.into()),
            delivery_count: 0,
            credit: 0,
            credit_window: 0,
            unsettled: 0,
            is_draining: false,
            owes_flow: false,
            message_bytes_max: 0,
            incomplete: None,
        }
    }

    /// Bytes that wait for the rest of their delivery.
    pub fn incomplete_bytes(&self) -> usize {
        self.incomplete.as_ref().map_or(0, |incomplete| incomplete.payload.len())
    }

    /// Whether we have attached it and wait for this; even if we have detached it since.
    fn is_answered_by(&self, attach: &Attach) -> bool {
        self.state != LinkState::Asked
            && self.role == attach.role.opposite()
            && self.name.as_deref() == Some(attach.name.as_str())
    }

    pub fn on_flow(&mut self, flow: &Flow, shared: &mut Shared) {
        match self.role {
            Role::Sender => self.on_credit(flow, shared),
            Role::Receiver => self.on_drained(flow, shared),
        }
    }

    /// AMQP 1.0 §2.6.7: what the receiver gives, less what is on its way to it.
    fn on_credit(&mut self, flow: &Flow, shared: &mut Shared) {
        if let Some(given) = flow.link_credit {
            let on_the_way = distance(flow.delivery_count.unwrap_or(0), self.delivery_count).max(0).cast_unsigned();
            self.credit = given.saturating_sub(on_the_way);
        }
        self.is_draining = flow.drain == Some(true);
        shared.event(Event::Credit { link: self.id, credit: self.credit, drain: self.is_draining });
    }

    /// The flow of a sender says something only when it has drained: pyamqp invents credit in others (amqp R21).
    fn on_drained(&mut self, flow: &Flow, shared: &mut Shared) {
        let (Some(true), Some(delivery_count)) = (flow.drain, flow.delivery_count) else { return };
        let used = distance(self.delivery_count, delivery_count).max(0).cast_unsigned();
        self.delivery_count = self.delivery_count.wrapping_add(used);
        self.credit = self.credit.saturating_sub(used);
        if self.is_draining && self.credit == 0 {
            self.is_draining = false;
            self.credit_window = 0;
            shared.event(Event::Drained { link: self.id });
        }
    }

    /// Whether the receiver at the other end waits to hear that there is nothing more.
    fn is_drained_by_peer(&self) -> bool {
        self.role == Role::Sender && self.state == LinkState::Attached && self.is_draining
    }

    /// Raises the credit when it is time: before it runs out (amqp R13), but not for every single message. Whether it did.
    fn top_up(&mut self) -> bool {
        let target = self.credit_window.saturating_sub(self.unsettled);
        let gain = target.saturating_sub(self.credit);
        let is_low = self.credit < self.credit_window.div_ceil(2);
        let is_receiving = self.role == Role::Receiver && self.state == LinkState::Attached && !self.is_draining;
        let is_due = is_receiving && is_low && gain >= (self.credit_window / 4).max(1);
        if is_due {
            self.credit = target;
        }
        is_due
    }
}

impl Session {
    /// The peer's attach: a new link, or the answer to ours.
    pub fn on_attach(&mut self, attach: Box<Attach>, shared: &mut Shared) -> Result<(), Fault> {
        if attach.handle > shared.config.handle_max {
            return Err(super::Violation::Handle(attach.handle).into());
        }
        if self.remote_handles.get(attach.handle).is_some() {
            return Err(session_fault(condition::HANDLE_IN_USE, format!("handle {} is in use", attach.handle)));
        }
        let answered = self.links.iter_mut().flatten().find(|link| link.is_answered_by(&attach));
        let id = match answered {
            Some(link) => {
                link.name = None;
                if link.state == LinkState::Asking {
                    link.state = LinkState::Attached;
                }
                link.id
            }
            None => self.new_link(attach.role.opposite(), LinkState::Asked, &attach.name, shared)?,
        };
        self.remote_handles.insert(attach.handle, id.slot);
        // Given up before the answer came: the peer's detach follows.
        let Some(link) = self.link_mut(id) else { return Ok(()) };
        match link.role {
            Role::Sender => link.message_bytes_max = attach.max_message_size.unwrap_or(0),
            Role::Receiver => {
                link.delivery_count = attach.initial_delivery_count.unwrap_or(0);
                link.message_bytes_max = shared.config.message_bytes_max;
            }
        }
        let is_answer = link.state == LinkState::Attached;
        // Without a source it is a refusal, and nothing will come.
        if attach.source.is_some() {
            self.renew_credit(id, shared);
        }
        shared.event(if is_answer { Event::Attached { link: id, attach } } else { Event::Attach { link: id, attach } });
        Ok(())
    }

    fn new_link(&mut self, role: Role, state: LinkState, name: &str, shared: &mut Shared) -> Result<LinkId, Fault> {
        if shared.links >= shared.config.links_max {
            let description = format!("more links than {} on one connection", shared.config.links_max);
            return Err(session_fault(condition::RESOURCE_LIMIT_EXCEEDED, description));
        }
        let slot = lowest_free(&mut self.links);
        if slot as u64 > self.remote_handle_max.into() {
            let description = format!("the answer would need a handle above {}", self.remote_handle_max);
            return Err(session_fault(condition::RESOURCE_LIMIT_EXCEEDED, description));
        }
        shared.links += 1;
        let id = LinkId { session: self.id, slot: slot as u32, serial: shared.next_serial() };
        self.links[slot] = Some(Box::new(Link::new(id, role, state, name)));
        Ok(id)
    }

    /// Attaches a link from our side; `credit` as in [`accept`](Self::accept).
    pub fn attach(&mut self, mut attach: Attach, credit: u32, shared: &mut Shared) -> Option<LinkId> {
        let id = self.new_link(attach.role, LinkState::Asking, &attach.name, shared).ok()?;
        attach.handle = id.slot;
        self.link_mut(id)?.credit_window = credit;
        self.write_attach(id, attach, shared);
        Some(id)
    }

    /// Answers the peer's attach, then gives it credit if it is to send (amqp R12, R13).
    pub fn accept(&mut self, id: LinkId, mut answer: Attach, credit: u32, shared: &mut Shared) -> bool {
        let Some(link) = self.link_mut(id).filter(|link| link.state == LinkState::Asked) else { return false };
        link.state = LinkState::Attached;
        link.credit_window = credit;
        answer.handle = id.slot;
        answer.role = link.role;
        if let Some(name) = link.name.take() {
            answer.name = name.into();
        }
        self.write_attach(id, answer, shared);
        if self.link_mut(id).is_some_and(|link| std::mem::take(&mut link.owes_flow) | link.top_up()) {
            self.write_flow(Some(id), shared);
        }
        self.end_drain(id, shared);
        true
    }

    /// Completes an attach with what peers look for in it (amqp R7), and writes it.
    fn write_attach(&mut self, id: LinkId, mut attach: Attach, shared: &mut Shared) {
        let own_limit =
            attach.max_message_size.unwrap_or(shared.config.message_bytes_max).min(shared.config.message_bytes_max);
        attach.max_message_size = Some(own_limit);
        if attach.role == Role::Sender {
            attach.initial_delivery_count = Some(0);
        } else if let Some(link) = self.link_mut(id) {
            link.message_bytes_max = own_limit;
        }
        shared.output.frame(self.id.channel, &Performative::Attach(Box::new(attach)));
    }

    /// Refuses a link as the real service does: an attach without source and target, then the detach (amqp R19).
    pub fn refuse(&mut self, id: LinkId, error: Error, shared: &mut Shared) -> bool {
        let is_asked = self.link(id).is_some_and(|link| link.state == LinkState::Asked);
        is_asked && self.detach(id, Some(error), shared)
    }

    /// Answers an attach without source and target, before a detach: an end that never attached cannot detach.
    fn attach_to_nothing(&mut self, id: LinkId, shared: &mut Shared) {
        let Some(link) = self.link_mut(id).filter(|link| link.state == LinkState::Asked) else { return };
        let name = link.name.take().unwrap_or_default();
        let mut answer = Attach::new(name, link.role);
        answer.handle = id.slot;
        answer.snd_settle_mode = Some(SenderSettleMode::Unsettled);
        answer.rcv_settle_mode = Some(ReceiverSettleMode::First);
        self.write_attach(id, answer, shared);
        // Who waits for the attach (rhea-promise) hears of the detach only when it is not read together with it.
        shared.output.end_piece();
    }

    /// Detaches a link from our side, for good: nothing of it counts any more.
    pub fn detach(&mut self, id: LinkId, error: Option<Error>, shared: &mut Shared) -> bool {
        if self.link_mut(id).is_none() {
            return false;
        }
        self.attach_to_nothing(id, shared);
        let detach = Detach { handle: id.slot, closed: true, error };
        shared.output.frame(self.id.channel, &Performative::Detach(detach));
        self.forget_deliveries(id, shared);
        if let Some(link) = self.link_mut(id) {
            link.state = LinkState::Detaching;
        }
        true
    }

    /// Detaches a link whose peer broke its rules, and tells the driver.
    pub fn detach_faulty(&mut self, id: LinkId, error: Error, shared: &mut Shared) {
        if self.detach(id, Some(error.clone()), shared) {
            shared.event(Event::Detach { link: id, error: Some(Box::new(error)) });
        }
    }

    /// The peer's detach: answered unless it is an answer (amqp R29), with the same `closed`.
    pub fn on_detach(&mut self, detach: Detach, shared: &mut Shared) {
        let Some(link) = self.by_remote_handle(detach.handle) else { return };
        let (id, state) = (link.id, link.state);
        if state != LinkState::Detaching {
            self.attach_to_nothing(id, shared);
            let answer = Detach { handle: id.slot, closed: detach.closed, error: None };
            shared.output.frame(self.id.channel, &Performative::Detach(answer));
            shared.event(Event::Detach { link: id, error: detach.error.map(Box::new) });
            self.forget_deliveries(id, shared);
        }
        self.remote_handles.remove(detach.handle);
        self.links[id.slot as usize] = None;
        shared.links -= 1;
    }

    fn forget_deliveries(&mut self, id: LinkId, shared: &mut Shared) {
        shared.unsettled_incoming -= self.incoming.retain(|link| *link != id);
        self.outgoing.retain(|sent| sent.link != id);
        self.half_sent.take_if(|half_sent| half_sent.link == id);
        if let Some(link) = self.link_mut(id) {
            shared.incomplete_bytes -= link.incomplete_bytes();
            link.incomplete = None;
        }
    }

    /// How many deliveries the peer may have under way on a link that we receive on; 0 stops it.
    pub fn set_credit(&mut self, id: LinkId, credit: u32, shared: &mut Shared) -> bool {
        let Some(link) = self.link_mut(id).filter(|link| link.role == Role::Receiver) else { return false };
        link.credit_window = credit;
        link.is_draining = false;
        let target = credit.saturating_sub(link.unsettled);
        if link.state == LinkState::Attached && target != link.credit {
            link.credit = target;
            self.write_flow(Some(id), shared);
        }
        true
    }

    pub fn renew_credit(&mut self, id: LinkId, shared: &mut Shared) {
        if self.link_mut(id).is_some_and(Link::top_up) {
            self.write_flow(Some(id), shared);
        }
    }

    /// Asks the sender to send what it has at once and to give the rest of the credit back.
    pub fn drain(&mut self, id: LinkId, shared: &mut Shared) -> bool {
        let is_receiver = |link: &&mut Link| link.role == Role::Receiver && link.state == LinkState::Attached;
        let Some(link) = self.link_mut(id).filter(is_receiver) else { return false };
        link.is_draining = true;
        self.write_flow(Some(id), shared);
        true
    }

    /// Nothing more is there for a receiver that drains: the credit is used up (AMQP 1.0 §2.6.7).
    pub fn drained(&mut self, id: LinkId, shared: &mut Shared) -> bool {
        let Some(link) = self.link_mut(id).filter(|link| link.is_drained_by_peer()) else { return false };
        link.delivery_count = link.delivery_count.wrapping_add(link.credit);
        link.credit = 0;
        self.end_drain(id, shared);
        true
    }

    /// Tells a receiver that drains that its credit is used up, be it by messages; behind the last frame of those.
    pub fn end_drain(&mut self, id: LinkId, shared: &mut Shared) {
        let is_half_sent = self.half_sent.as_ref().is_some_and(|half_sent| half_sent.link == id);
        if is_half_sent || !self.link(id).is_some_and(|link| link.is_drained_by_peer() && link.credit == 0) {
            return;
        }
        self.write_flow(Some(id), shared);
        if let Some(link) = self.link_mut(id) {
            link.is_draining = false;
        }
    }
}

impl Attach {
    /// The answer that takes the link as it was asked for: source, target, properties and the sender's settle mode come
    /// back as they are; a missing terminus becomes an empty one, because a null one is a refusal.
    pub fn answer(&self) -> Self {
        Self {
            snd_settle_mode: self.snd_settle_mode,
            rcv_settle_mode: Some(self.rcv_settle_mode.unwrap_or(ReceiverSettleMode::First)),
            source: Some(self.source.clone().unwrap_or_default()),
            target: Some(self.target.clone().unwrap_or_else(|| AttachTarget::Target(Target::default()))),
            properties: self.properties.clone(),
            ..Self::new(self.name.clone(), self.role.opposite())
        }
    }
}

/// A frame for a handle that was never attached.
pub(super) fn unattached(handle: u32) -> Fault {
    session_fault(condition::UNATTACHED_HANDLE, format!("handle {handle} is not attached"))
}
