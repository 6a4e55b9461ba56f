//! Links of the endpoint on a connection: who may attach them, and requests to `$management`.

use amqp::{Attach, AttachTarget, Delivery, DeliveryState, LinkId, Role};
use auth::Operation;

use super::{Address, Endpoint, Node, Reader, ReceiverOptions, management};
use crate::amqp::{
    attach::CREDIT,
    authority::Refused,
    connection::Connection,
    error,
    link::{Kind, Queued},
};

impl Connection {
    /// A link to `{event hub}/ConsumerGroups/…`, `$management` or `messages/events…`. Whether it may is looked at before
    /// it is told what there is.
    pub(in crate::amqp) fn attach_event_hubs(&mut self, link: LinkId, attach: &Attach) {
        if let Err(refused) = self.may_read_events() {
            self.log_refusal(&refused, "");
            return self.refuse(link, error::refused(&refused));
        }
        let Some(settings) = self.front.settings() else {
            return self.refuse(link, error::refused(&Refused::NotReady));
        };
        match self.endpoint().node(attach, &settings) {
            Ok(Node::Management) => {
                let kind = match attach.role {
                    Role::Sender => Kind::ManagementRequests,
                    Role::Receiver => Kind::ManagementAnswers { name: target(attach).map(Into::into) },
                };
                self.accept(link, attach.answer(), CREDIT, kind);
            }
            Ok(Node::Partition { consumer_group, partition }) => match ReceiverOptions::of(attach) {
                Ok(options) => {
                    let answer = ReceiverOptions::answer(attach);
                    self.open_reader(link, answer, consumer_group, partition, options);
                }
                Err(refusal) => self.refuse(link, refusal.into()),
            },
            Err(refusal) => self.refuse(link, refusal.into()),
        }
    }

    /// Whether it is where one would send events to, if this were any event hub; that is refused in its own words (amqp
    /// §8.2).
    pub(in crate::amqp) fn is_ingress(&self, address: &str) -> bool {
        let is_ours = |event_hub: &str| event_hub.eq_ignore_ascii_case(&self.front.config.event_hub_name);
        matches!(Address::parse(address), Some(Address::Ingress { event_hub }) if is_ours(event_hub))
    }

    /// A token for the hub, for the event hub, or for anything below it (amqp §8.7).
    fn may_read_events(&self) -> Result<(), Refused> {
        let event_hub = [self.front.config.event_hub_name.as_str()];
        let paths: [&[&str]; 2] = [&event_hub, &["messages", "events"]];
        let mut refused = Refused::NotReady;
        for path in paths {
            match self.authority.authorize_within(&self.front, Operation::ReadEvents, path) {
                Ok(_) => return Ok(()),
                Err(other) => refused = other,
            }
        }
        Err(refused)
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint {
            name: self.front.config.event_hub_name.clone(),
            host: self.front.host_names.first().to_owned(),
            partitions: self.front.event_partitions,
        }
    }

    /// Why a reader that has waited for its place does not begin, after all.
    pub(super) fn refuses_reader(&self, reader: &Reader) -> Option<amqp::Error> {
        match self.may_read_events() {
            Err(refused) => Some(error::refused(&refused)),
            Ok(()) => self.lacks_group(reader),
        }
    }

    fn lacks_group(&self, reader: &Reader) -> Option<amqp::Error> {
        Some(reader.check(&*self.front.settings()?)?.into())
    }

    /// Ends the links that no token allows any more, and those to consumer groups that are gone.
    pub(in crate::amqp) fn recheck_event_hubs(&mut self) {
        let is_allowed = self.may_read_events().map_err(|refused| error::refused(&refused));
        let mut ended = Vec::new();
        for (id, link) in &self.links {
            let is_ours = matches!(link.kind, Kind::ManagementRequests | Kind::ManagementAnswers { .. } | Kind::Events);
            let error = match &is_allowed {
                Err(error) if is_ours => Some(error.clone()),
                _ => self.readers.get(id).and_then(|reader| self.lacks_group(reader)),
            };
            ended.extend(error.map(|error| (*id, error)));
        }
        ended.into_iter().for_each(|(id, error)| self.detach(id, error));
    }

    /// Settled before it is answered, always (amqp R14).
    pub(in crate::amqp) fn on_management_request(&mut self, delivery: Delivery) {
        let link = delivery.link;
        self.settle((link, delivery.id, delivery.settled), DeliveryState::Accepted);
        self.waiting += 1;
        let (front, endpoint) = (self.front.clone(), self.endpoint());
        let answered = async move {
            let created = front.settings().map(|settings| settings.created).unwrap_or_default();
            management::answer(&delivery.payload, &endpoint, created, &*front.event_log, &front.events).await
        };
        self.start(answered, move |connection, answer| {
            connection.waiting -= 1;
            match answer {
                Ok(answer) => connection.answer_management(link, answer),
                Err(malformed) => tracing::debug!(%malformed, "a request to $management is no message"),
            }
        });
    }

    /// Answers on the link that the request names, or else on any for answers in the same session.
    fn answer_management(&mut self, request: LinkId, answer: management::Answer) {
        let mut fitting = None;
        for (id, link) in self.links.iter().filter(|(id, _)| id.session() == request.session()) {
            if let Kind::ManagementAnswers { name } = &link.kind {
                let is_named = answer.reply_to.is_some() && name.as_deref() == answer.reply_to.as_deref();
                if is_named || fitting.is_none() {
                    fitting = Some(*id);
                }
                if is_named {
                    break;
                }
            }
        }
        if let Some(id) = fitting
            && !self.send(id, Queued::settled(answer.payload))
        {
            self.detach(id, error::too_much("Too many answers wait for credit."));
        }
    }
}

fn target(attach: &Attach) -> Option<&str> {
    match attach.target.as_ref()? {
        AttachTarget::Target(target) => target.address.as_deref(),
        AttachTarget::Coordinator(_) => None,
    }
}
