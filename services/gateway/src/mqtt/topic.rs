//! What the topics mean that devices publish to (mqtt §4.1, §6, §7.1).

use model::Principal;

/// The property bag of a telemetry topic of the principal's own; `None` for every other topic.
///
/// `devices/{device}[/modules/{module}]/messages/events[/{bag}[/]]`: everything behind `events/` is the bag, less one
/// slash at its end.
pub fn telemetry_bag<'t>(topic: &'t str, principal: &Principal) -> Option<&'t str> {
    let rest = after_identity(topic, principal)?.strip_prefix("messages/events")?;
    match rest.strip_prefix('/') {
        None => rest.is_empty().then_some(""),
        Some(bag) => Some(bag.strip_suffix('/').unwrap_or(bag)),
    }
}

/// The topic behind `devices/{device}/[modules/{module}/]` of the principal itself.
fn after_identity<'t>(topic: &'t str, principal: &Principal) -> Option<&'t str> {
    let rest = topic.strip_prefix("devices/")?.strip_prefix(principal.device_id.as_str())?.strip_prefix('/')?;
    match &principal.module_id {
        None => Some(rest),
        Some(module_id) => rest.strip_prefix("modules/")?.strip_prefix(module_id.as_str())?.strip_prefix('/'),
    }
}

/// A topic that begins with `$iothub/`: a request of the device, or its answer to one of the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HubTopic<'t> {
    /// `twin/GET/?$rid={id}`
    GetTwin { request_id: Option<&'t str> },
    /// `twin/PATCH/properties/reported/?$rid={id}[&$version={version}]`
    PatchReported { request_id: Option<&'t str>, expected_version: Option<u64> },
    /// `methods/res/{status}/?$rid={id}`
    MethodResponse { status: i32, request_id: &'t str },
}

/// Reads such a topic; `None` for those that the hub does not know. Request ids stay as they were sent.
pub fn hub_topic(topic: &str) -> Option<HubTopic<'_>> {
    let rest = topic.strip_prefix("$iothub/")?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let request_id = value("$rid").filter(|id| !id.is_empty());
    match path.strip_suffix('/').unwrap_or(path) {
        "twin/GET" => Some(HubTopic::GetTwin { request_id }),
        "twin/PATCH/properties/reported" => {
            let expected_version = value("$version").map(str::parse).transpose().ok()?;
            Some(HubTopic::PatchReported { request_id, expected_version })
        }
        path => {
            let status = path.strip_prefix("methods/res/")?.parse().ok()?;
            Some(HubTopic::MethodResponse { status, request_id: request_id? })
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "literal ids")]
mod tests {
    use super::*;

    fn device() -> Principal {
        Principal::device("d1".parse().unwrap())
    }

    fn module() -> Principal {
        Principal::module("d1".parse().unwrap(), "m1".parse().unwrap())
    }

    #[test]
    fn telemetry_topics_of_a_device() {
        for (topic, bag) in [
            ("devices/d1/messages/events", Some("")),
            ("devices/d1/messages/events/", Some("")),
            ("devices/d1/messages/events/a=b", Some("a=b")),
            ("devices/d1/messages/events/a=b/", Some("a=b")),
            ("devices/d1/messages/events//", Some("")),
            ("devices/d1/messages/events/$.ct=application/json", Some("$.ct=application/json")),
            ("devices/d1/messages/eventsx", None),
            ("devices/d2/messages/events/", None),
            ("devices/d10/messages/events/", None),
            ("devices/D1/messages/events/", None),
            ("devices/d1/modules/m1/messages/events/", None),
            ("devices/d1/messages/devicebound/", None),
            ("$iothub/twin/GET/?$rid=1", None),
            ("", None),
        ] {
            assert_eq!(telemetry_bag(topic, &device()), bag, "{topic}");
        }
    }

    #[test]
    fn telemetry_topics_of_a_module() {
        assert_eq!(telemetry_bag("devices/d1/modules/m1/messages/events//", &module()), Some(""));
        assert_eq!(telemetry_bag("devices/d1/modules/m1/messages/events/$.on=o/", &module()), Some("$.on=o"));
        assert_eq!(telemetry_bag("devices/d1/modules/m2/messages/events/", &module()), None);
        assert_eq!(telemetry_bag("devices/d1/messages/events/", &module()), None);
    }

    #[test]
    fn topics_of_the_hub() {
        use HubTopic::{GetTwin, MethodResponse, PatchReported};
        let patch = |request_id, expected_version| Some(PatchReported { request_id, expected_version });
        for (topic, expected) in [
            ("$iothub/twin/GET/?$rid=7", Some(GetTwin { request_id: Some("7") })),
            ("$iothub/twin/GET/?$rid=a%20b", Some(GetTwin { request_id: Some("a%20b") })),
            ("$iothub/twin/GET/", Some(GetTwin { request_id: None })),
            ("$iothub/twin/PATCH/properties/reported/?$rid=1", patch(Some("1"), None)),
            ("$iothub/twin/PATCH/properties/reported/?$rid=1&$version=3", patch(Some("1"), Some(3))),
            ("$iothub/twin/PATCH/properties/reported/?$version=3&$rid=1", patch(Some("1"), Some(3))),
            ("$iothub/twin/PATCH/properties/reported/?$rid=1&$version=x", None),
            ("$iothub/methods/res/200/?$rid=1f", Some(MethodResponse { status: 200, request_id: "1f" })),
            ("$iothub/methods/res/-1/?$rid=1f", Some(MethodResponse { status: -1, request_id: "1f" })),
            ("$iothub/methods/res/200/", None),
            ("$iothub/methods/res/ok/?$rid=1", None),
            ("$iothub/twin/PATCH/properties/desired/?$rid=1", None),
            ("$iothub/", None),
            ("devices/d1/messages/events/", None),
        ] {
            assert_eq!(hub_topic(topic), expected, "{topic}");
        }
    }
}
