//! How a field of a composite value is read and written. Numbers have the type of the standard and no other; texts are
//! read from strings and from symbols, because clients mix the two up.

use super::{Decoder, List, Malformed, Map, RawValue, Value, put_value};

/// The type of a field. Null is not its business: a field that may be null is an `Option`.
pub trait Field<'a>: Sized {
    fn decode(decoder: &mut Decoder<'a>, name: &'static str) -> Result<Self, Malformed>;

    fn encode(&self, out: &mut Vec<u8>);

    /// What null stands for.
    fn absent(name: &'static str) -> Result<Self, Malformed> {
        Err(Malformed::Missing(name))
    }
}

impl<'a, T: Field<'a>> Field<'a> for Option<T> {
    fn decode(decoder: &mut Decoder<'a>, name: &'static str) -> Result<Self, Malformed> {
        T::decode(decoder, name).map(Some)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Some(value) => value.encode(out),
            None => put_value(&Value::Null, out),
        }
    }

    fn absent(_: &'static str) -> Result<Self, Malformed> {
        Ok(None)
    }
}

/// Types that are one kind of [`Value`].
macro_rules! fields {
    ($($type:ty: $kind:ident),* $(,)?) => {$(
        impl<'a> Field<'a> for $type {
            fn decode(decoder: &mut Decoder<'a>, name: &'static str) -> Result<Self, Malformed> {
                match decoder.value()? {
                    Value::$kind(value) => Ok(value),
                    _ => Err(Malformed::Field(name)),
                }
            }

            fn encode(&self, out: &mut Vec<u8>) {
                put_value(&Value::$kind(*self), out);
            }
        }
    )*};
}

fields! {
    bool: Boolean,
    u8: UByte,
    u16: UShort,
    u32: UInt,
    u64: ULong,
    i64: Timestamp,
    &'a [u8]: Binary,
    List<'a>: List,
    Map<'a>: Map,
}

impl<'a> Field<'a> for &'a str {
    fn decode(decoder: &mut Decoder<'a>, name: &'static str) -> Result<Self, Malformed> {
        decoder.text()?.ok_or(Malformed::Field(name))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_value(&Value::String(self), out);
    }
}

/// A symbol in a message. Reads strings as well: uAMQP sends content types so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SymbolText<'a>(pub &'a str);

impl<'a> Field<'a> for SymbolText<'a> {
    fn decode(decoder: &mut Decoder<'a>, name: &'static str) -> Result<Self, Malformed> {
        <&str>::decode(decoder, name).map(Self)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_value(&Value::Symbol(self.0), out);
    }
}

impl Field<'_> for String {
    fn decode(decoder: &mut Decoder<'_>, name: &'static str) -> Result<Self, Malformed> {
        <&str>::decode(decoder, name).map(str::to_owned)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_value(&Value::String(self), out);
    }
}

impl Field<'_> for Vec<u8> {
    fn decode(decoder: &mut Decoder<'_>, name: &'static str) -> Result<Self, Malformed> {
        <&[u8]>::decode(decoder, name).map(<[u8]>::to_vec)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_value(&Value::Binary(self), out);
    }
}

impl<'a> Field<'a> for RawValue<'a> {
    fn decode(decoder: &mut Decoder<'a>, _: &'static str) -> Result<Self, Malformed> {
        decoder.raw_value()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.bytes());
    }
}
