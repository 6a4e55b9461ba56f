//! A record of the event log as the message that back ends read (amqp §8.6).

use std::fmt::Write;

use amqp::{Descriptor, MapWriter, MessageWriter, Value, put_described, put_list};
use eventlog::{Bounds, Stored, view_record};
use model::{Annotation, Record, SystemProperty, Timestamp};

/// Code of the section `properties` (AMQP 1.0 §3.2.4).
const PROPERTIES: Descriptor<'static> = Descriptor::Code(0x73);

/// What readers see of the hub's annotations, in the order of the service (messaging §1.2).
const ANNOTATIONS: [Annotation; 11] = [
    Annotation::ConnectionDeviceId,
    Annotation::ConnectionModuleId,
    Annotation::ConnectionAuthMethod,
    Annotation::ConnectionAuthGenerationId,
    Annotation::EnqueuedTime,
    Annotation::MessageSource,
    Annotation::InterfaceId,
    Annotation::DtDataschema,
    Annotation::DtSubject,
    Annotation::DiagnosticId,
    Annotation::CorrelationContext,
];

/// The newest event of a partition, told with each event to whom wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastEnqueued {
    pub bounds: Bounds,
    /// When the bounds were looked at.
    pub retrieved: Timestamp,
}

/// Writes events as messages. Keeps its buffer for texts between them.
#[derive(Debug, Default)]
pub struct EventEncoder {
    text: String,
}

/// A record of the event log that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record at offset {0} cannot be decoded")]
pub struct BadRecord(pub u64);

impl EventEncoder {
    /// Appends the event as an encoded message. After an error nothing was appended.
    pub fn encode(
        &mut self,
        stored: &Stored,
        last_enqueued: Option<&LastEnqueued>,
        out: &mut Vec<u8>,
    ) -> Result<(), BadRecord> {
        let record = view_record(&stored.record).map_err(|_| BadRecord(stored.offset))?;
        if let Some(last) = last_enqueued {
            MessageWriter::new(out).delivery_annotations(|map| self.put_last_enqueued(map, last));
        }
        MessageWriter::new(out).message_annotations(|map| self.put_annotations(map, stored, &record));
        put_properties(&record, self.to(&record), out);
        if !record.application_properties.is_empty() {
            MessageWriter::new(out).application_properties(|map| {
                for (name, value) in &record.application_properties {
                    map.string(name, &Value::String(value));
                }
            });
        }
        MessageWriter::new(out).data(&record.body);
        Ok(())
    }

    fn put_annotations(&mut self, map: &mut MapWriter<'_>, stored: &Stored, record: &Record<'_>) {
        let time = Value::Timestamp(stored.time.unix_milliseconds());
        for annotation in ANNOTATIONS {
            if annotation == Annotation::EnqueuedTime {
                map.symbol(annotation.name(), &time);
            } else if let Some(text) = record.annotation(annotation) {
                map.symbol(annotation.name(), &Value::String(text));
            }
        }
        map.symbol("x-opt-sequence-number", &Value::Long(stored.offset as i64));
        map.symbol("x-opt-offset", &Value::String(self.number(stored.offset as i64)));
        map.symbol("x-opt-enqueued-time", &time);
    }

    fn put_last_enqueued(&mut self, map: &mut MapWriter<'_>, last: &LastEnqueued) {
        let number = last_number(&last.bounds);
        map.symbol("last_enqueued_sequence_number", &Value::Long(number));
        map.symbol("last_enqueued_offset", &Value::String(self.number(number)));
        map.symbol("last_enqueued_time_utc", &Value::Timestamp(last_time(&last.bounds)));
        map.symbol("runtime_info_retrieval_time_utc", &Value::Timestamp(last.retrieved.unix_milliseconds()));
    }

    fn number(&mut self, number: i64) -> &str {
        self.text.clear();
        let _ = write!(self.text, "{number}");
        &self.text
    }

    /// Where the message was sent to: telemetry names its sender there.
    fn to<'a>(&'a mut self, record: &'a Record<'_>) -> Option<&'a str> {
        let device_id = record.annotation(Annotation::ConnectionDeviceId);
        let (Some(device_id), Some("Telemetry")) = (device_id, record.annotation(Annotation::MessageSource)) else {
            return record.system_property(SystemProperty::To);
        };
        self.text.clear();
        let _ = write!(self.text, "/devices/{device_id}");
        if let Some(module_id) = record.annotation(Annotation::ConnectionModuleId) {
            let _ = write!(self.text, "/modules/{module_id}");
        }
        self.text.push_str("/messages/events");
        Some(&self.text)
    }
}

/// The number of the newest event; -1 when none was ever enqueued.
pub(super) fn last_number(bounds: &Bounds) -> i64 {
    bounds.next as i64 - 1
}

/// Milliseconds since 1970; 0 when no event was ever enqueued.
pub(super) fn last_time(bounds: &Bounds) -> i64 {
    bounds.last_time.map_or(0, Timestamp::unix_milliseconds)
}

/// The section `properties`: all its fields, none left out (amqp R1).
fn put_properties(record: &Record<'_>, to: Option<&str>, out: &mut Vec<u8>) {
    use SystemProperty::{AbsoluteExpiryTime, ContentEncoding, ContentType, CorrelationId, MessageId, UserId};
    let text = |key| record.system_property(key).map_or(Value::Null, Value::String);
    let symbol = |key| record.system_property(key).map_or(Value::Null, Value::Symbol);
    let expiry = record.system_property(AbsoluteExpiryTime).and_then(Timestamp::parse);
    let fields = [
        text(MessageId),
        record.system_property(UserId).map_or(Value::Null, |id| Value::Binary(id.as_bytes())),
        to.map_or(Value::Null, Value::String),
        Value::Null, // subject
        Value::Null, // reply-to
        text(CorrelationId),
        symbol(ContentType),
        symbol(ContentEncoding),
        expiry.map_or(Value::Null, |time| Value::Timestamp(time.unix_milliseconds())),
        Value::Null, // creation-time
        Value::Null, // group-id
        Value::Null, // group-sequence
        Value::Null, // reply-to-group-id
    ];
    put_described(PROPERTIES, out, |out| put_list(out, |list| fields.iter().for_each(|field| list.item(field))));
}

#[cfg(test)]
mod tests {
    use amqp::{Malformed, Message};
    use bytes::Bytes;
    use eventlog::encode_record;
    use proptest::{prop_assert_eq, proptest};

    use super::*;

    const METHOD: &str = r#"{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#;

    fn stored(record: &Record<'_>) -> Stored {
        let mut wire = Vec::new();
        encode_record(record, &mut wire);
        Stored { offset: 4711, time: Timestamp::from_unix_microseconds(1_654_109_018_051_999), record: wire.into() }
    }

    fn encoded(record: &Record<'_>, last_enqueued: Option<&LastEnqueued>) -> Result<Vec<u8>, BadRecord> {
        let mut out = Vec::new();
        EventEncoder::default().encode(&stored(record), last_enqueued, &mut out)?;
        Ok(out)
    }

    /// The example of messaging §2.1, with what amqp §8.6 adds to it.
    fn telemetry() -> Record<'static> {
        Record {
            system_properties: vec![
                (SystemProperty::MessageId, "m1".into()),
                (SystemProperty::CorrelationId, "c1".into()),
                (SystemProperty::UserId, "u1".into()),
                (SystemProperty::ContentType, "application/json".into()),
                (SystemProperty::ContentEncoding, "utf-8".into()),
                (SystemProperty::AbsoluteExpiryTime, "2022-06-01T18:43:38.176Z".into()),
            ],
            annotations: vec![
                (Annotation::ConnectionDeviceId, "dev1".into()),
                (Annotation::ConnectionAuthGenerationId, "637048513528304448".into()),
                (Annotation::ConnectionAuthMethod, METHOD.into()),
                (Annotation::MessageSource, "Telemetry".into()),
                (Annotation::DtSubject, "thermostat1".into()),
            ],
            application_properties: vec![("temperatureAlert".into(), "true".into())],
            body: Bytes::from_static(b"{\"t\":22.1}"),
        }
    }

    #[test]
    fn the_example_of_the_specification() -> Result<(), Box<dyn std::error::Error>> {
        let bytes = encoded(&telemetry(), None)?;
        let message = Message::decode(&bytes)?;
        let annotations: Vec<_> = message.message_annotations.ok_or("no annotations")?.iter().collect();
        let time = Value::Timestamp(1_654_109_018_051);
        let expected = [
            ("iothub-connection-device-id", Value::String("dev1")),
            ("iothub-connection-auth-method", Value::String(METHOD)),
            ("iothub-connection-auth-generation-id", Value::String("637048513528304448")),
            ("iothub-enqueuedtime", time),
            ("iothub-message-source", Value::String("Telemetry")),
            ("dt-subject", Value::String("thermostat1")),
            ("x-opt-sequence-number", Value::Long(4711)),
            ("x-opt-offset", Value::String("4711")),
            ("x-opt-enqueued-time", time),
        ];
        assert_eq!(annotations, expected.map(|(name, value)| (Value::Symbol(name), value)));
        let properties = message.properties.ok_or("no properties")?;
        assert_eq!(properties.message_id.map(|id| id.value()), Some(Value::String("m1")));
        assert_eq!(properties.correlation_id.map(|id| id.value()), Some(Value::String("c1")));
        assert_eq!(properties.user_id, Some(&b"u1"[..]));
        assert_eq!(properties.to, Some("/devices/dev1/messages/events"));
        assert_eq!(properties.absolute_expiry_time, Some(1_654_109_018_176));
        let application = message.application_properties.ok_or("no application properties")?;
        let expected = (Value::String("temperatureAlert"), Value::String("true"));
        assert_eq!(application.iter().collect::<Vec<_>>(), [expected]);
        assert_eq!(message.body.data(), Some(&b"{\"t\":22.1}"[..]));
        assert_eq!((message.header, message.delivery_annotations, message.footer), (None, None, None));
        Ok(())
    }

    /// Clients look at the types of the fields, and Python at their number (amqp R1).
    #[test]
    fn the_section_of_properties_is_complete_and_content_types_are_symbols() -> Result<(), BadRecord> {
        let bytes = encoded(&telemetry(), None)?;
        let mut section = vec![0x00, 0x53, 0x73, 0xc0];
        let fields = [
            &b"\xa1\x02m1\xa0\x02u1\xa1\x1d/devices/dev1/messages/events\x40\x40\xa1\x02c1"[..],
            b"\xa3\x10application/json\xa3\x05utf-8\x83",
            &1_654_109_018_176_i64.to_be_bytes(),
            b"\x40\x40\x40\x40",
        ]
        .concat();
        section.extend([fields.len() as u8 + 1, 13]);
        section.extend(fields);
        assert!(bytes.windows(section.len()).any(|window| window == section), "{bytes:02x?}");
        Ok(())
    }

    #[test]
    fn modules_and_events_of_the_hub_itself() -> Result<(), Box<dyn std::error::Error>> {
        let mut module = telemetry();
        module.annotations.push((Annotation::ConnectionModuleId, "mod1".into()));
        let bytes = encoded(&module, None)?;
        let message = Message::decode(&bytes)?;
        assert_eq!(message.properties.and_then(|it| it.to), Some("/devices/dev1/modules/mod1/messages/events"));
        let annotations = message.message_annotations.ok_or("no annotations")?;
        assert_eq!(annotations.get("iothub-connection-module-id"), Some(Value::String("mod1")));
        let lifecycle = Record {
            system_properties: vec![(SystemProperty::UserId, "hub".into())],
            annotations: vec![
                (Annotation::ConnectionDeviceId, "dev1".into()),
                (Annotation::MessageSource, "deviceLifecycleEvents".into()),
            ],
            ..Record::default()
        };
        let bytes = encoded(&lifecycle, None)?;
        let message = Message::decode(&bytes)?;
        assert_eq!(message.properties.and_then(|it| it.to), None);
        assert_eq!(message.application_properties, None);
        assert_eq!(message.body.data(), Some(&b""[..]), "a body of no bytes is a body");
        Ok(())
    }

    #[test]
    fn what_the_hub_stamped_wins_over_what_a_device_says() -> Result<(), Box<dyn std::error::Error>> {
        let mut record = telemetry();
        record.annotations.push((Annotation::ConnectionDeviceId, "other".into()));
        let bytes = encoded(&record, None)?;
        let message = Message::decode(&bytes)?;
        let names: Vec<_> = message.message_annotations.iter().flat_map(amqp::Map::iter).collect();
        let of_device: Vec<_> =
            names.iter().filter(|(name, _)| *name == Value::Symbol("iothub-connection-device-id")).collect();
        assert_eq!(of_device, [&(Value::Symbol("iothub-connection-device-id"), Value::String("dev1"))]);
        Ok(())
    }

    #[test]
    fn the_newest_event_is_told_to_who_wants_to_know() -> Result<(), Box<dyn std::error::Error>> {
        let time = Timestamp::from_unix_milliseconds;
        for (next, last_time, number, offset, milliseconds) in [(5, Some(time(7)), 4, "4", 7), (0, None, -1, "-1", 0)] {
            let bounds = Bounds { earliest: 0, next, last_time };
            let bytes = encoded(&telemetry(), Some(&LastEnqueued { bounds, retrieved: time(9) }))?;
            let message = Message::decode(&bytes)?;
            let told: Vec<_> = message.delivery_annotations.ok_or("nothing is told")?.iter().collect();
            let expected = [
                ("last_enqueued_sequence_number", Value::Long(number)),
                ("last_enqueued_offset", Value::String(offset)),
                ("last_enqueued_time_utc", Value::Timestamp(milliseconds)),
                ("runtime_info_retrieval_time_utc", Value::Timestamp(9)),
            ];
            assert_eq!(told, expected.map(|(name, value)| (Value::Symbol(name), value)));
        }
        Ok(())
    }

    #[test]
    fn a_damaged_record_appends_nothing() {
        let bad = Stored { record: Bytes::from_static(b"\x0a\xff"), ..stored(&Record::default()) };
        let mut out = vec![1];
        assert_eq!(EventEncoder::default().encode(&bad, None, &mut out), Err(BadRecord(4711)));
        assert_eq!(out, [1]);
    }

    proptest! {
        /// Whatever a sender wrote comes back, and a reader can decode it.
        #[test]
        fn every_record_is_a_message(id in ".{0,300}", name in ".{0,300}", value in ".{0,300}", body: Vec<u8>) {
            let record = Record {
                system_properties: vec![
                    (SystemProperty::MessageId, id.as_str().into()),
                    (SystemProperty::ContentType, id.as_str().into()),
                ],
                annotations: vec![(Annotation::ConnectionDeviceId, value.as_str().into())],
                application_properties: vec![(name.as_str().into(), value.as_str().into())],
                body: body.clone().into(),
            };
            let bytes = encoded(&record, None).map_err(|error| proptest::test_runner::TestCaseError::fail(error.to_string()))?;
            let malformed = |error: Malformed| proptest::test_runner::TestCaseError::fail(error.to_string());
            let message = Message::decode(&bytes).map_err(malformed)?;
            let properties = message.properties.unwrap_or_default();
            prop_assert_eq!(properties.message_id.map(|id| id.value()), Some(Value::String(&id)));
            prop_assert_eq!(properties.content_type.map(|text| text.0), Some(id.as_str()));
            let application: Vec<_> = message.application_properties.iter().flat_map(amqp::Map::iter).collect();
            prop_assert_eq!(application, [(Value::String(&name), Value::String(&value))]);
            prop_assert_eq!(message.body.data(), Some(body.as_slice()));
        }
    }
}
