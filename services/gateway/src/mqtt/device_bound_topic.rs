//! The topic of a message for a device (mqtt §5.1): every rule is one that some client's parser needs.

use std::fmt::Write;

use model::{Principal, SystemProperty};
use shard_client::ReceivedMessage;

use super::filter::device_bound_prefix;

/// `devices/{id}/messages/devicebound/{bag}`: system properties first, at least `%24.mid`, `%24.to` and `iothub-ack`.
pub(super) fn device_bound_topic(principal: &Principal, message: &ReceivedMessage) -> String {
    let prefix = device_bound_prefix(principal);
    let system = |property| message.record.system_property(property).filter(|value| !value.is_empty());
    let mut topic = format!("{prefix}/");
    let own_id;
    let message_id = match system(SystemProperty::MessageId) {
        Some(message_id) => message_id,
        // Some client refuses a message without; one of ours must be the same when the message comes again.
        None => {
            let nanoseconds = message.enqueued.unix_microseconds().cast_unsigned();
            own_id = uuid::Uuid::from_u64_pair(nanoseconds, message.sequence).to_string();
            &own_id
        }
    };
    put(&mut topic, "%24.mid", message_id);
    put(&mut topic, "%24.to", &format!("/{prefix}"));
    for (key, property) in [
        ("%24.cid", SystemProperty::CorrelationId),
        ("%24.uid", SystemProperty::UserId),
        ("%24.exp", SystemProperty::AbsoluteExpiryTime),
        ("%24.ct", SystemProperty::ContentType),
        ("%24.ce", SystemProperty::ContentEncoding),
    ] {
        if let Some(value) = system(property) {
            put(&mut topic, key, value);
        }
    }
    put(&mut topic, "iothub-ack", message.acknowledgement.as_str());
    for (name, value) in &message.record.application_properties {
        put(&mut topic, &encode(name), value);
    }
    topic
}

/// The name is encoded already.
fn put(topic: &mut String, name: &str, value: &str) {
    if !topic.ends_with('/') {
        topic.push('&');
    }
    topic.push_str(name);
    topic.push('=');
    topic.push_str(&encode(value));
}

/// All but unreserved characters.
fn encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            // Writing into a string cannot fail.
            _ => _ = write!(encoded, "%{byte:02X}"),
        }
        encoded
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "literal ids")]
mod tests {
    use model::{Record, Timestamp};
    use shard_client::Acknowledge;

    use super::*;

    fn message(record: Record<'static>) -> ReceivedMessage {
        ReceivedMessage {
            sequence: 7,
            enqueued: Timestamp::from_unix_milliseconds(1),
            expires: Timestamp::from_unix_milliseconds(2),
            acknowledgement: Acknowledge::Full,
            record,
            delivery_count: 0,
            was_delivered: false,
        }
    }

    #[test]
    fn every_property_has_its_place_and_encoding() {
        use SystemProperty::{AbsoluteExpiryTime, ContentEncoding, ContentType, CorrelationId, MessageId, UserId};
        let record = Record {
            system_properties: vec![
                (ContentType, "application/json".into()),
                (MessageId, "m 1".into()),
                (CorrelationId, "c".into()),
                (UserId, "u".into()),
                (AbsoluteExpiryTime, "2030-07-19T23:06:40.0000000Z".into()),
                (ContentEncoding, "utf-8".into()),
            ],
            application_properties: vec![("a/b".into(), "/+=&#% ü$".into()), ("empty".into(), "".into())],
            ..Record::default()
        };
        let principal = Principal::device("d:1".parse().unwrap());
        assert_eq!(
            device_bound_topic(&principal, &message(record)),
            "devices/d:1/messages/devicebound/%24.mid=m%201&%24.to=%2Fdevices%2Fd%3A1%2Fmessages%2Fdevicebound&%24.cid=c\
             &%24.uid=u&%24.exp=2030-07-19T23%3A06%3A40.0000000Z&%24.ct=application%2Fjson&%24.ce=utf-8&iothub-ack=full\
             &a%2Fb=%2F%2B%3D%26%23%25%20%C3%BC%24&empty="
        );
    }

    #[test]
    fn nothing_set_is_still_a_bag_that_clients_can_read() {
        let principal = Principal::module("d".parse().unwrap(), "m".parse().unwrap());
        assert_eq!(
            device_bound_topic(&principal, &message(Record::default())),
            "devices/d/modules/m/messages/devicebound/%24.mid=00000000-0000-03e8-0000-000000000007\
             &%24.to=%2Fdevices%2Fd%2Fmodules%2Fm%2Fmessages%2Fdevicebound&iothub-ack=full"
        );
    }
}
