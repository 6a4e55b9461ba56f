//! What the peer did, and who handles it.

use amqp::{Delivery, DeliveryState, Event, LinkId};

use super::{
    close::Close,
    connection::Connection,
    error,
    link::{DeviceLink, Kind},
    notices::Notices,
};

impl Connection {
    pub(super) fn on_event(&mut self, event: Event) {
        match event {
            Event::SaslInit(init) => self.on_sasl_init(&init),
            Event::Open(_) => {
                if self.authority.certificate.is_some() {
                    self.proved(); // who of those it may be, its links will say
                }
                self.protocol.open();
            }
            Event::Attach { link, attach } => self.on_attach(link, attach),
            Event::Delivery(delivery) => self.on_delivery(delivery),
            Event::Credit { link, drain, .. } => self.on_credit(link, drain),
            Event::WindowOpen(session) => {
                let links: Vec<LinkId> = self.links.keys().filter(|link| link.session() == session).copied().collect();
                links.into_iter().for_each(|link| self.on_room(link));
            }
            Event::Outcome(outcome) => self.on_outcome(outcome),
            Event::Detach { link, .. } => self.forget_link(link),
            Event::End { session, .. } => {
                let links: Vec<LinkId> = self.links.keys().filter(|link| link.session() == session).copied().collect();
                links.into_iter().for_each(|link| self.forget_link(link));
            }
            Event::Close { .. } => self.end_after(Close::Said),
            // Of a server that asks for nothing itself.
            Event::SaslResponse(_)
            | Event::SaslOutcome(_)
            | Event::Begin(_)
            | Event::Attached { .. }
            | Event::Drained { .. } => {}
        }
    }

    /// A message of the peer. Every one is answered, also on links that were negotiated to be settled (amqp R15).
    pub(super) fn on_delivery(&mut self, delivery: Delivery) {
        let Some(link) = self.links.get(&delivery.link) else { return };
        match link.kind.clone() {
            Kind::Asked => self.keep_early(delivery),
            Kind::CbsRequests => self.on_cbs_request(&delivery),
            Kind::Send(_) => self.on_device_bound(&delivery),
            Kind::ManagementRequests => self.on_management_request(delivery),
            Kind::Device(principal, DeviceLink::Telemetry) => self.on_telemetry(&principal, &delivery),
            Kind::Device(principal, DeviceLink::TwinRequests) => self.on_twin_request(&principal, &delivery),
            Kind::Device(principal, DeviceLink::MethodAnswers) => self.on_method_answer(&principal, &delivery),
            // Links on which the hub sends: the library lets nothing through.
            _ => {
                let state = DeliveryState::rejected(error::not_allowed("Nothing can be sent on this link."));
                self.settle((delivery.link, delivery.id, delivery.settled), state);
            }
        }
    }

    /// The receiver of a link takes more.
    pub(super) fn on_credit(&mut self, id: LinkId, drain: bool) {
        self.on_room(id);
        match self.links.get(&id).map(|link| link.kind.clone()) {
            Some(Kind::Asked) => self.links.get_mut(&id).into_iter().for_each(|link| link.drains_early = drain),
            Some(Kind::Device(principal, DeviceLink::DeviceBound)) if drain => self.drain_device_bound(&principal),
            Some(Kind::Events) if drain => self.drain_events(id),
            // What there was is sent.
            Some(_) if drain => _ = self.protocol.drained(id),
            Some(_) | None => {}
        }
    }

    /// There is credit or room on a link.
    pub(super) fn on_room(&mut self, id: LinkId) {
        self.send_waiting(id);
        match self.links.get(&id).map(|link| link.kind.clone()) {
            Some(Kind::Device(principal, DeviceLink::DeviceBound)) => self.ask_for_device_bound(&principal),
            Some(Kind::Feedback(_)) => self.ask_for_notice(id, Notices::Feedback),
            Some(Kind::FileNotifications(_)) => self.ask_for_notice(id, Notices::Files),
            _ => {}
        }
    }

    fn on_outcome(&mut self, outcome: amqp::Outcome) {
        match self.links.get(&outcome.link).map(|link| link.kind.clone()) {
            Some(Kind::Device(principal, DeviceLink::DeviceBound)) => self.on_device_bound_outcome(&principal, outcome),
            Some(Kind::Feedback(_)) => self.on_notice_outcome(outcome, Notices::Feedback),
            Some(Kind::FileNotifications(_)) => self.on_notice_outcome(outcome, Notices::Files),
            _ => {}
        }
    }

    /// A link that the peer ended.
    pub(super) fn forget_link(&mut self, id: LinkId) {
        if let Some(link) = self.links.remove(&id) {
            self.waiting -= link.early.len();
            self.blocked.remove(&id);
            self.link_ended(id, link.kind);
        }
    }

    /// Cleans up behind a link that is gone.
    pub(super) fn link_ended(&mut self, id: LinkId, kind: Kind) {
        self.readers.remove(&id);
        if let Kind::Device(principal, purpose) = kind {
            self.device_link_ended(id, &principal, purpose);
        }
    }

    /// The settings of the hub changed: who could not begin now does not go on either.
    pub(super) fn settings_changed(&mut self) {
        self.expires = self.authority.deadline(&self.front, std::time::Instant::now());
        self.recheck_devices();
        self.recheck_service_links();
    }
}
