//! Messages (AMQP 1.0 §3.2): sections in any order, read as views on the payload, and written section by section.

mod batch;
mod sections;
mod writer;

pub use batch::{BATCH_FORMAT, MESSAGE_FORMAT, batched_messages, put_batch};
pub use sections::{Header, MessageId, Properties};
pub use writer::MessageWriter;

use crate::types::{Decoder, Field, List, Malformed, Map, Value, code_of};

/// A message, borrowed from the payload of a delivery. Any section may be missing, and they may come in any order
/// (amqp R27); only the body may have several of its kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message<'a> {
    pub header: Option<Header>,
    /// Symbols to anything.
    pub delivery_annotations: Option<Map<'a>>,
    /// Symbols to anything.
    pub message_annotations: Option<Map<'a>>,
    pub properties: Option<Properties<'a>>,
    /// Strings to anything simple.
    pub application_properties: Option<Map<'a>>,
    pub body: Body<'a>,
    /// Symbols to anything.
    pub footer: Option<Map<'a>>,
}

/// What a message is about.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Body<'a> {
    #[default]
    Absent,
    Data(Sections<'a, &'a [u8]>),
    Sequence(Sections<'a, List<'a>>),
    Value(Value<'a>),
}

impl<'a> Body<'a> {
    /// The bytes of the only data section; `None` if there are several, or the body is of another kind.
    pub fn data(&self) -> Option<&'a [u8]> {
        match self {
            Self::Data(sections) if sections.is_single => Some(sections.first),
            _ => None,
        }
    }
}

/// One or more sections of the body's kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sections<'a, T> {
    code: u8,
    first: T,
    is_single: bool,
    /// What follows the first one, other sections among it.
    rest: &'a [u8],
}

impl<'a> Sections<'a, &'a [u8]> {
    /// The bytes of each.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.all()
    }
}

impl<'a> Sections<'a, List<'a>> {
    /// The list of each.
    pub fn iter(&self) -> impl Iterator<Item = List<'a>> + use<'a> {
        self.all()
    }
}

impl<'a, T: Field<'a> + Copy> Sections<'a, T> {
    fn decode_first(code: u8, decoder: &mut Decoder<'a>) -> Result<Self, Malformed> {
        let first = T::decode(decoder, "body")?;
        Ok(Self { code, first, is_single: true, rest: decoder.rest() })
    }

    /// Reads one more. It is found again by walking over `rest`.
    fn decode_next(&mut self, decoder: &mut Decoder<'a>) -> Result<(), Malformed> {
        self.is_single = false;
        T::decode(decoder, "body").map(|_| ())
    }

    fn all(&self) -> impl Iterator<Item = T> + use<'a, T> {
        let (code, mut decoder) = (self.code, Decoder::new(self.rest));
        let more = std::iter::from_fn(move || {
            while decoder.expect_descriptor().ok()?.code() != Some(code.into()) {
                decoder.value().ok()?;
            }
            T::decode(&mut decoder, "body").ok()
        });
        std::iter::once(self.first).chain(more)
    }
}

impl<'a> Message<'a> {
    /// Reads the payload of a delivery to its last byte.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut message = Self::default();
        let mut decoder = Decoder::new(payload);
        while !decoder.rest().is_empty() {
            message.section(&mut decoder)?;
        }
        Ok(message)
    }

    fn section(&mut self, decoder: &mut Decoder<'a>) -> Result<(), Malformed> {
        let code = decoder.expect_descriptor()?.code();
        match code.and_then(|code| u8::try_from(code).ok()) {
            Some(Header::CODE) => once(&mut self.header, Header::CODE, Header::decode_fields(decoder)?),
            Some(Properties::CODE) => once(&mut self.properties, Properties::CODE, Properties::decode_fields(decoder)?),
            Some(code @ code_of::DELIVERY_ANNOTATIONS) => map(&mut self.delivery_annotations, code, decoder),
            Some(code @ code_of::MESSAGE_ANNOTATIONS) => map(&mut self.message_annotations, code, decoder),
            Some(code @ code_of::APPLICATION_PROPERTIES) => map(&mut self.application_properties, code, decoder),
            Some(code @ code_of::FOOTER) => map(&mut self.footer, code, decoder),
            Some(code @ (code_of::DATA | code_of::AMQP_SEQUENCE | code_of::AMQP_VALUE)) => self.body(code, decoder),
            _ => Err(Malformed::NotDescribedAs { expected: "a section of a message", found: code }),
        }
    }

    fn body(&mut self, code: u8, decoder: &mut Decoder<'a>) -> Result<(), Malformed> {
        match (&mut self.body, code) {
            (Body::Absent, code_of::DATA) => self.body = Body::Data(Sections::decode_first(code, decoder)?),
            (Body::Absent, code_of::AMQP_SEQUENCE) => {
                self.body = Body::Sequence(Sections::decode_first(code, decoder)?)
            }
            (Body::Absent, _) => self.body = Body::Value(decoder.value()?),
            (Body::Data(sections), code_of::DATA) => sections.decode_next(decoder)?,
            (Body::Sequence(sections), code_of::AMQP_SEQUENCE) => sections.decode_next(decoder)?,
            (Body::Value(_), code_of::AMQP_VALUE) => return Err(Malformed::SecondSection(code)),
            _ => return Err(Malformed::TwoBodies),
        }
        Ok(())
    }
}

fn once<T>(section: &mut Option<T>, code: u8, value: T) -> Result<(), Malformed> {
    match section.replace(value) {
        None => Ok(()),
        Some(_) => Err(Malformed::SecondSection(code)),
    }
}

fn map<'a>(section: &mut Option<Map<'a>>, code: u8, decoder: &mut Decoder<'a>) -> Result<(), Malformed> {
    once(section, code, Map::decode(decoder, "a map section")?)
}
