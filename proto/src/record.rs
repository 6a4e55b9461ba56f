//! Records of the event log: written straight from borrowed parts, read back into owned ones.

use bytes::{BufMut, Bytes};
use model::{Annotation, Record, SystemProperty};
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint},
};

use crate::event::v1;

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
