//! What topics mean: where telemetry goes, and what a subscription is for (mqtt §3.1, §4.1).

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

/// Whether MQTT allows the filter: `#` only as the last level, wildcards alone on their level (MQTT-4.7.1).
pub fn is_valid_filter(filter: &str) -> bool {
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let wildcard = level.contains(['#', '+']);
        if wildcard && (level.len() > 1 || (level == "#" && levels.peek().is_some())) {
            return false;
        }
    }
    !filter.is_empty() && filter.len() <= FILTER_BYTES_MAX
}

/// No filter that clients send is longer: two ids of 128 characters and the words around them.
const FILTER_BYTES_MAX: usize = 512;

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
    fn filters() {
        for valid in ["#", "+", "a/#", "a/+/b", "$iothub/twin/res/#", "devices/+/messages/devicebound/#", "/"] {
            assert!(is_valid_filter(valid), "{valid}");
        }
        for invalid in ["", "a#", "#/a", "a/#/b", "a+/b", "a/b+"] {
            assert!(!is_valid_filter(invalid), "{invalid}");
        }
    }
}
