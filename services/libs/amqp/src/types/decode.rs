//! Reading values. Every length is checked against the bytes that are there before anything is done with it, and
//! nothing is allocated.

use super::{Array, Described, Descriptor, List, Map, RawValue, Value, constructor as c};

/// How deep values may lie in each other.
pub const DEPTH_MAX: u8 = 16;

/// How many elements an array of values without bytes (null, true, 0) may have: its size says nothing about its count.
pub const ZERO_WIDTH_ELEMENTS_MAX: u32 = 256;

/// Bytes that are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("the bytes end inside a value")]
    Truncated,
    #[error("bytes follow the last value")]
    TrailingBytes,
    #[error("constructor 0x{0:02x} is unknown here")]
    Constructor(u8),
    #[error("values lie in each other deeper than {DEPTH_MAX} levels")]
    TooDeep,
    #[error("a string is not UTF-8")]
    NotUtf8,
    #[error("a symbol is not ASCII")]
    NotAscii,
    #[error("0x{0:08x} is no character")]
    NotCharacter(u32),
    #[error("a boolean is neither 0 nor 1")]
    NotBoolean,
    #[error("a map has a key without a value")]
    OddMap,
    #[error("an array of values without bytes has {0} elements")]
    TooManyElements(u32),
    #[error("a descriptor is neither an unsigned long nor a symbol")]
    Descriptor,
    #[error("{} stands where {expected} should", description(*found))]
    NotDescribedAs { expected: &'static str, found: Option<u64> },
    #[error("the mandatory field {0} is missing")]
    Missing(&'static str),
    #[error("the field {0} has a value of the wrong type or range")]
    Field(&'static str),
    #[error("a message has two sections of the kind 0x{0:02x}")]
    SecondSection(u8),
    #[error("a message has bodies of two kinds")]
    TwoBodies,
}

/// The unread rest of some bytes.
#[derive(Clone, Copy)]
pub struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::TrailingBytes) }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub fn byte(&mut self) -> Result<u8, Malformed> {
        self.chunk().map(|[byte]| byte)
    }

    pub fn size32(&mut self) -> Result<u32, Malformed> {
        self.chunk().map(u32::from_be_bytes)
    }

    /// Takes a null if it comes next.
    pub fn null(&mut self) -> bool {
        let is_null = self.rest.first() == Some(&c::NULL);
        if is_null {
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
        is_null
    }

    /// The next value, read to its last byte.
    pub fn value(&mut self) -> Result<Value<'a>, Malformed> {
        self.nested_value(0)
    }

    /// The next value as its bytes.
    pub fn raw_value(&mut self) -> Result<RawValue<'a>, Malformed> {
        let before = self.rest;
        self.value()?;
        Ok(RawValue::of_decoded(before.get(..before.len() - self.rest.len()).unwrap_or_default()))
    }

    fn nested_value(&mut self, depth: u8) -> Result<Value<'a>, Malformed> {
        let code = self.byte()?;
        self.value_of(code, depth)
    }

    /// The value behind its constructor.
    pub fn value_of(&mut self, code: u8, depth: u8) -> Result<Value<'a>, Malformed> {
        Ok(match code {
            c::NULL => Value::Null,
            c::TRUE => Value::Boolean(true),
            c::FALSE => Value::Boolean(false),
            c::BOOLEAN => Value::Boolean(boolean(self.byte()?)?),
            c::UBYTE => Value::UByte(self.byte()?),
            c::USHORT => Value::UShort(u16::from_be_bytes(self.chunk()?)),
            c::UINT_ZERO => Value::UInt(0),
            c::UINT_SMALL => Value::UInt(self.byte()?.into()),
            c::UINT => Value::UInt(self.size32()?),
            c::ULONG_ZERO => Value::ULong(0),
            c::ULONG_SMALL => Value::ULong(self.byte()?.into()),
            c::ULONG => Value::ULong(u64::from_be_bytes(self.chunk()?)),
            c::BYTE => Value::Byte(i8::from_be_bytes(self.chunk()?)),
            c::SHORT => Value::Short(i16::from_be_bytes(self.chunk()?)),
            c::INT_SMALL => Value::Int(i8::from_be_bytes(self.chunk()?).into()),
            c::INT => Value::Int(i32::from_be_bytes(self.chunk()?)),
            c::LONG_SMALL => Value::Long(i8::from_be_bytes(self.chunk()?).into()),
            c::LONG => Value::Long(i64::from_be_bytes(self.chunk()?)),
            c::FLOAT => Value::Float(f32::from_be_bytes(self.chunk()?)),
            c::DOUBLE => Value::Double(f64::from_be_bytes(self.chunk()?)),
            c::DECIMAL32 => Value::Decimal32(self.chunk()?),
            c::DECIMAL64 => Value::Decimal64(self.chunk()?),
            c::DECIMAL128 => Value::Decimal128(self.chunk()?),
            c::CHAR => Value::Char(character(self.size32()?)?),
            c::TIMESTAMP => Value::Timestamp(i64::from_be_bytes(self.chunk()?)),
            c::UUID => Value::Uuid(self.chunk()?),
            c::BINARY8 | c::BINARY32 => Value::Binary(self.variable(code)?),
            c::STRING8 | c::STRING32 => Value::String(utf8(self.variable(code)?)?),
            c::SYMBOL8 | c::SYMBOL32 => Value::Symbol(ascii(self.variable(code)?)?),
            c::LIST_EMPTY | c::LIST8 | c::LIST32 => Value::List(self.list(code, depth)?),
            c::MAP8 | c::MAP32 => Value::Map(self.map(code, depth)?),
            c::ARRAY8 | c::ARRAY32 => Value::Array(self.array(code, depth)?),
            c::DESCRIBED => Value::Described(self.described(depth)?),
            other => return Err(Malformed::Constructor(other)),
        })
    }

    /// Reads a value only to see that it is one. Texts, of which most of a message consists, take the short way.
    fn skip(&mut self, depth: u8) -> Result<(), Malformed> {
        match self.byte()? {
            c::NULL => Ok(()),
            code @ (c::STRING8 | c::STRING32) => utf8(self.variable(code)?).map(|_| ()),
            code @ (c::SYMBOL8 | c::SYMBOL32) => ascii(self.variable(code)?).map(|_| ()),
            code => self.value_of(code, depth).map(|_| ()),
        }
    }

    /// The text of a string or a symbol, which is what most fields are.
    pub fn text(&mut self) -> Result<Option<&'a str>, Malformed> {
        match self.rest.first() {
            Some(&code @ (c::STRING8 | c::STRING32)) => {
                self.byte()?;
                utf8(self.variable(code)?).map(Some)
            }
            _ => Ok(self.value()?.as_text()),
        }
    }

    /// Length and bytes. The high nibble of the constructor says how wide the length is.
    pub fn variable(&mut self, code: u8) -> Result<&'a [u8], Malformed> {
        let length = self.size(code)?;
        self.take(length as usize)
    }

    fn size(&mut self, code: u8) -> Result<u32, Malformed> {
        if code & 0x10 == 0 { self.byte().map(u32::from) } else { self.size32() }
    }

    /// Count and encoded content of a compound value.
    fn compound(&mut self, code: u8) -> Result<(u32, Self), Malformed> {
        let mut content = Self::new(self.variable(code)?);
        let count = content.size(code)?;
        Ok((count, content))
    }

    fn list(&mut self, code: u8, depth: u8) -> Result<List<'a>, Malformed> {
        if code == c::LIST_EMPTY {
            return Ok(List { count: 0, items: &[] });
        }
        let (count, content) = self.compound(code)?;
        check_values(count, content, depth)?;
        Ok(List { count, items: content.rest })
    }

    fn map(&mut self, code: u8, depth: u8) -> Result<Map<'a>, Malformed> {
        let (count, content) = self.compound(code)?;
        if !count.is_multiple_of(2) {
            return Err(Malformed::OddMap);
        }
        check_values(count, content, depth)?;
        Ok(Map { count, items: content.rest })
    }

    fn array(&mut self, code: u8, depth: u8) -> Result<Array<'a>, Malformed> {
        let depth = deeper(depth)?;
        let (count, mut content) = self.compound(code)?;
        let body = content.rest;
        let (_, element_code) = content.array_constructor()?;
        if is_zero_width(element_code) && count > ZERO_WIDTH_ELEMENTS_MAX {
            return Err(Malformed::TooManyElements(count));
        }
        for _ in 0..count {
            content.value_of(element_code, depth)?;
        }
        content.end()?;
        Ok(Array { count, body })
    }

    /// What all elements of an array share. An element described twice is refused: nobody sends that.
    pub fn array_constructor(&mut self) -> Result<(Option<Descriptor<'a>>, u8), Malformed> {
        let mut code = self.byte()?;
        let mut descriptor = None;
        if code == c::DESCRIBED {
            descriptor = Some(self.descriptor()?);
            code = self.byte()?;
        }
        if code == c::DESCRIBED { Err(Malformed::Constructor(code)) } else { Ok((descriptor, code)) }
    }

    pub fn array_element(&mut self, descriptor: Option<Descriptor<'a>>, code: u8) -> Result<Value<'a>, Malformed> {
        let body = self.rest;
        let value = self.value_of(code, 0)?;
        Ok(match descriptor {
            None => value,
            Some(descriptor) => {
                let body = body.get(..body.len() - self.rest.len()).unwrap_or_default();
                Value::Described(Described { descriptor, constructor: code, body })
            }
        })
    }

    fn described(&mut self, depth: u8) -> Result<Described<'a>, Malformed> {
        let depth = deeper(depth)?;
        let descriptor = self.descriptor()?;
        let constructor = self.byte()?;
        let body = self.rest;
        self.value_of(constructor, depth)?;
        let body = body.get(..body.len() - self.rest.len()).unwrap_or_default();
        Ok(Described { descriptor, constructor, body })
    }

    /// A descriptor, behind its 0x00.
    fn descriptor(&mut self) -> Result<Descriptor<'a>, Malformed> {
        match self.byte()? {
            c::DESCRIBED => Err(Malformed::Descriptor),
            code => match self.value_of(code, DEPTH_MAX)? {
                Value::ULong(code) => Ok(Descriptor::Code(code)),
                Value::Symbol(name) => Ok(Descriptor::Name(name)),
                _ => Err(Malformed::Descriptor),
            },
        }
    }

    /// The descriptor of a described value that must come next.
    pub fn expect_descriptor(&mut self) -> Result<Descriptor<'a>, Malformed> {
        match self.byte()? {
            c::DESCRIBED => self.descriptor(),
            other => Err(Malformed::Constructor(other)),
        }
    }

    /// The fields of a composite value, behind its descriptor.
    pub fn fields(&mut self) -> Result<Reader<'a>, Malformed> {
        match self.byte()? {
            c::LIST_EMPTY => Ok(Reader { remaining: 0, decoder: Self::new(&[]) }),
            code @ (c::LIST8 | c::LIST32) => {
                let (remaining, decoder) = self.compound(code)?;
                Ok(Reader { remaining, decoder })
            }
            other => Err(Malformed::Constructor(other)),
        }
    }
}

/// The fields of a composite value, one after the other. Fields behind the last known one are not looked at.
pub struct Reader<'a> {
    remaining: u32,
    decoder: Decoder<'a>,
}

impl<'a> Reader<'a> {
    /// The next field, unless it is null or the list has ended.
    pub fn next<T: super::Field<'a>>(&mut self, name: &'static str) -> Result<Option<T>, Malformed> {
        if self.remaining == 0 {
            return Ok(None);
        }
        self.remaining -= 1;
        if self.decoder.null() {
            return Ok(None);
        }
        T::decode(&mut self.decoder, name).map(Some)
    }
}

fn description(code: Option<u64>) -> String {
    code.map_or("a value with an unknown name".to_owned(), |code| format!("a value described as 0x{code:x}"))
}

fn deeper(depth: u8) -> Result<u8, Malformed> {
    if depth < DEPTH_MAX { Ok(depth + 1) } else { Err(Malformed::TooDeep) }
}

/// So many values, and nothing behind them.
fn check_values(count: u32, mut content: Decoder<'_>, depth: u8) -> Result<(), Malformed> {
    let depth = deeper(depth)?;
    for _ in 0..count {
        content.skip(depth)?;
    }
    content.end()
}

fn is_zero_width(code: u8) -> bool {
    code & 0xf0 == 0x40
}

pub(super) fn boolean(byte: u8) -> Result<bool, Malformed> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed::NotBoolean),
    }
}

fn character(code: u32) -> Result<char, Malformed> {
    char::from_u32(code).ok_or(Malformed::NotCharacter(code))
}

fn utf8(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed::NotUtf8)
}

fn ascii(bytes: &[u8]) -> Result<&str, Malformed> {
    if bytes.is_ascii() { utf8(bytes) } else { Err(Malformed::NotAscii) }
}
