//! What the address of a link is about (amqp §4).

use model::Principal;

use crate::percent;

/// The address of a link, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Where tokens are put.
    Cbs,
    /// Something of a device or module, in every reading of its ids; as it stands first.
    Device {
        principals: Vec<Principal>,
        node: DeviceNode,
    },
    /// Something for back ends.
    Service(ServiceNode),
    /// Of the Event Hubs-compatible endpoint, or the way to it.
    EventHubs,
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceNode {
    Events,
    DeviceBound,
    Methods,
    Twin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceNode {
    DeviceBound,
    Feedback,
    FileNotifications,
}

impl Address {
    /// Literals compare without case, ids with it; scheme, host and port in front are ignored.
    pub fn parse(text: &str) -> Self {
        let segments: Vec<&str> = path_of(text).split('/').collect();
        let lower: Vec<String> = segments.iter().map(|segment| segment.to_ascii_lowercase()).collect();
        let literals: Vec<&str> = lower.iter().map(String::as_str).collect();
        let id = |position: usize| segments.get(position).copied().unwrap_or_default();
        match literals.as_slice() {
            ["$cbs"] => Self::Cbs,
            ["devices", _, "modules", _, node @ ..] => Self::of_device(id(1), Some(id(3)), node),
            ["devices", _, node @ ..] => Self::of_device(id(1), None, node),
            ["messages", "devicebound"] => Self::Service(ServiceNode::DeviceBound),
            ["messages", "servicebound", "feedback"] => Self::Service(ServiceNode::Feedback),
            ["messages", "servicebound", "filenotifications" | "fileuploadnotifications"] => {
                Self::Service(ServiceNode::FileNotifications)
            }
            ["messages", "events", ..] | [_, "consumergroups", ..] | ["$management"] | [_, "$management"] => {
                Self::EventHubs
            }
            _ => Self::Unknown,
        }
    }

    fn of_device(device: &str, module: Option<&str>, node: &[&str]) -> Self {
        let node = match node {
            ["messages", "events"] => DeviceNode::Events,
            ["messages", "devicebound"] => DeviceNode::DeviceBound,
            ["methods", "devicebound"] => DeviceNode::Methods,
            ["twin"] => DeviceNode::Twin,
            _ => return Self::Unknown,
        };
        let principals = principals(device, module);
        if principals.is_empty() { Self::Unknown } else { Self::Device { principals, node } }
    }

    /// Whom a message of a back end is for: `/devices/{id}[/modules/{id}]/messages/devicebound`; empty when it is no
    /// such address.
    pub fn recipients(text: &str) -> Vec<Principal> {
        match Self::parse(text) {
            Self::Device { principals, node: DeviceNode::DeviceBound } => principals,
            _ => Vec::new(),
        }
    }
}

/// Without `amqps://host:port` and a leading slash.
pub(super) fn path_of(text: &str) -> &str {
    let path = match text.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => text,
    };
    path.strip_prefix('/').unwrap_or(path)
}

/// Some clients encode ids, some do not, and ids may hold what looks encoded (amqp §2).
pub(super) fn principals(device: &str, module: Option<&str>) -> Vec<Principal> {
    let read = |device: &str, module: Option<&str>| {
        let device_id = device.parse().ok()?;
        Some(match module {
            None => Principal::device(device_id),
            Some(module) => Principal::module(device_id, module.parse().ok()?),
        })
    };
    let decoded_module = module.map(percent::decode);
    let mut principals: Vec<_> = read(device, module).into_iter().collect();
    let decoded = read(&percent::decode(device), decoded_module.as_deref());
    principals.extend(decoded.filter(|decoded| principals.first() != Some(decoded)));
    principals
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(text: &str) -> Option<(Vec<String>, DeviceNode)> {
        match Address::parse(text) {
            Address::Device { principals, node } => Some((principals.iter().map(ToString::to_string).collect(), node)),
            _ => None,
        }
    }

    #[test]
    fn addresses_of_every_sdk() {
        use DeviceNode::{DeviceBound, Events, Methods, Twin};
        for (text, principal, node) in [
            ("/devices/d1/messages/events", "d1", Events),
            ("amqps://hub.example.test:5671/devices/d1/messages/deviceBound", "d1", DeviceBound),
            ("devices/d1/modules/m1/methods/devicebound", "d1/m1", Methods),
            ("/Devices/D1/Modules/M1/TWIN", "D1/M1", Twin),
        ] {
            assert_eq!(device(text), Some((vec![principal.to_owned()], node)), "{text}");
        }
        assert_eq!(device("/devices/a%40b/twin"), Some((vec!["a%40b".to_owned(), "a@b".to_owned()], Twin)));
        for (text, node) in [
            ("/messages/deviceBound", ServiceNode::DeviceBound),
            ("amqps://hub/messages/servicebound/feedback", ServiceNode::Feedback),
            ("/messages/serviceBound/filenotifications", ServiceNode::FileNotifications),
            ("/messages/servicebound/fileuploadnotifications", ServiceNode::FileNotifications),
        ] {
            assert_eq!(Address::parse(text), Address::Service(node), "{text}");
        }
        for text in [
            "hub/ConsumerGroups/$Default/Partitions/0",
            "sb://h//hub/ConsumerGroups/$Default/Partitions/0",
            "messages/events/",
            "sb://hub/x/$management",
        ] {
            assert_eq!(Address::parse(text), Address::EventHubs, "{text}");
        }
    }

    #[test]
    fn what_is_no_address() {
        for text in ["", "/", "/devices", "/devices/d1", "/devices/d1/streams/x", "/devices//twin", "/devices/a b/twin"]
        {
            assert_eq!(Address::parse(text), Address::Unknown, "{text}");
        }
        assert_eq!(Address::parse("$CBS"), Address::Cbs);
        assert!(Address::recipients("/devices/d1/twin").is_empty());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            let _ = Address::parse(&text);
        }

        /// As it stands, and with every byte of an id encoded.
        #[test]
        fn what_is_written_is_read(
            device in "[A-Za-z0-9:.+%_#*?!(),=@$'-]{1,40}",
            module in proptest::option::of("[A-Za-z0-9:.+%_#*?!(),=@$'-]{1,40}"),
            before in proptest::sample::select(vec!["", "/", "amqps://hub.example.test/", "amqps://h:5671/"]),
        ) {
            let principal = module.as_ref().map_or(device.clone(), |module| format!("{device}/{module}"));
            let path = |write: &dyn Fn(&str) -> String| {
                let module = module.as_deref().map(|module| format!("/modules/{}", write(module)));
                format!("{before}devices/{}{}/twin", write(&device), module.unwrap_or_default())
            };
            let encode = |id: &str| id.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let read = |text: &str| match Address::parse(text) {
                Address::Device { principals, node: DeviceNode::Twin } => {
                    principals.iter().map(ToString::to_string).collect()
                }
                _ => Vec::new(),
            };
            let (plain, encoded) = (read(&path(&|id| id.to_owned())), read(&path(&encode)));
            proptest::prop_assert_eq!(plain.first(), Some(&principal));
            proptest::prop_assert!(encoded.len() <= 2 && encoded.contains(&principal), "{:?}", encoded);
        }
    }
}
