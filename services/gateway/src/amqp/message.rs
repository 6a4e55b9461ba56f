//! The sections of an AMQP message and the three layers of a record (amqp §5.2, §5.3; messaging §1.2).

use std::borrow::Cow;

use amqp::{Body, Map, Message, MessageId, Properties, Value};
use model::{Record, SystemProperty, Timestamp};
use uuid::Uuid;

/// Adds what the sender set in the section of properties. `to` means where the message goes, not what it is.
pub(super) fn read_properties<'a>(properties: &Properties<'a>, record: &mut Record<'a>) {
    use SystemProperty::{AbsoluteExpiryTime, ContentEncoding, ContentType, CorrelationId, UserId};
    let mut add = |property, value: Option<Cow<'a, str>>| {
        record.system_properties.extend(value.map(|value| (property, value)));
    };
    add(SystemProperty::MessageId, properties.message_id.map(|id| text(id.value())));
    add(CorrelationId, properties.correlation_id.map(|id| text(id.value())));
    add(UserId, properties.user_id.map(String::from_utf8_lossy));
    add(ContentType, properties.content_type.map(|name| name.0.into()));
    add(ContentEncoding, properties.content_encoding.map(|name| name.0.into()));
    let expiry = properties.absolute_expiry_time.filter(|time| *time > 0).map(|time| text(Value::Timestamp(time)));
    add(AbsoluteExpiryTime, expiry);
}

/// The application properties, as texts. A null has none.
pub(super) fn application_properties<'a>(
    message: &Message<'a>,
) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'a> {
    let pairs = message.application_properties.as_ref().map(Map::iter);
    pairs.into_iter().flatten().filter_map(|(name, value)| match value {
        Value::Null => None,
        value => Some((Cow::Borrowed(name.as_text()?), text(value))),
    })
}

/// The bytes of a body; `None` for values that are none.
pub(super) fn body<'a>(message: &Message<'a>) -> Option<Cow<'a, [u8]>> {
    match message.body {
        Body::Absent => Some(Cow::Borrowed(&[])),
        Body::Data(sections) => Some(match message.body.data() {
            Some(bytes) => Cow::Borrowed(bytes),
            None => Cow::Owned(sections.iter().flatten().copied().collect()),
        }),
        Body::Value(Value::Binary(bytes)) => Some(Cow::Borrowed(bytes)),
        Body::Value(Value::String(text)) => Some(Cow::Borrowed(text.as_bytes())),
        Body::Value(Value::Null) => Some(Cow::Borrowed(&[])),
        Body::Value(_) | Body::Sequence(_) => None,
    }
}

/// Any simple value in words: ids as everybody writes them, times in ISO 8601.
pub(super) fn text(value: Value<'_>) -> Cow<'_, str> {
    match value {
        Value::String(text) | Value::Symbol(text) => Cow::Borrowed(text),
        Value::Binary(bytes) => String::from_utf8_lossy(bytes),
        Value::Uuid(bytes) => Uuid::from_bytes(bytes).to_string().into(),
        Value::Timestamp(time) => Timestamp::from_unix_milliseconds(time).to_string().into(),
        Value::Boolean(truth) => truth.to_string().into(),
        Value::Float(number) => number.to_string().into(),
        Value::Double(number) => number.to_string().into(),
        Value::ULong(number) => number.to_string().into(),
        Value::Char(character) => character.to_string().into(),
        other => match other.as_i64() {
            Some(number) => number.to_string().into(),
            None => format!("{other:?}").into(),
        },
    }
}

/// Ids as they are written into a message.
pub(super) struct EncodedId(Vec<u8>);

impl EncodedId {
    pub fn string(text: &str) -> Self {
        Self::new(&Value::String(text))
    }

    pub fn uuid(bytes: [u8; 16]) -> Self {
        Self::new(&Value::Uuid(bytes))
    }

    fn new(value: &Value<'_>) -> Self {
        let mut encoded = Vec::new();
        amqp::put_value(value, &mut encoded);
        Self(encoded)
    }

    pub fn id(&self) -> Option<MessageId<'_>> {
        MessageId::decode(&self.0).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_words() {
        for (value, words) in [
            (Value::Uuid([0x11; 16]), "11111111-1111-1111-1111-111111111111"),
            (Value::ULong(u64::MAX), "18446744073709551615"),
            (Value::Int(-5), "-5"),
            (Value::Boolean(true), "true"),
            (Value::Double(1.5), "1.5"),
            (Value::Timestamp(0), "1970-01-01T00:00:00.0000000Z"),
            (Value::Binary(b"bytes"), "bytes"),
        ] {
            assert_eq!(text(value), words);
        }
    }
}
