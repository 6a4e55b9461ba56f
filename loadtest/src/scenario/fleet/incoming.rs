//! What the hub publishes to a device, by topic (mqtt §5 to §8).

/// One message of the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// The answer to a request about the twin; the id is the device's own.
    TwinAnswer { status: u16, request_id: &'a str },
    /// A desired property was written.
    Desired { version: u64 },
    /// A back end invokes a method and waits.
    Method { request_id: &'a str },
    /// A cloud-to-device message.
    Message,
}

impl<'a> Incoming<'a> {
    /// `None`: a topic that no device asked for.
    pub fn parse(topic: &'a str) -> Option<Self> {
        if let Some(rest) = topic.strip_prefix("$iothub/twin/res/") {
            let (status, query) = rest.split_once("/?")?;
            return Some(Self::TwinAnswer { status: status.parse().ok()?, request_id: value(query, "$rid")? });
        }
        if let Some(query) = topic.strip_prefix("$iothub/twin/PATCH/properties/desired/?") {
            return Some(Self::Desired { version: value(query, "$version")?.parse().ok()? });
        }
        if let Some(rest) = topic.strip_prefix("$iothub/methods/POST/") {
            return Some(Self::Method { request_id: value(rest.split_once("/?")?.1, "$rid")? });
        }
        let is_message = topic.starts_with("devices/") && topic.contains("/messages/devicebound/");
        is_message.then_some(Self::Message)
    }
}

fn value<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_told_apart() {
        for (topic, expected) in [
            ("$iothub/twin/res/204/?$rid=r7&$version=3", Some(Incoming::TwinAnswer { status: 204, request_id: "r7" })),
            ("$iothub/twin/res/200/?$rid=g1", Some(Incoming::TwinAnswer { status: 200, request_id: "g1" })),
            ("$iothub/twin/PATCH/properties/desired/?$version=12", Some(Incoming::Desired { version: 12 })),
            ("$iothub/methods/POST/echo/?$rid=1f", Some(Incoming::Method { request_id: "1f" })),
            ("devices/d/messages/devicebound/%24.mid=1", Some(Incoming::Message)),
            ("devices/d/messages/events/", None),
            ("$iothub/twin/res/200", None),
        ] {
            assert_eq!(Incoming::parse(topic), expected, "{topic}");
        }
    }
}
