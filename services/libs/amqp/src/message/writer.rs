//! Writing a message.

use super::{Header, Message, Properties};
use crate::{
    message::Body,
    types::{Descriptor, Field, MapWriter, Value, code_of, put_described, put_map, put_value},
};

/// Appends the sections of a message to a buffer. It writes what it is told in the order it is told; the standard wants
/// header, delivery annotations, message annotations, properties, application properties, body, footer.
pub struct MessageWriter<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> MessageWriter<'a> {
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    pub fn header(self, header: &Header) -> Self {
        header.encode(self.out);
        self
    }

    pub fn delivery_annotations(self, write: impl FnOnce(&mut MapWriter<'_>)) -> Self {
        self.section(code_of::DELIVERY_ANNOTATIONS, |out| put_map(out, write))
    }

    pub fn message_annotations(self, write: impl FnOnce(&mut MapWriter<'_>)) -> Self {
        self.section(code_of::MESSAGE_ANNOTATIONS, |out| put_map(out, write))
    }

    pub fn properties(self, properties: &Properties<'_>) -> Self {
        properties.encode(self.out);
        self
    }

    pub fn application_properties(self, write: impl FnOnce(&mut MapWriter<'_>)) -> Self {
        self.section(code_of::APPLICATION_PROPERTIES, |out| put_map(out, write))
    }

    /// A body of bytes, or one more section of it.
    pub fn data(self, bytes: &[u8]) -> Self {
        self.value_section(code_of::DATA, &Value::Binary(bytes))
    }

    /// A body that is a value.
    pub fn value(self, value: &Value<'_>) -> Self {
        self.value_section(code_of::AMQP_VALUE, value)
    }

    /// A body that is a value, written in place: exactly one.
    pub fn value_with(self, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        self.section(code_of::AMQP_VALUE, write)
    }

    /// Sections that are encoded already.
    pub fn encoded(self, sections: &[u8]) -> Self {
        self.out.extend_from_slice(sections);
        self
    }

    /// Every section of a message.
    pub fn message(mut self, message: &Message<'_>) -> Self {
        if let Some(header) = &message.header {
            self = self.header(header);
        }
        for (code, map) in [
            (code_of::DELIVERY_ANNOTATIONS, message.delivery_annotations),
            (code_of::MESSAGE_ANNOTATIONS, message.message_annotations),
        ] {
            self = self.map_section(code, map);
        }
        if let Some(properties) = &message.properties {
            self = self.properties(properties);
        }
        self.map_section(code_of::APPLICATION_PROPERTIES, message.application_properties)
            .body(&message.body)
            .map_section(code_of::FOOTER, message.footer)
    }

    fn body(self, body: &Body<'_>) -> Self {
        match body {
            Body::Absent => self,
            Body::Data(sections) => sections.iter().fold(self, Self::data),
            Body::Sequence(sections) => sections
                .iter()
                .fold(self, |writer, list| writer.value_section(code_of::AMQP_SEQUENCE, &Value::List(list))),
            Body::Value(value) => self.value(value),
        }
    }

    fn map_section(self, code: u8, map: Option<crate::types::Map<'_>>) -> Self {
        match map {
            Some(map) => self.value_section(code, &Value::Map(map)),
            None => self,
        }
    }

    fn value_section(self, code: u8, value: &Value<'_>) -> Self {
        self.section(code, |out| put_value(value, out))
    }

    fn section(self, code: u8, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        put_described(Descriptor::Code(code.into()), self.out, write);
        self
    }
}
