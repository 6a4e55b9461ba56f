//! What topic filters let through (mqtt §3.1).

use model::{Interests, Principal, Subscription};

/// No filter that clients send is longer: two ids of 128 characters and the words around them.
const FILTER_BYTES_MAX: usize = 512;

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

/// What a subscription makes the hub send to the principal.
pub fn interests(filter: &str, principal: &Principal) -> Interests {
    Interests {
        methods: reaches_below(filter, "$iothub/methods/POST"),
        desired_properties: reaches_below(filter, "$iothub/twin/PATCH/properties/desired"),
        device_bound_messages: reaches_below(filter, &device_bound_prefix(principal)),
    }
}

/// The topic of messages for the principal, up to the property bag.
pub fn device_bound_prefix(principal: &Principal) -> String {
    let Principal { device_id, module_id } = principal;
    match module_id {
        None => format!("devices/{device_id}/messages/devicebound"),
        Some(module_id) => format!("devices/{device_id}/modules/{module_id}/messages/devicebound"),
    }
}

/// Whether one of the subscriptions lets the topic through.
pub fn is_subscribed(subscriptions: &[Subscription], topic: &str) -> bool {
    subscriptions.iter().any(|subscription| matches(&subscription.filter, topic))
}

/// Whether the filter lets the topic through (MQTT-4.7).
pub fn matches(filter: &str, topic: &str) -> bool {
    if hides_from_wildcards(filter, topic) {
        return false;
    }
    let (mut filter, mut topic) = (filter.split('/'), topic.split('/'));
    loop {
        match (filter.next(), topic.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(wanted), Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
}

/// Whether the filter lets some topic below the prefix through.
fn reaches_below(filter: &str, prefix: &str) -> bool {
    if hides_from_wildcards(filter, prefix) {
        return false;
    }
    let (mut filter, mut prefix) = (filter.split('/'), prefix.split('/'));
    loop {
        match (filter.next(), prefix.next()) {
            (Some("#"), _) => return true,
            (deeper, None) => return deeper.is_some(),
            (Some("+"), Some(_)) => {}
            (Some(wanted), Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
}

/// Topics that begin with `$` are not for filters that begin with a wildcard (MQTT-4.7.2).
fn hides_from_wildcards(filter: &str, topic: &str) -> bool {
    topic.starts_with('$') && filter.starts_with(['#', '+'])
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "literal ids")]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        for valid in ["#", "+", "a/#", "a/+/b", "$iothub/twin/res/#", "devices/+/messages/devicebound/#", "/"] {
            assert!(is_valid_filter(valid), "{valid}");
        }
        for invalid in ["", "a#", "#/a", "a/#/b", "a+/b", "a/b+"] {
            assert!(!is_valid_filter(invalid), "{invalid}");
        }
    }

    #[test]
    fn matching() {
        for (filter, topic, is_match) in [
            ("#", "a/b", true),
            ("#", "$iothub/twin/res/200/?$rid=1", false),
            ("+/twin/#", "$iothub/twin/res", false),
            ("$iothub/#", "$iothub/twin/res/200/?$rid=1", true),
            ("$iothub/twin/res/#", "$iothub/twin/res/200/?$rid=1", true),
            ("$iothub/twin/res/#", "$iothub/twin/res", true),
            ("a/+", "a", false),
            ("a/+", "a/", true),
            ("a/b", "a/b/c", false),
        ] {
            assert_eq!(matches(filter, topic), is_match, "{filter} {topic}");
        }
    }

    /// Filter, and whether it is for methods, desired properties and messages of the device, and messages of the module.
    #[test]
    fn the_table_of_filters() {
        let device = Principal::device("d1".parse().unwrap());
        let module = Principal::module("d1".parse().unwrap(), "m1".parse().unwrap());
        for (filter, wanted) in [
            ("devices/d1/messages/devicebound/#", "--x-"),
            ("devices/+/messages/devicebound/#", "--x-"),
            ("devices/d1/messages/#", "--x-"),
            ("devices/d1/#", "--xx"),
            ("#", "--xx"),
            ("devices/#", "--xx"),
            ("devices/d2/messages/devicebound/#", "----"),
            ("devices/d1/modules/m1/#", "---x"),
            ("devices/d1/modules/m1/inputs/#", "----"),
            ("devices/d1/modules/m1/messages/devicebound/#", "---x"),
            ("$iothub/methods/POST/#", "x---"),
            ("$iothub/methods/POST/reboot/#", "x---"),
            ("$iothub/twin/res/#", "----"),
            ("$iothub/twin/PATCH/properties/desired/#", "-x--"),
            ("$iothub/twin/#", "-x--"),
            ("$iothub/#", "xx--"),
            ("$iothub/methods/#", "x---"),
            ("$iothub/methods/POST", "----"),
        ] {
            let (of_device, of_module) = (interests(filter, &device), interests(filter, &module));
            let found = [
                of_device.methods,
                of_device.desired_properties,
                of_device.device_bound_messages,
                of_module.device_bound_messages,
            ];
            assert_eq!(found.map(|wants| if wants { 'x' } else { '-' }).iter().collect::<String>(), wanted, "{filter}");
        }
    }
}
