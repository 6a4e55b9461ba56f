//! Records of the event log: written straight from borrowed parts, read back into owned ones.

use bytes::{BufMut, Bytes};
use model::{Annotation, Record, SystemProperty};
use prost::{
    Message,
    encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint, encoded_len_varint},
};

use crate::{InvalidMessage, event::v1};

/// Appends the record's wire form (`ironhub.event.v1.Record`) to `buffer` without building the message first.
pub fn encode_record(record: &Record<'_>, buffer: &mut impl BufMut) {
    encode_record_with_body(record, &record.body, buffer);
}

/// The same with a body that is only borrowed; the record's own is not looked at. Wire forms of parts of a record may be
/// written one after the other: their lists add up.
pub fn encode_record_with_body(record: &Record<'_>, body: &[u8], buffer: &mut impl BufMut) {
    for (property, value) in &record.system_properties {
        put_numbered(1, *property as u8, value, buffer);
    }
    for (annotation, value) in &record.annotations {
        put_numbered(2, *annotation as u8, value, buffer);
    }
    for (name, value) in &record.application_properties {
        encode_key(3, WireType::LengthDelimited, buffer);
        encode_varint((text_len(name) + text_len(value)) as u64, buffer);
        put_text(1, name, buffer);
        put_text(2, value, buffer);
    }
    if !body.is_empty() {
        encode_key(4, WireType::LengthDelimited, buffer);
        encode_varint(body.len() as u64, buffer);
        buffer.put_slice(body);
    }
}

/// Reads a record; properties with numbers of a newer version are left out.
pub fn decode_record(bytes: Bytes) -> Result<Record<'static>, prost::DecodeError> {
    let record = v1::Record::decode(bytes)?;
    let system = record.system_properties.into_iter();
    let annotations = record.annotations.into_iter();
    let application = record.application_properties.into_iter();
    Ok(Record {
        system_properties: system
            .filter_map(|p| Some((SystemProperty::from_number(p.number)?, p.value.into())))
            .collect(),
        annotations: annotations.filter_map(|p| Some((Annotation::from_number(p.number)?, p.value.into()))).collect(),
        application_properties: application.map(|p| (p.name.into(), p.value.into())).collect(),
        body: record.body,
    })
}

/// The same as [`decode_record`] without copying: texts are borrowed, the body is shared. For who reads many.
pub fn view_record(bytes: &Bytes) -> Result<Record<'_>, InvalidMessage> {
    let mut record = Record::default();
    for field in RecordFields::new(bytes) {
        match field? {
            RecordField::SystemProperty(property, value) => record.system_properties.push((property, value.into())),
            RecordField::Annotation(annotation, value) => record.annotations.push((annotation, value.into())),
            RecordField::ApplicationProperty(name, value) => {
                record.application_properties.push((name.into(), value.into()));
            }
            RecordField::Body(body) => record.body = bytes.slice_ref(body),
        }
    }
    Ok(record)
}

/// One thing that a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordField<'a> {
    SystemProperty(SystemProperty, &'a str),
    Annotation(Annotation, &'a str),
    /// Name and value.
    ApplicationProperty(&'a str, &'a str),
    Body(&'a [u8]),
}

/// What a record says, in the order in which it was written, without an allocation. An error is the last item.
#[derive(Debug)]
pub struct RecordFields<'a>(Fields<'a>);

impl<'a> RecordFields<'a> {
    /// Of a record in its wire form.
    pub fn new(record: &'a [u8]) -> Self {
        Self(Fields { rest: record })
    }

    /// The next field that is known; those of a newer version are left out.
    fn known(&mut self) -> Result<Option<RecordField<'a>>, InvalidMessage> {
        while let Some((number, content)) = self.0.next()? {
            let field = match (number, content) {
                (1, Content::Bytes(property)) => {
                    let (number, value) = numbered(property)?;
                    SystemProperty::from_number(number).map(|key| RecordField::SystemProperty(key, value))
                }
                (2, Content::Bytes(property)) => {
                    let (number, value) = numbered(property)?;
                    Annotation::from_number(number).map(|key| RecordField::Annotation(key, value))
                }
                (3, Content::Bytes(property)) => {
                    let (name, value) = named(property)?;
                    Some(RecordField::ApplicationProperty(name, value))
                }
                (4, Content::Bytes(body)) => Some(RecordField::Body(body)),
                (1..=4, _) => return Err(DAMAGED),
                _ => None,
            };
            if field.is_some() {
                return Ok(field);
            }
        }
        Ok(None)
    }
}

impl<'a> Iterator for RecordFields<'a> {
    type Item = Result<RecordField<'a>, InvalidMessage>;

    fn next(&mut self) -> Option<Self::Item> {
        let field = self.known();
        if field.is_err() {
            self.0.rest = &[];
        }
        field.transpose()
    }
}

const DAMAGED: InvalidMessage = InvalidMessage("record");

fn numbered(bytes: &[u8]) -> Result<(u32, &str), InvalidMessage> {
    let (mut number, mut value) = (0, "");
    let mut fields = Fields { rest: bytes };
    while let Some(field) = fields.next()? {
        match field {
            (1, Content::Number(found)) => number = found as u32,
            (2, Content::Bytes(found)) => value = text(found)?,
            (1 | 2, _) => return Err(DAMAGED),
            _ => {}
        }
    }
    Ok((number, value))
}

fn named(bytes: &[u8]) -> Result<(&str, &str), InvalidMessage> {
    let (mut name, mut value) = ("", "");
    let mut fields = Fields { rest: bytes };
    while let Some(field) = fields.next()? {
        match field {
            (1, Content::Bytes(found)) => name = text(found)?,
            (2, Content::Bytes(found)) => value = text(found)?,
            (1 | 2, _) => return Err(DAMAGED),
            _ => {}
        }
    }
    Ok((name, value))
}

fn text(bytes: &[u8]) -> Result<&str, InvalidMessage> {
    std::str::from_utf8(bytes).map_err(|_| DAMAGED)
}

/// The fields of a message that are left to read.
#[derive(Debug)]
struct Fields<'a> {
    rest: &'a [u8],
}

enum Content<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of a type that records do not use.
    Other,
}

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<Option<(u32, Content<'a>)>, InvalidMessage> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (number, wire_type) = decode_key(&mut self.rest).map_err(|_| DAMAGED)?;
        let content = match wire_type {
            WireType::Varint => Content::Number(self.varint()?),
            WireType::LengthDelimited => {
                let length = self.varint()?;
                Content::Bytes(self.take(length)?)
            }
            WireType::SixtyFourBit => self.take(8).map(|_| Content::Other)?,
            WireType::ThirtyTwoBit => self.take(4).map(|_| Content::Other)?,
            WireType::StartGroup | WireType::EndGroup => return Err(DAMAGED),
        };
        Ok(Some((number, content)))
    }

    fn varint(&mut self) -> Result<u64, InvalidMessage> {
        decode_varint(&mut self.rest).map_err(|_| DAMAGED)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], InvalidMessage> {
        let length = usize::try_from(length).map_err(|_| DAMAGED)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(DAMAGED)?;
        self.rest = rest;
        Ok(taken)
    }
}

/// Numbers are below 128, so key and number take two bytes.
fn put_numbered(field: u32, number: u8, value: &str, buffer: &mut impl BufMut) {
    encode_key(field, WireType::LengthDelimited, buffer);
    encode_varint((2 + text_len(value)) as u64, buffer);
    encode_key(1, WireType::Varint, buffer);
    encode_varint(u64::from(number), buffer);
    put_text(2, value, buffer);
}

fn put_text(field: u32, text: &str, buffer: &mut impl BufMut) {
    encode_key(field, WireType::LengthDelimited, buffer);
    encode_varint(text.len() as u64, buffer);
    buffer.put_slice(text.as_bytes());
}

fn text_len(text: &str) -> usize {
    1 + encoded_len_varint(text.len() as u64) + text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cut anywhere, or with any one byte changed, both readers say the same.
    #[test]
    fn the_view_is_what_is_decoded() -> Result<(), Box<dyn std::error::Error>> {
        let record = Record {
            system_properties: vec![(SystemProperty::MessageId, "m1".into()), (SystemProperty::ContentType, "".into())],
            annotations: vec![(Annotation::ConnectionDeviceId, "d1".into())],
            application_properties: vec![("ä".into(), "x".repeat(300).into()), ("".into(), "".into())],
            body: Bytes::from_static(b"\x00\x01"),
        };
        let mut wire = Vec::new();
        encode_record(&record, &mut wire);
        assert_eq!(view_record(&wire.clone().into())?, record);
        for end in 0..wire.len() {
            let cut: Bytes = wire.get(..end).unwrap_or_default().to_vec().into();
            assert_eq!(view_record(&cut).ok(), decode_record(cut.clone()).ok(), "{end}");
        }
        for (at, byte) in (0..wire.len()).flat_map(|at| [0, 1, 0x0f, 0x7f, 0x80, 0xff].map(|byte| (at, byte))) {
            let mut changed = wire.clone();
            changed.splice(at..=at, [byte]);
            let changed = Bytes::from(changed);
            let (seen, decoded) = (view_record(&changed), decode_record(changed.clone()));
            // Groups and keys without a number, which nobody writes, are only refused.
            if let Ok(seen) = seen {
                assert_eq!(Some(seen), decoded.ok(), "{at} {byte}");
            }
        }
        Ok(())
    }

    #[test]
    fn what_is_written_by_hand_is_what_the_schema_says() -> Result<(), prost::DecodeError> {
        let record = Record {
            system_properties: vec![(SystemProperty::MessageId, "m1".into()), (SystemProperty::ContentType, "".into())],
            annotations: vec![(Annotation::ConnectionDeviceId, "d1".into())],
            application_properties: vec![("ä".into(), "x".repeat(300).into()), ("".into(), "".into())],
            body: Bytes::from_static(b"\x00\x01"),
        };
        let mut buffer = Vec::new();
        encode_record(&record, &mut buffer);
        assert_eq!(decode_record(buffer.into())?, record);
        Ok(())
    }
}
