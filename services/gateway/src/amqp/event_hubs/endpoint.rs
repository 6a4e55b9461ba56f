//! The built-in endpoint as the one event hub that there is: what its addresses lead to.

use amqp::{Attach, Role};
use model::{DEFAULT_CONSUMER_GROUP, EventPartition, HubSettings};

use super::{Address, Refusal};

/// The event hub that stands for the hub's events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its Event Hub-compatible name. Compares without case.
    pub name: String,
    /// The host that it is reached by.
    pub host: String,
    pub partitions: u32,
}

/// Where a link may lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// Requests go in, answers come out.
    Management,
    /// Events come out.
    Partition {
        /// In lower case.
        consumer_group: String,
        partition: EventPartition,
    },
}

impl Endpoint {
    /// What the peer attaches to. Whether it may is not looked at.
    pub fn node(&self, attach: &Attach, settings: &HubSettings) -> Result<Node, Refusal> {
        let text = attach.address().unwrap_or_default();
        let not_found = || Refusal::NotFound(text.to_owned());
        let is_ours = |name: &str| name.eq_ignore_ascii_case(&self.name);
        match Address::parse(text).ok_or_else(not_found)? {
            Address::Hub { rest } => {
                let (host, event_hub) = (self.host.clone(), self.name.clone());
                Err(Refusal::Redirect { host, event_hub, rest: rest.to_owned() })
            }
            Address::Management { event_hub } if event_hub.is_none_or(is_ours) => Ok(Node::Management),
            Address::Partition { event_hub, consumer_group, partition }
                if attach.role == Role::Receiver
                    && is_ours(event_hub)
                    && partition < self.partitions
                    && is_consumer_group(consumer_group, settings) =>
            {
                Ok(Node::Partition { consumer_group: consumer_group.to_ascii_lowercase(), partition })
            }
            Address::Ingress { event_hub } if attach.role == Role::Sender && is_ours(event_hub) => {
                Err(Refusal::SendNotAllowed)
            }
            _ => Err(not_found()),
        }
    }
}

pub(super) fn is_consumer_group(name: &str, settings: &HubSettings) -> bool {
    name.eq_ignore_ascii_case(DEFAULT_CONSUMER_GROUP) || settings.consumer_group(name).is_some()
}

#[cfg(test)]
mod tests {
    use amqp::{AttachTarget, Source, Target};
    use model::{ConsumerGroup, ETag, Timestamp};

    use super::*;

    fn node(role: Role, address: &str) -> Result<Node, String> {
        let endpoint = Endpoint { name: "Events".into(), host: "h".into(), partitions: 4 };
        let group = ConsumerGroup { name: "Own".into(), etag: ETag(1), created: Timestamp::from_unix_microseconds(0) };
        let settings = HubSettings { consumer_groups: vec![group], ..HubSettings::default() };
        let attach = match role {
            Role::Receiver => Attach { source: Some(Source::at(address)), ..Attach::new("l", role) },
            Role::Sender => {
                Attach { target: Some(AttachTarget::Target(Target::at(address))), ..Attach::new("l", role) }
            }
        };
        endpoint.node(&attach, &settings).map_err(|refusal| amqp::Error::from(refusal).condition.to_string())
    }

    #[test]
    fn what_is_there_and_what_is_not() {
        let partition = |group: &str, partition| Ok(Node::Partition { consumer_group: group.into(), partition });
        let refused = |condition: &str| Err(condition.to_owned());
        for (role, address, expected) in [
            (Role::Receiver, "events/ConsumerGroups/$Default/Partitions/3", partition("$default", 3)),
            (Role::Receiver, "EVENTS/ConsumerGroups/own/Partitions/0", partition("own", 0)),
            (Role::Receiver, "$management", Ok(Node::Management)),
            (Role::Sender, "events/$management", Ok(Node::Management)),
            (Role::Receiver, "events/ConsumerGroups/$Default/Partitions/4", refused("amqp:not-found")),
            (Role::Receiver, "events/ConsumerGroups/other/Partitions/0", refused("amqp:not-found")),
            (Role::Receiver, "other/ConsumerGroups/$Default/Partitions/0", refused("amqp:not-found")),
            (Role::Receiver, "other/$management", refused("amqp:not-found")),
            (Role::Receiver, "events", refused("amqp:not-found")),
            (Role::Receiver, "", refused("amqp:not-found")),
            (Role::Sender, "events/ConsumerGroups/$Default/Partitions/0", refused("amqp:not-found")),
            (Role::Sender, "events", refused("amqp:unauthorized-access")),
            (Role::Sender, "events/Partitions/0", refused("amqp:unauthorized-access")),
            (Role::Sender, "other", refused("amqp:not-found")),
            (Role::Receiver, "amqps://h/messages/events/$management", refused("amqp:link:redirect")),
        ] {
            assert_eq!(node(role, address), expected, "{role:?} {address}");
        }
    }
}
