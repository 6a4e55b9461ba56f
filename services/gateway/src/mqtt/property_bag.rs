//! The property bag at the end of a telemetry topic (mqtt §4.2, §4.3; messaging §1.2).

use std::{borrow::Cow, collections::HashSet};

use model::{Annotation, Record, SystemProperty};

use crate::percent;
use crate::telemetry::is_reserved;

/// Adds the bag's properties to the record, each in the layer it belongs to. Of equal names the last one counts. What
/// the hub stamps itself, a client cannot set.
pub fn decode_bag<'a>(bag: &'a str, record: &mut Record<'a>) {
    for pair in bag.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = percent::decode(name);
        let value = percent::decode(value);
        match name.strip_prefix("$.") {
            Some(key) => add_system(key, value, record),
            None if is_reserved(&name) => {}
            None => record.application_properties.push((name, value)),
        }
    }
    keep_last(&mut record.application_properties);
}

/// Removes all but the last of equal names. A bag has room for thousands: they are not compared each with each.
fn keep_last(properties: &mut Vec<(Cow<'_, str>, Cow<'_, str>)>) {
    if properties.len() > 1 {
        let mut seen = HashSet::with_capacity(properties.len());
        properties.reverse();
        properties.retain(|(name, _)| seen.insert(name.clone()));
        properties.reverse();
    }
}

fn add_system<'a>(key: &str, value: Cow<'a, str>, record: &mut Record<'a>) {
    match place_of(key) {
        Place::System(property) => add(&mut record.system_properties, property, value),
        Place::Annotation(annotation) => add(&mut record.annotations, annotation, value),
        Place::Application(name) => record.application_properties.push((Cow::Borrowed(name), value)),
        Place::Nowhere => {}
    }
}

enum Place {
    System(SystemProperty),
    Annotation(Annotation),
    Application(&'static str),
    /// The hub's own, or unknown.
    Nowhere,
}

fn place_of(key: &str) -> Place {
    match key {
        "mid" => Place::System(SystemProperty::MessageId),
        "cid" => Place::System(SystemProperty::CorrelationId),
        "uid" => Place::System(SystemProperty::UserId),
        "ct" => Place::System(SystemProperty::ContentType),
        "ce" => Place::System(SystemProperty::ContentEncoding),
        "exp" => Place::System(SystemProperty::AbsoluteExpiryTime),
        "sub" => Place::Annotation(Annotation::DtSubject),
        "ifid" => Place::Annotation(Annotation::InterfaceId),
        "tracestate" => Place::Annotation(Annotation::TraceState),
        "diagid" => Place::Annotation(Annotation::DiagnosticId),
        "diagctx" => Place::Annotation(Annotation::CorrelationContext),
        "ctime" => Place::Application("iothub-creation-time-utc"),
        "schema" => Place::Application("iothub-message-schema"),
        "on" => Place::Application("iothub-outputname"),
        _ => Place::Nowhere,
    }
}

fn add<K: PartialEq, V>(properties: &mut Vec<(K, V)>, key: K, value: V) {
    match properties.iter_mut().find(|(existing, _)| *existing == key) {
        Some(existing) => existing.1 = value,
        None => properties.push((key, value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bag: &str) -> Record<'_> {
        let mut record = Record::default();
        decode_bag(bag, &mut record);
        record
    }

    fn application<'a>(record: &'a Record<'_>) -> Vec<(&'a str, &'a str)> {
        record.application_properties.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect()
    }

    #[test]
    fn what_each_sdk_writes_is_read_alike() {
        let system = vec![
            (SystemProperty::MessageId, "m1".into()),
            (SystemProperty::CorrelationId, "c1".into()),
            (SystemProperty::ContentType, "application/json".into()),
            (SystemProperty::ContentEncoding, "utf-8".into()),
        ];
        for bag in [
            "%24.mid=m1&%24.cid=c1&%24.ct=application%2Fjson&%24.ce=utf-8&alert=a%20b",
            "%24.mid=m1&%24.cid=c1&%24.ct=application%2fjson&%24.ce=utf-8&alert=a%20b",
            "$.mid=m1&$.cid=c1&$.ct=application/json&$.ce=utf-8&alert=a%20b",
            "alert=a b&%24.mid=m1&%24.cid=c1&%24.ct=application/json&%24.ce=utf-8",
        ] {
            let record = decode(bag);
            assert_eq!(record.system_properties, system, "{bag}");
            assert_eq!(application(&record), [("alert", "a b")], "{bag}");
        }
    }

    #[test]
    fn odd_pairs() {
        for (bag, expected) in [
            ("", vec![]),
            ("&&a=1&", vec![("a", "1")]),
            ("a", vec![("a", "")]),
            ("a=", vec![("a", "")]),
            ("a=1=2", vec![("a", "1=2")]),
            ("a=1+2", vec![("a", "1+2")]),
            ("?a=1", vec![("?a", "1")]),
            ("a=1&a=2", vec![("a", "2")]),
            ("a=100%&b=%zz&c=%4", vec![("a", "100%"), ("b", "%zz"), ("c", "%4")]),
            ("a=%ff", vec![("a", "%ff")]),
            ("%C3%BC=%E2%98%83", vec![("ü", "☃")]),
            ("u=http://x/y", vec![("u", "http://x/y")]),
        ] {
            assert_eq!(application(&decode(bag)), expected, "{bag}");
        }
    }

    #[test]
    fn what_the_hub_stamps_cannot_be_set() {
        let bag = "$.cdid=other&$.cmid=other&$.to=x&iothub-connection-device-id=other&IoTHub-Message-Source=x&iothub-ack=full";
        let record = decode(bag);
        assert!(record.annotations.is_empty() && record.system_properties.is_empty());
        assert_eq!(application(&record), [("iothub-ack", "full")]);
    }

    #[test]
    fn layers() {
        let record = decode("$.sub=c&$.ifid=i&$.ctime=2026-01-01T00:00:00Z&$.schema=s&$.on=o&$.exp=e&$.uid=u");
        let annotations = [(Annotation::DtSubject, "c".into()), (Annotation::InterfaceId, "i".into())];
        assert_eq!(record.annotations, annotations);
        let names = ["iothub-creation-time-utc", "iothub-message-schema", "iothub-outputname"];
        assert_eq!(application(&record).iter().map(|(name, _)| *name).collect::<Vec<_>>(), names);
    }

    proptest::proptest! {
        #[test]
        fn no_bag_makes_it_panic(bag: String) {
            decode(&bag);
        }

        #[test]
        fn names_and_values_survive_encoding(name in "[^$]{1,20}", value in ".{0,40}") {
            let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
            let bag = format!("{}={}", encode(&name), encode(&value));
            proptest::prop_assume!(!is_reserved(&name));
            assert_eq!(application(&decode(&bag)), [(name.as_str(), value.as_str())]);
        }
    }
}
