//! Links that the peer asks for: to whom they lead, and whether it may (amqp §4).

use std::sync::Arc;

use amqp::{Attach, LinkId, Role, Value};
use auth::{Authenticated, Operation, Refusal};
use model::{Credentials, Principal};
use shard_client::Attachment;

use super::{
    address::{Address, DeviceNode, ServiceNode},
    authority::{Presentable, Refused, TokenKey},
    connection::Connection,
    device::Device,
    error,
    link::{Kind, Link},
};
use crate::{Front, announce};

/// Deliveries that a peer may have under way on `$cbs`, and on any other link (amqp R13).
const CBS_CREDIT: u32 = 100;
pub(super) const CREDIT: u32 = 1000;

/// A link of a device, on its way.
pub(super) struct Asked {
    pub link: LinkId,
    pub attach: Box<Attach>,
    pub node: DeviceNode,
}

/// A device or module that proved who it is.
pub(super) struct Admitted {
    pub principal: Principal,
    pub credentials: Credentials,
    pub authenticated: Authenticated,
    /// `None`: the certificate.
    pub authorized_by: Option<TokenKey>,
    pub attachment: Attachment,
    pub model_id: Option<String>,
}

impl Connection {
    pub(super) fn on_attach(&mut self, link: LinkId, attach: Box<Attach>) {
        self.links.insert(link, Link::asked());
        if self.goodbye.is_some() {
            return self.refuse(link, self.farewell().0);
        }
        let address = attach.address().unwrap_or_default();
        match Address::parse(address) {
            Address::Cbs => {
                let kind = if attach.role == Role::Sender { Kind::CbsRequests } else { Kind::CbsAnswers };
                self.accept(link, attach.answer(), CBS_CREDIT, kind);
            }
            Address::Device { principals, node } => self.attach_device(principals, Asked { link, attach, node }),
            Address::Service(node) => self.attach_service(link, &attach, node),
            Address::EventHubs => self.attach_event_hubs(link, &attach),
            Address::Unknown if self.is_ingress(address) => self.attach_event_hubs(link, &attach),
            Address::Unknown => {
                let error = error::unknown_address(&address.chars().take(300).collect::<String>());
                self.refuse(link, error);
            }
        }
    }

    fn attach_service(&mut self, link: LinkId, attach: &Attach, node: ServiceNode) {
        let authorized_by = match self.authorize(node) {
            Ok(key) => key,
            Err(refused) => {
                self.log_refusal(&refused, "");
                return self.refuse(link, error::refused(&refused));
            }
        };
        let (role, kind) = match node {
            ServiceNode::DeviceBound => (Role::Sender, Kind::Send(authorized_by)),
            ServiceNode::Feedback => (Role::Receiver, Kind::Feedback(authorized_by)),
            ServiceNode::FileNotifications => (Role::Receiver, Kind::FileNotifications(authorized_by)),
        };
        if attach.role == role {
            self.accept(link, attach.answer(), CREDIT, kind);
        } else {
            self.refuse(link, wrong_role(role));
        }
    }

    fn authorize(&self, node: ServiceNode) -> Result<TokenKey, Refused> {
        let (operation, path): (_, &[&str]) = match node {
            ServiceNode::DeviceBound => (Operation::SendDeviceBound, &["messages", "devicebound"]),
            ServiceNode::Feedback => (Operation::ReceiveFeedback, &["messages", "servicebound", "feedback"]),
            ServiceNode::FileNotifications => {
                (Operation::ReceiveFileNotifications, &["messages", "servicebound", "filenotifications"])
            }
        };
        self.authority.authorize(&self.front, operation, path)
    }

    /// Ends the links of back ends that no token allows any more.
    pub(super) fn recheck_service_links(&mut self) {
        self.recheck_event_hubs();
        let mut ended = Vec::new();
        for (id, link) in &self.links {
            let node = match link.kind {
                Kind::Send(_) => ServiceNode::DeviceBound,
                Kind::Feedback(_) => ServiceNode::Feedback,
                Kind::FileNotifications(_) => ServiceNode::FileNotifications,
                _ => continue,
            };
            if let Err(refused) = self.authorize(node) {
                ended.push((*id, error::refused(&refused)));
            }
        }
        ended.into_iter().for_each(|(id, error)| self.detach(id, error));
    }

    /// A device is authenticated when its first link comes (amqp §3.3); the others wait for that.
    fn attach_device(&mut self, principals: Vec<Principal>, asked: Asked) {
        if let Some(principal) = principals.iter().find(|principal| self.devices.contains_key(principal)).cloned() {
            return self.attach_device_link(&principal, asked);
        }
        let Some(first) = principals.first().cloned() else { return };
        // Who has shown nothing does not even learn whether there is such a device.
        if self.authority.is_empty() {
            return self.refuse_device(&first, vec![asked], &Refusal::NoCredential.into());
        }
        let model_id = model_id(&asked.attach);
        self.waiting += 1;
        let waiting = self.arriving.entry(first.clone()).or_default();
        waiting.push(asked);
        if waiting.len() > 1 {
            return;
        }
        let presentable = self.authority.presentable(&principals);
        let front = self.front.clone();
        let admitted = async move { admit(&front, &principals, &presentable, model_id).await };
        self.start(admitted, move |connection, outcome| connection.device_arrived(&first, outcome));
    }

    fn device_arrived(&mut self, first: &Principal, outcome: Result<Box<Admitted>, Refused>) {
        let waiting = self.arriving.remove(first).unwrap_or_default();
        self.waiting -= waiting.len();
        match outcome {
            Ok(admitted) => {
                let principal = admitted.principal.clone();
                self.proved();
                self.add_device(*admitted);
                waiting.into_iter().for_each(|asked| self.attach_device_link(&principal, asked));
                // All of them may have gone meanwhile.
                self.forget_device_without_links(&principal);
            }
            Err(refused) => self.refuse_device(first, waiting, &refused),
        }
    }

    fn refuse_device(&mut self, first: &Principal, waiting: Vec<Asked>, refused: &Refused) {
        self.log_refusal(refused, &first.to_string());
        waiting.into_iter().for_each(|asked| self.refuse(asked.link, error::refused(refused)));
    }

    fn add_device(&mut self, admitted: Admitted) {
        let principal = admitted.principal.clone();
        tracing::info!(%principal, peer = %self.peer, "connected");
        self.devices.insert(principal.clone(), Box::new(Device::new(&self.front, admitted)));
        self.watch_device(&principal);
    }
}

pub(super) fn wrong_role(wanted: Role) -> amqp::Error {
    error::not_allowed(match wanted {
        Role::Sender => "Clients send to this address.",
        Role::Receiver => "Clients receive from this address.",
    })
}

/// What a device says it is, on any of its links.
pub(super) fn model_id(attach: &Attach) -> Option<String> {
    match attach.properties.as_ref()?.get("com.microsoft:model-id")? {
        Value::String(model_id) if !model_id.is_empty() => Some(model_id.to_owned()),
        _ => None,
    }
}

/// Authenticates whichever of the principals there is, then announces the connection.
async fn admit(
    front: &Arc<Front>,
    principals: &[Principal],
    presentable: &Presentable,
    model_id: Option<String>,
) -> Result<Box<Admitted>, Refused> {
    for _ in 0..announce::TRIES_MAX {
        let mut found = (principals.first().ok_or(Refusal::UnknownIdentity)?, None);
        for principal in principals {
            let credentials = front.shard_client.get_credentials(principal).await?;
            let is_there = |credentials: &Credentials| principal.module_id.is_none() || credentials.module.is_some();
            if credentials.as_ref().is_some_and(is_there) {
                found = (principal, credentials);
                break;
            }
        }
        let (principal, credentials) = found;
        let (authenticated, authorized_by) = presentable.authenticate(front, principal, credentials.as_ref())?;
        let credentials = credentials.ok_or(Refusal::UnknownIdentity)?;
        // The stored session is one of MQTT.
        let announced = announce::announce(front, principal, &credentials, true, model_id.as_deref()).await?;
        let Some(attachment) = announced else { continue };
        let principal = principal.clone();
        return Ok(Box::new(Admitted { principal, credentials, authenticated, authorized_by, attachment, model_id }));
    }
    Err(Refused::Unstable)
}
