//! A record as a message of Kafka, for consumers that know nothing of IronHub.
//!
//! | Kafka | record |
//! |---|---|
//! | key | the id of the device, if the record is of one |
//! | value | the body |
//! | headers, UTF-8 | first system properties, then annotations, by the names that readers of the built-in endpoint see; then application properties by their own names |
//! | timestamp | enqueued time, given by the broker |
//!
//! An application property whose name is one of the hub's, or begins with `app.`, has `app.` before its name: a device
//! cannot pass for the hub, whichever of two headers a consumer looks at.

use std::borrow::Cow;

use bytes::Bytes;
use model::{Annotation, Record, SystemProperty, Timestamp};
use rdkafka::{
    Message, Timestamp as KafkaTimestamp,
    message::{BorrowedMessage, Header, Headers, OwnedHeaders},
};

use crate::{Stored, encode_record_with_body};

const ESCAPE: &str = "app.";

/// What a header stands for.
enum Name {
    System(SystemProperty),
    Annotation(Annotation),
}

fn reserved(name: &str) -> Option<Name> {
    let system = SystemProperty::ALL.iter().find(|property| property.name() == name);
    let annotation = || Annotation::ALL.iter().find(|annotation| annotation.name() == name);
    system.map(|property| Name::System(*property)).or_else(|| annotation().map(|found| Name::Annotation(*found)))
}

/// The headers of a record.
pub(super) fn headers(record: &Record<'_>) -> OwnedHeaders {
    let count = record.system_properties.len() + record.annotations.len() + record.application_properties.len();
    let mut headers = OwnedHeaders::new_with_capacity(count);
    for (property, value) in &record.system_properties {
        headers = headers.insert(header(property.name(), value));
    }
    for (annotation, value) in &record.annotations {
        headers = headers.insert(header(annotation.name(), value));
    }
    for (name, value) in &record.application_properties {
        let is_taken = reserved(name).is_some() || name.starts_with(ESCAPE);
        let name = if is_taken { Cow::Owned(format!("{ESCAPE}{name}")) } else { Cow::Borrowed(name.as_ref()) };
        headers = headers.insert(header(&name, value));
    }
    headers
}

fn header<'a>(name: &'a str, value: &'a str) -> Header<'a, &'a str> {
    // Kafka has no name without a letter, and the library ends names at a zero.
    Header { key: name, value: Some(value) }
}

/// The record that a message holds. Headers that are no text are left out: the hub writes none.
pub(super) fn stored(message: &BorrowedMessage<'_>) -> Stored {
    let mut record = Record::default();
    for header in message.headers().into_iter().flat_map(Headers::iter) {
        let Ok(value) = std::str::from_utf8(header.value.unwrap_or_default()) else { continue };
        match reserved(header.key) {
            Some(Name::System(property)) => record.system_properties.push((property, value.into())),
            Some(Name::Annotation(annotation)) => record.annotations.push((annotation, value.into())),
            None => {
                let name = header.key.strip_prefix(ESCAPE).unwrap_or(header.key);
                record.application_properties.push((name.into(), value.into()));
            }
        }
    }
    let body = message.payload().unwrap_or_default();
    let mut wire = Vec::with_capacity(body.len() + 512);
    encode_record_with_body(&record, body, &mut wire);
    Stored { offset: offset(message), time: time(message.timestamp()), record: Bytes::from(wire) }
}

/// Offsets of messages that exist are never negative.
pub(super) fn offset(message: &BorrowedMessage<'_>) -> u64 {
    message.offset().try_into().unwrap_or_default()
}

pub(super) fn time(timestamp: KafkaTimestamp) -> Timestamp {
    Timestamp::from_unix_milliseconds(timestamp.to_millis().unwrap_or_default())
}
