//! A device or module on a connection: who it is, its links, and how it goes (amqp §4, §5).

use std::{
    collections::HashMap,
    future::poll_fn,
    sync::Arc,
    time::{Duration, Instant},
};

use amqp::{Attach, LinkId, Role, SenderSettleMode};
use auth::{ConnectionAuthMethod, Fingerprint, Refusal, recheck};
use futures::future::{AbortHandle, abortable};
use model::{ConnectionId, Credentials, Principal};
use shard_client::{Mailbox, SessionEvent};

use super::{
    address::DeviceNode,
    attach::{Admitted, Asked, CREDIT, model_id, wrong_role},
    authority::TokenKey,
    connection::Connection,
    deliveries::Deliveries,
    error,
    interests::{Changing, Then},
    link::{DeviceLink, Kind},
    telemetry::Unappended,
    twin::Twin,
};
use crate::{Front, device_bound, history::Incident, telemetry::Stamp, twin_requests::SessionEnd};

/// Activity of a device is reported at most so often.
const ACTIVITY_INTERVAL: Duration = Duration::from_secs(60);

pub(super) struct Device {
    pub principal: Principal,
    pub connection_id: ConnectionId,
    pub mailbox: Arc<Mailbox>,
    pub stamp: Stamp,
    pub fingerprint: Fingerprint,
    /// The token that it stands on; `None`: the certificate.
    pub authorized_by: Option<TokenKey>,
    pub links: HashMap<DeviceLink, LinkId>,
    pub unappended: Unappended,
    pub twin: Twin,
    pub deliveries: Option<Deliveries>,
    pub changing: Changing,
    /// As the registry has them now.
    credentials: Credentials,
    method: ConnectionAuthMethod,
    model_id: Option<String>,
    active_at: Option<Instant>,
    watch: Option<AbortHandle>,
}

impl Device {
    pub fn new(front: &Front, admitted: Admitted) -> Self {
        let Admitted { principal, credentials, authenticated, authorized_by, attachment, model_id } = admitted;
        Self {
            stamp: Stamp::new(front, &principal, &credentials, authenticated.method, model_id.as_deref()),
            principal,
            connection_id: attachment.connection_id,
            mailbox: attachment.mailbox,
            fingerprint: authenticated.fingerprint,
            authorized_by,
            links: HashMap::new(),
            unappended: Unappended::default(),
            twin: Twin::default(),
            deliveries: None,
            changing: Changing::default(),
            credentials,
            method: authenticated.method,
            model_id,
            active_at: None,
            watch: None,
        }
    }

    /// It did something; reported now and then.
    pub fn mark_active(&mut self, front: &Front, now: Instant) {
        if self.active_at.is_none_or(|active| active + ACTIVITY_INTERVAL <= now) {
            self.active_at = Some(now);
            front.shard_client.active(&self.principal);
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.abort();
        }
    }
}

impl Connection {
    /// The device, if it is still the one that an operation began for.
    pub(super) fn device(&mut self, principal: &Principal, connection_id: ConnectionId) -> Option<&mut Device> {
        let device = self.devices.get_mut(principal)?;
        (device.connection_id == connection_id).then_some(&mut **device)
    }

    /// Attaches a link of a device that is there.
    pub(super) fn attach_device_link(&mut self, principal: &Principal, asked: Asked) {
        let Asked { link, attach, node } = asked;
        if !self.links.contains_key(&link) {
            return; // gone meanwhile
        }
        let purpose = match purpose(node, attach.role, principal) {
            Ok(purpose) => purpose,
            Err(wanted) => return self.refuse(link, wrong_role(wanted)),
        };
        let Some(device) = self.devices.get_mut(principal) else { return };
        let connection_id = device.connection_id;
        let model = model_id(&attach).filter(|model_id| device.model_id.as_ref() != Some(model_id));
        let older = device.links.insert(purpose, link);
        if let Some(older) = older {
            self.replace(older);
            if purpose == DeviceLink::DeviceBound {
                self.release_device_bound(principal);
            }
        }
        let Some(model_id) = model else { return self.begin_device_link(principal, link, &attach, purpose) };
        self.waiting += 1;
        let (front, owner) = (self.front.clone(), principal.clone());
        let announced = async move {
            let announced = front.shard_client.announce_model(&owner, &model_id).await;
            (owner, model_id, announced)
        };
        self.start(announced, move |connection, (principal, model_id, announced)| {
            connection.waiting -= 1;
            let front = connection.front.clone();
            let Some(device) = connection.device(&principal, connection_id) else { return };
            if announced.is_ok() {
                device.stamp =
                    Stamp::new(&front, &principal, &device.credentials, device.method, Some(model_id.as_str()));
                device.model_id = Some(model_id);
            }
            connection.begin_device_link(&principal, link, &attach, purpose);
        });
    }

    /// A second link for the same purpose takes the place of the first (amqp §4). Its owner stays.
    fn replace(&mut self, older: LinkId) {
        if let Some(link) = self.links.remove(&older) {
            self.waiting -= link.early.len();
            self.protocol.detach(older, Some(error::stolen("Another link of the same identity is there.")));
        }
    }

    /// Accepts the link, once the hub knows what the device wants to hear.
    fn begin_device_link(&mut self, principal: &Principal, link: LinkId, attach: &Attach, purpose: DeviceLink) {
        let mut answer = attach.answer();
        match purpose {
            // Twin answers and methods are settled when they are sent (amqp §5.1).
            DeviceLink::TwinAnswers | DeviceLink::MethodCalls => {
                answer.snd_settle_mode = Some(SenderSettleMode::Settled);
            }
            DeviceLink::DeviceBound => answer.snd_settle_mode = Some(SenderSettleMode::Unsettled),
            _ => {}
        }
        let kind = Kind::Device(principal.clone(), purpose);
        if purpose == DeviceLink::DeviceBound
            && let Some(device) = self.devices.get_mut(principal)
        {
            device.deliveries = Some(Deliveries::new(link));
        }
        match purpose {
            DeviceLink::DeviceBound | DeviceLink::MethodCalls | DeviceLink::MethodAnswers => {
                self.waiting += 1;
                self.change_interests(principal, Then::Accept { link, answer: Box::new(answer), kind });
            }
            _ => self.accept(link, answer, CREDIT, kind),
        }
    }

    /// A link of a device is gone: what it was for is over.
    pub(super) fn device_link_ended(&mut self, link: LinkId, principal: &Principal, purpose: DeviceLink) {
        let Some(device) = self.devices.get_mut(principal) else { return };
        if device.links.get(&purpose) != Some(&link) {
            return;
        }
        device.links.remove(&purpose);
        match purpose {
            DeviceLink::DeviceBound => self.release_device_bound(principal),
            DeviceLink::TwinAnswers => device.twin.is_subscribed = false,
            _ => {}
        }
        if !self.forget_device_without_links(principal) {
            self.change_interests(principal, Then::Nothing);
        }
    }

    /// With its last link a device is gone. Whether it was.
    pub(super) fn forget_device_without_links(&mut self, principal: &Principal) -> bool {
        let is_gone = self.devices.get(principal).is_some_and(|device| {
            let mut links = device.links.values();
            !links.any(|link| self.links.contains_key(link))
        });
        if is_gone {
            self.forget_device(principal, "closed", "its last link was closed");
        }
        is_gone
    }

    /// Ends all links of a device.
    pub(super) fn end_device(&mut self, principal: &Principal, error: &amqp::Error, name: &'static str, reason: &str) {
        let Some(device) = self.devices.get(principal) else { return };
        let links: Vec<LinkId> = device.links.values().copied().collect();
        self.forget_device(principal, name, reason);
        links.into_iter().for_each(|link| self.detach(link, error.clone()));
    }

    /// The device is not here any more: its messages in hand go back, and others hear that it is gone.
    pub(super) fn forget_device(&mut self, principal: &Principal, name: &'static str, reason: &str) {
        let Some(device) = self.devices.remove(principal) else { return };
        self.forget_unappended(&device.unappended);
        self.waiting -= device.twin.unanswered() + device.changing.unanswered();
        let (front, peer, connection_id) = (self.front.clone(), self.peer, device.connection_id);
        let is_taken_over = matches!(name, "replaced" | "deleted"); // a newer connection takes over by itself
        let has_in_hand = device.deliveries.as_ref().is_some_and(|deliveries| deliveries.is_in_use(&self.links));
        front.shard_client.detach(principal, connection_id);
        tracing::info!(%principal, %peer, reason = name, detail = reason, "disconnected");
        let incident = Incident { time: front.now(), peer, protocol: "AMQP", cause: name, reason: reason.to_owned() };
        front.history.disconnected(&principal.to_string(), incident);
        if has_in_hand && !is_taken_over {
            let principal = principal.clone();
            tokio::spawn(async move { device_bound::release(&front, &principal, connection_id).await });
        }
    }

    pub(super) fn end_session(&mut self, principal: &Principal, end: SessionEnd) {
        let (name, reason) = match end {
            SessionEnd::Replaced => ("replaced", "a newer connection of the same identity"),
            SessionEnd::Deleted => ("deleted", "the identity was deleted"),
        };
        self.end_device(principal, &error::session_end(end), name, reason);
    }

    /// Waits for what the shard has to say to the device, again and again.
    pub(super) fn watch_device(&mut self, principal: &Principal) {
        let Some(device) = self.devices.get_mut(principal) else { return };
        let (mailbox, connection_id) = (device.mailbox.clone(), device.connection_id);
        let (news, watch) = abortable(poll_fn(move |context| mailbox.poll_waiting(context)));
        device.watch = Some(watch);
        let principal = principal.clone();
        self.start(news, move |connection, news| {
            if news.is_ok() && connection.device(&principal, connection_id).is_some() {
                connection.on_news(&principal);
                connection.watch_device(&principal);
            }
        });
    }

    /// Takes everything out of the device's mailbox.
    fn on_news(&mut self, principal: &Principal) {
        while let Some(device) = self.devices.get_mut(principal)
            && let Some(event) = device.mailbox.take()
        {
            match event {
                SessionEvent::Replaced => self.end_session(principal, SessionEnd::Replaced),
                SessionEvent::Deleted => self.end_session(principal, SessionEnd::Deleted),
                SessionEvent::MissedUpdates => self.miss_updates(principal),
                SessionEvent::IdentityChanged(credentials) => {
                    if let Some(credentials) = credentials {
                        device.credentials = *credentials;
                    }
                    self.recheck_device(principal);
                }
            }
        }
        self.take_desired_updates(principal);
        self.take_method_calls(principal);
        if self.devices.get(principal).is_some_and(|device| device.mailbox.take_messages_waiting()) {
            self.hear_of_device_bound(principal);
        }
    }

    /// Desired updates were lost on the way: the device has to read its twin again.
    pub(super) fn miss_updates(&mut self, principal: &Principal) {
        let error = error::detach_forced("Desired updates were missed: read the twin again.");
        self.end_device(principal, &error, "missed_updates", "desired updates were missed");
    }

    /// Whether the credential that the device showed is still good.
    fn recheck_device(&mut self, principal: &Principal) {
        let settings = self.front.settings().unwrap_or_default();
        let Some(device) = self.devices.get(principal) else { return };
        if let Err(refusal) = recheck(&device.fingerprint, principal, Some(&device.credentials), &settings) {
            let name = match refusal {
                Refusal::Disabled => "disabled",
                Refusal::UnknownIdentity => "deleted",
                _ => "credential_removed",
            };
            self.end_device(principal, &error::refusal(&refusal), name, &refusal.to_string());
        }
    }

    /// The same for all whose credential depends on the settings.
    pub(super) fn recheck_devices(&mut self) {
        let devices = self.devices.values().filter(|device| device.fingerprint.depends_on_settings());
        let principals: Vec<Principal> = devices.map(|device| device.principal.clone()).collect();
        principals.iter().for_each(|principal| self.recheck_device(principal));
    }
}

/// What a link to a node is for; else the role that a client must have there.
fn purpose(node: DeviceNode, role: Role, principal: &Principal) -> Result<DeviceLink, Role> {
    match (node, role) {
        (DeviceNode::Events, Role::Sender) => Ok(DeviceLink::Telemetry),
        (DeviceNode::Events, Role::Receiver) if principal.module_id.is_some() => Ok(DeviceLink::Inputs),
        (DeviceNode::Events, Role::Receiver) => Err(Role::Sender),
        (DeviceNode::DeviceBound, Role::Receiver) => Ok(DeviceLink::DeviceBound),
        (DeviceNode::DeviceBound, Role::Sender) => Err(Role::Receiver),
        (DeviceNode::Methods, Role::Receiver) => Ok(DeviceLink::MethodCalls),
        (DeviceNode::Methods, Role::Sender) => Ok(DeviceLink::MethodAnswers),
        (DeviceNode::Twin, Role::Receiver) => Ok(DeviceLink::TwinAnswers),
        (DeviceNode::Twin, Role::Sender) => Ok(DeviceLink::TwinRequests),
    }
}
