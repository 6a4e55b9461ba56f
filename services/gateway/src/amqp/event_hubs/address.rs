//! Addresses of links (amqp §8.2, §9).

use amqp::Error;
use model::EventPartition;

use crate::amqp::address::path_of;

/// Port of AMQP over TLS; clients have it compiled in.
const PORT: u16 = 5671;

/// What a link is about, as far as its text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address<'a> {
    /// `$management` or `{event hub}/$management`.
    Management { event_hub: Option<&'a str> },
    /// `{event hub}/ConsumerGroups/{group}/Partitions/{id}`.
    Partition { event_hub: &'a str, consumer_group: &'a str, partition: EventPartition },
    /// `{event hub}`, `{event hub}/Partitions/{id}` or `{event hub}/Publishers/{name}`: where events are sent to.
    Ingress { event_hub: &'a str },
    /// `messages/events` and what stands behind it, its slash included: the way over the hub's own host.
    Hub { rest: &'a str },
}

impl<'a> Address<'a> {
    /// Reads an address with or without scheme and host. Fixed parts compare without case.
    pub fn parse(text: &'a str) -> Option<Self> {
        let path = path_of(text);
        if let Some(rest) = strip_hub(path) {
            return Some(Self::Hub { rest });
        }
        let is = |text: &str, fixed: &str| text.eq_ignore_ascii_case(fixed);
        let segments: Vec<&str> = path.strip_suffix('/').unwrap_or(path).splitn(6, '/').collect();
        match *segments {
            [only] if is(only, "$management") => Some(Self::Management { event_hub: None }),
            [event_hub, last] if is(last, "$management") => Some(Self::Management { event_hub: Some(event_hub) }),
            [event_hub, groups, consumer_group, partitions, partition]
                if is(groups, "ConsumerGroups") && is(partitions, "Partitions") =>
            {
                Some(Self::Partition { event_hub, consumer_group, partition: partition_id(partition)? })
            }
            [event_hub, kind, _] if is(kind, "Partitions") || is(kind, "Publishers") => {
                Some(Self::Ingress { event_hub })
            }
            [event_hub] if !event_hub.is_empty() => Some(Self::Ingress { event_hub }),
            _ => None,
        }
    }
}

/// Decimal without signs and leading zeros: `0`, `1`, ….
pub(super) fn partition_id(text: &str) -> Option<EventPartition> {
    let partition = text.parse().ok()?;
    let is_canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    is_canonical.then_some(partition)
}

fn strip_hub(path: &str) -> Option<&str> {
    const HUB: &str = "messages/events";
    let (start, rest) = path.split_at_checked(HUB.len())?;
    (start.eq_ignore_ascii_case(HUB) && (rest.is_empty() || rest.starts_with('/'))).then_some(rest)
}

/// Sends who asked for `messages/events{rest}` on the hub's host to the event hub (amqp §9). Tools read its name out of
/// the address.
pub fn redirect(host: &str, event_hub: &str, rest: &str) -> Error {
    Error::redirect(host, PORT, &format!("amqps://{host}:{PORT}/{event_hub}{rest}"))
}

#[cfg(test)]
mod tests {
    use amqp::Value;

    use super::*;

    #[test]
    fn every_way_to_write_an_address() {
        let partition =
            |event_hub, consumer_group, partition| Address::Partition { event_hub, consumer_group, partition };
        for (text, expected) in [
            ("hub/ConsumerGroups/$Default/Partitions/0", partition("hub", "$Default", 0)),
            ("/hub/consumergroups/$default/partitions/31", partition("hub", "$default", 31)),
            ("amqps://h.example.test/hub/ConsumerGroups/$Default/Partitions/1", partition("hub", "$Default", 1)),
            ("amqps://h:5671/hub/ConsumerGroups/a.b-c_d/Partitions/1/", partition("hub", "a.b-c_d", 1)),
            ("sb://h/hub/ConsumerGroups/g/Partitions/2", partition("hub", "g", 2)),
            ("$management", Address::Management { event_hub: None }),
            ("$Management", Address::Management { event_hub: None }),
            ("hub/$management", Address::Management { event_hub: Some("hub") }),
            ("amqps://h/hub/$management", Address::Management { event_hub: Some("hub") }),
            ("hub", Address::Ingress { event_hub: "hub" }),
            ("amqps://h/hub", Address::Ingress { event_hub: "hub" }),
            ("hub/Partitions/0", Address::Ingress { event_hub: "hub" }),
            ("hub/Publishers/p", Address::Ingress { event_hub: "hub" }),
            ("messages/events", Address::Hub { rest: "" }),
            ("/Messages/Events/", Address::Hub { rest: "/" }),
            ("amqps://h/messages/events/$management", Address::Hub { rest: "/$management" }),
            (
                "messages/events/ConsumerGroups/$Default/Partitions/0",
                Address::Hub { rest: "/ConsumerGroups/$Default/Partitions/0" },
            ),
        ] {
            assert_eq!(Address::parse(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_address() {
        for text in [
            "",
            "/",
            "amqps://h",
            "amqps://h/",
            "hub/ConsumerGroups/$Default",
            "hub/ConsumerGroups/$Default/Partitions",
            "hub/ConsumerGroups/$Default/Partitions/",
            "hub/ConsumerGroups/$Default/Partitions/x",
            "hub/ConsumerGroups/$Default/Partitions/-1",
            "hub/ConsumerGroups/$Default/Partitions/+1",
            "hub/ConsumerGroups/$Default/Partitions/01",
            "hub/ConsumerGroups/$Default/Partitions/4294967296",
            "hub/ConsumerGroups/$Default/Partitions/0/x",
            "hub/Partitions/0/x",
            "hub/x",
        ] {
            assert_eq!(Address::parse(text), None, "{text}");
        }
    }

    /// The frame that was seen from the real service (amqp §9).
    #[test]
    fn a_redirect_names_host_port_and_address() {
        let error = redirect("hub.example.test", "events", "/$management");
        assert_eq!(&*error.condition, "amqp:link:redirect");
        let info = error.info.as_ref();
        for (key, value) in [
            ("hostname", Value::String("hub.example.test")),
            ("network-host", Value::String("hub.example.test")),
            ("port", Value::Int(5671)),
            ("address", Value::String("amqps://hub.example.test:5671/events/$management")),
        ] {
            assert_eq!(info.and_then(|info| info.get(key)), Some(value), "{key}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            let _ = Address::parse(&text);
        }

        #[test]
        fn what_is_written_is_read(hub in "[a-z][a-z0-9-]{0,20}", group in "[A-Za-z0-9_.$-]{1,50}", id: u32, host in "[a-z.]{1,9}") {
            let path = format!("{hub}/ConsumerGroups/{group}/Partitions/{id}");
            let expected = Address::Partition { event_hub: &hub, consumer_group: &group, partition: id };
            proptest::prop_assert_eq!(Address::parse(&path), Some(expected));
            let absolute = format!("amqps://{host}/{path}");
            proptest::prop_assert_eq!(Address::parse(&absolute), Some(expected));
        }
    }
}
