//! One value of any type.

use super::{Array, Decoder, Described, List, Malformed, Map};

/// A value, borrowed from its encoding: nothing is copied and nothing allocated. Compound values are views that were
/// checked to their last byte when they were read, so walking them cannot fail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    Null,
    Boolean(bool),
    UByte(u8),
    UShort(u16),
    UInt(u32),
    ULong(u64),
    Byte(i8),
    Short(i16),
    Int(i32),
    Long(i64),
    Float(f32),
    Double(f64),
    /// IEEE 754 decimal, as its bytes.
    Decimal32([u8; 4]),
    /// IEEE 754 decimal, as its bytes.
    Decimal64([u8; 8]),
    /// IEEE 754 decimal, as its bytes.
    Decimal128([u8; 16]),
    Char(char),
    /// Milliseconds since 1970-01-01 UTC.
    Timestamp(i64),
    /// In the order of RFC 4122.
    Uuid([u8; 16]),
    Binary(&'a [u8]),
    String(&'a str),
    /// ASCII.
    Symbol(&'a str),
    List(List<'a>),
    Map(Map<'a>),
    Array(Array<'a>),
    Described(Described<'a>),
}

impl<'a> Value<'a> {
    /// Reads exactly one value.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut decoder = Decoder::new(bytes);
        let value = decoder.value()?;
        decoder.end()?;
        Ok(value)
    }

    /// The text of a string or a symbol.
    pub fn as_text(&self) -> Option<&'a str> {
        match self {
            Self::String(text) | Self::Symbol(text) => Some(text),
            _ => None,
        }
    }

    /// The number of any integer type, if it fits.
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Self::UByte(number) => Some(number.into()),
            Self::UShort(number) => Some(number.into()),
            Self::UInt(number) => Some(number.into()),
            Self::ULong(number) => number.try_into().ok(),
            Self::Byte(number) => Some(number.into()),
            Self::Short(number) => Some(number.into()),
            Self::Int(number) => Some(number.into()),
            Self::Long(number) => Some(number),
            _ => None,
        }
    }
}

/// One value as its bytes: what a peer sent can be sent back bit by bit (amqp R10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawValue<'a>(&'a [u8]);

impl<'a> RawValue<'a> {
    /// Reads exactly one value.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        Value::decode(bytes)?;
        Ok(Self(bytes))
    }

    /// Bytes that a [`Decoder`] has just read as one value.
    pub(crate) fn of_decoded(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The encoding, constructor first.
    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// What it says.
    pub fn value(&self) -> Value<'a> {
        Decoder::new(self.0).value().unwrap_or(Value::Null)
    }
}
