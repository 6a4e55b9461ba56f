//! A record as a message of Kafka, for consumers that know nothing of IronHub.
//!
//! | Kafka | record |
//! |---|---|
//! | key | the id of the device, if the record is of one |
//! | value | the body |
//! | headers, UTF-8 | system properties and annotations by the names that readers of the built-in endpoint see; application properties by their own names |
//! | timestamp | enqueued time, given by the broker |
//!
//! An application property whose name is one of the hub's, or begins with `app.`, has `app.` before its name: a device
//! cannot pass for the hub, whichever of two headers a consumer looks at.

use bytes::Bytes;
use model::{Annotation, Record, SystemProperty, Timestamp};
use proto::{InvalidMessage, RecordField, RecordFields};
use rdkafka::{
    Message, Timestamp as KafkaTimestamp,
    message::{BorrowedMessage, Headers},
};

use super::native;
use crate::{Stored, encode_record_with_body};

const ESCAPE: &str = "app.";
/// Of an ordinary message; the hub itself adds four.
const HEADERS: usize = 8;

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

/// The message of a record in its wire form, to send with that id.
pub(super) fn of_record(
    record: &[u8],
    topic: usize,
    partition: i32,
    unix_milliseconds: i64,
    id: usize,
) -> Result<native::Message<'_>, InvalidMessage> {
    let (mut key, mut body) = (None, &[][..]);
    let mut headers = native::Headers::new(HEADERS);
    for field in RecordFields::new(record) {
        match field? {
            RecordField::SystemProperty(property, value) => headers.add(property.name(), value),
            RecordField::Annotation(annotation, value) => {
                if annotation == Annotation::ConnectionDeviceId {
                    key = Some(value.as_bytes());
                }
                headers.add(annotation.name(), value);
            }
            RecordField::ApplicationProperty(name, value) if is_taken(name) => {
                headers.add(&format!("{ESCAPE}{name}"), value);
            }
            RecordField::ApplicationProperty(name, value) => headers.add(name, value),
            RecordField::Body(found) => body = found,
        }
    }
    Ok(native::Message { topic, partition, key, body, headers, unix_milliseconds, id })
}

/// Whether an application property may not be a header under its own name.
fn is_taken(name: &str) -> bool {
    name.starts_with(ESCAPE) || reserved(name).is_some()
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
