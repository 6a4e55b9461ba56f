//! Values that outlive the bytes they came in. None of them holds on to a read buffer.

use std::{borrow::Cow, fmt, ops::Deref};

use super::{Decoder, Field, Malformed, Map, MapWriter, RawValue, Value, put_map, put_symbol, put_symbols};

/// A name of the protocol: ASCII. Names that the program knows are not allocated.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol(Cow<'static, str>);

impl Symbol {
    /// A name that the program knows; it must be ASCII.
    pub const fn new(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }
}

impl Deref for Symbol {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Symbol {
    fn as_ref(&self) -> &str {
        self
    }
}

impl From<&'static str> for Symbol {
    fn from(name: &'static str) -> Self {
        Self::new(name)
    }
}

impl PartialEq<str> for Symbol {
    fn eq(&self, other: &str) -> bool {
        &**self == other
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl Field<'_> for Symbol {
    fn decode(decoder: &mut Decoder<'_>, name: &'static str) -> Result<Self, Malformed> {
        let text = <&str>::decode(decoder, name)?;
        if text.is_ascii() { Ok(Self(Cow::Owned(text.to_owned()))) } else { Err(Malformed::NotAscii) }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_symbol(self, out);
    }
}

/// A field of several symbols: on the wire an array, and from careless peers a single symbol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symbols(pub Vec<Symbol>);

impl Symbols {
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|symbol| symbol == name)
    }
}

impl Field<'_> for Symbols {
    fn decode(decoder: &mut Decoder<'_>, name: &'static str) -> Result<Self, Malformed> {
        let symbol = |value: Value<'_>| match value {
            Value::Symbol(text) => Ok(Symbol(Cow::Owned(text.to_owned()))),
            _ => Err(Malformed::Field(name)),
        };
        match decoder.value()? {
            Value::Array(array) => array.iter().map(symbol).collect::<Result<_, _>>().map(Self),
            value => symbol(value).map(|symbol| Self(vec![symbol])),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_symbols(&self.0, out);
    }
}

/// Any one value, as its encoding.
#[derive(Clone)]
pub struct OwnedValue(Box<[u8]>);

impl OwnedValue {
    pub fn new(value: &Value<'_>) -> Self {
        let mut bytes = Vec::new();
        super::put_value(value, &mut bytes);
        Self(bytes.into())
    }

    pub fn value(&self) -> Value<'_> {
        RawValue::of_decoded(&self.0).value()
    }
}

/// Equal is what says the same, however it is encoded.
impl PartialEq for OwnedValue {
    fn eq(&self, other: &Self) -> bool {
        self.value() == other.value()
    }
}

impl fmt::Debug for OwnedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value().fmt(f)
    }
}

impl Field<'_> for OwnedValue {
    fn decode(decoder: &mut Decoder<'_>, _: &'static str) -> Result<Self, Malformed> {
        Ok(Self(decoder.raw_value()?.bytes().into()))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
}

/// A map from symbols to values of any type (`fields` in the standard), as its encoding: properties of connections,
/// sessions and links, filters, details of errors.
#[derive(Clone)]
pub struct Fields(Box<[u8]>);

impl Fields {
    pub fn new(write: impl FnOnce(&mut MapWriter<'_>)) -> Self {
        let mut bytes = Vec::new();
        put_map(&mut bytes, write);
        Self(bytes.into())
    }

    pub fn map(&self) -> Map<'_> {
        match RawValue::of_decoded(&self.0).value() {
            Value::Map(map) => map,
            _ => Map::default(),
        }
    }

    pub fn get(&self, key: &str) -> Option<Value<'_>> {
        self.map().get(key)
    }
}

/// Equal is what says the same, however it is encoded.
impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.map() == other.map()
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.map().fmt(f)
    }
}

impl Field<'_> for Fields {
    fn decode(decoder: &mut Decoder<'_>, name: &'static str) -> Result<Self, Malformed> {
        let raw = decoder.raw_value()?;
        if matches!(raw.value(), Value::Map(_)) { Ok(Self(raw.bytes().into())) } else { Err(Malformed::Field(name)) }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
}

/// What the sender calls a delivery: at most 32 bytes (AMQP 1.0 §2.8.7), kept in place.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeliveryTag {
    length: u8,
    bytes: [u8; Self::BYTES_MAX],
}

impl DeliveryTag {
    pub const BYTES_MAX: usize = 32;

    pub const EMPTY: Self = Self { length: 0, bytes: [0; Self::BYTES_MAX] };

    /// `None` if it is too long.
    pub fn new(tag: &[u8]) -> Option<Self> {
        let mut bytes = [0; Self::BYTES_MAX];
        bytes.get_mut(..tag.len())?.copy_from_slice(tag);
        Some(Self { length: tag.len() as u8, bytes })
    }
}

/// The 16 bytes that .NET wants to read as a GUID (amqp R6).
impl From<[u8; 16]> for DeliveryTag {
    fn from(guid: [u8; 16]) -> Self {
        let mut bytes = [0; Self::BYTES_MAX];
        for (to, from) in bytes.iter_mut().zip(guid) {
            *to = from;
        }
        Self { length: 16, bytes }
    }
}

impl Deref for DeliveryTag {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

impl fmt::Debug for DeliveryTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Field<'_> for DeliveryTag {
    fn decode(decoder: &mut Decoder<'_>, name: &'static str) -> Result<Self, Malformed> {
        Self::new(<&[u8]>::decode(decoder, name)?).ok_or(Malformed::Field(name))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        super::put_value(&Value::Binary(self), out);
    }
}
