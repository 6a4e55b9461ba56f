//! Writing values. Numbers and texts take their shortest encoding; lists are never the empty-list constructor, which
//! Python's reader of performatives does not know (amqp R2).

use super::{Descriptor, Value, constructor as c};

/// Writes a value with its constructor.
pub fn put_value(value: &Value<'_>, out: &mut Vec<u8>) {
    match *value {
        Value::Null => out.push(c::NULL),
        Value::Boolean(flag) => out.push(if flag { c::TRUE } else { c::FALSE }),
        Value::UByte(number) => out.extend_from_slice(&[c::UBYTE, number]),
        Value::UShort(number) => put_fixed(c::USHORT, number.to_be_bytes(), out),
        Value::UInt(number) => put_uint(number, out),
        Value::ULong(number) => put_ulong(number, out),
        Value::Byte(number) => put_fixed(c::BYTE, number.to_be_bytes(), out),
        Value::Short(number) => put_fixed(c::SHORT, number.to_be_bytes(), out),
        Value::Int(number) => match i8::try_from(number) {
            Ok(small) => put_fixed(c::INT_SMALL, small.to_be_bytes(), out),
            Err(_) => put_fixed(c::INT, number.to_be_bytes(), out),
        },
        Value::Long(number) => match i8::try_from(number) {
            Ok(small) => put_fixed(c::LONG_SMALL, small.to_be_bytes(), out),
            Err(_) => put_fixed(c::LONG, number.to_be_bytes(), out),
        },
        Value::Float(number) => put_fixed(c::FLOAT, number.to_be_bytes(), out),
        Value::Double(number) => put_fixed(c::DOUBLE, number.to_be_bytes(), out),
        Value::Decimal32(bytes) => put_fixed(c::DECIMAL32, bytes, out),
        Value::Decimal64(bytes) => put_fixed(c::DECIMAL64, bytes, out),
        Value::Decimal128(bytes) => put_fixed(c::DECIMAL128, bytes, out),
        Value::Char(character) => put_fixed(c::CHAR, u32::from(character).to_be_bytes(), out),
        Value::Timestamp(milliseconds) => put_fixed(c::TIMESTAMP, milliseconds.to_be_bytes(), out),
        Value::Uuid(bytes) => put_fixed(c::UUID, bytes, out),
        Value::Binary(bytes) => put_variable(c::BINARY8, c::BINARY32, bytes, out),
        Value::String(text) => put_variable(c::STRING8, c::STRING32, text.as_bytes(), out),
        Value::Symbol(text) => put_symbol(text, out),
        Value::List(list) => put_compound([c::LIST8, c::LIST32], out, |out| {
            out.extend_from_slice(list.items);
            list.count
        }),
        Value::Map(map) => put_compound([c::MAP8, c::MAP32], out, |out| {
            out.extend_from_slice(map.items);
            map.count
        }),
        Value::Array(array) => put_compound([c::ARRAY8, c::ARRAY32], out, |out| {
            out.extend_from_slice(array.body);
            array.count
        }),
        Value::Described(described) => {
            put_descriptor(described.descriptor, out);
            out.push(described.constructor);
            out.extend_from_slice(described.body);
        }
    }
}

/// Writes a list, element by element.
pub fn put_list(out: &mut Vec<u8>, write: impl FnOnce(&mut ListWriter<'_>)) {
    put_compound([c::LIST8, c::LIST32], out, |out| {
        let mut list = ListWriter { out, count: 0 };
        write(&mut list);
        list.count
    });
}

/// Takes the elements of a list.
pub struct ListWriter<'a> {
    out: &'a mut Vec<u8>,
    count: u32,
}

impl ListWriter<'_> {
    pub fn item(&mut self, value: &Value<'_>) {
        self.item_with(|out| put_value(value, out));
    }

    /// An element that is written in place: exactly one value.
    pub fn item_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(self.out);
        self.count += 1;
    }
}

/// Writes a map, pair by pair.
pub fn put_map(out: &mut Vec<u8>, write: impl FnOnce(&mut MapWriter<'_>)) {
    put_compound([c::MAP8, c::MAP32], out, |out| {
        let mut map = MapWriter { out, count: 0 };
        write(&mut map);
        map.count
    });
}

/// Takes the pairs of a map.
pub struct MapWriter<'a> {
    out: &'a mut Vec<u8>,
    /// Keys and values.
    count: u32,
}

impl MapWriter<'_> {
    pub fn entry(&mut self, key: &Value<'_>, value: &Value<'_>) {
        self.entry_with(key, |out| put_value(value, out));
    }

    /// A key that is a symbol, as in annotations, link properties and the details of errors.
    pub fn symbol(&mut self, key: &str, value: &Value<'_>) {
        self.entry(&Value::Symbol(key), value);
    }

    /// A key that is a string, as in application properties.
    pub fn string(&mut self, key: &str, value: &Value<'_>) {
        self.entry(&Value::String(key), value);
    }

    /// A value that is written in place: exactly one.
    pub fn entry_with(&mut self, key: &Value<'_>, write: impl FnOnce(&mut Vec<u8>)) {
        put_value(key, self.out);
        write(self.out);
        self.count += 2;
    }
}

/// Writes an array of strings.
pub fn put_strings(texts: &[impl AsRef<str>], out: &mut Vec<u8>) {
    put_texts([c::STRING8, c::STRING32], texts, out);
}

/// Writes an array of symbols, which is what a field of several symbols is even when it has one (amqp R3).
pub fn put_symbols(texts: &[impl AsRef<str>], out: &mut Vec<u8>) {
    put_texts([c::SYMBOL8, c::SYMBOL32], texts, out);
}

fn put_texts([short, long]: [u8; 2], texts: &[impl AsRef<str>], out: &mut Vec<u8>) {
    let is_short = texts.iter().all(|text| text.as_ref().len() <= usize::from(u8::MAX));
    put_compound([c::ARRAY8, c::ARRAY32], out, |out| {
        out.push(if is_short { short } else { long });
        for text in texts.iter().map(|text| text.as_ref().as_bytes()) {
            let length = (text.len() as u32).to_be_bytes();
            out.extend_from_slice(if is_short { &length[3..] } else { &length });
            out.extend_from_slice(text);
        }
        texts.len() as u32
    });
}

/// Writes a described value: the descriptor, then what `write` writes, which must be exactly one value.
pub fn put_described(descriptor: Descriptor<'_>, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    put_descriptor(descriptor, out);
    write(out);
}

/// Writes a composite value of the standard: `00 53 code` and a list.
pub(crate) fn put_composite(code: u8, out: &mut Vec<u8>, write: impl FnOnce(&mut ListWriter<'_>)) {
    out.extend_from_slice(&[c::DESCRIBED, c::ULONG_SMALL, code]);
    put_list(out, write);
}

/// What is not ASCII cannot be a symbol; as a string it is at least read.
pub(crate) fn put_symbol(text: &str, out: &mut Vec<u8>) {
    let [short, long] = if text.is_ascii() { [c::SYMBOL8, c::SYMBOL32] } else { [c::STRING8, c::STRING32] };
    put_variable(short, long, text.as_bytes(), out);
}

fn put_descriptor(descriptor: Descriptor<'_>, out: &mut Vec<u8>) {
    out.push(c::DESCRIBED);
    match descriptor {
        // Zero as two bytes: descriptors are smallulong or ulong.
        Descriptor::Code(0) => out.extend_from_slice(&[c::ULONG_SMALL, 0]),
        Descriptor::Code(code) => put_ulong(code, out),
        Descriptor::Name(name) => put_symbol(name, out),
    }
}

fn put_fixed<const N: usize>(constructor: u8, bytes: [u8; N], out: &mut Vec<u8>) {
    out.push(constructor);
    out.extend_from_slice(&bytes);
}

fn put_uint(number: u32, out: &mut Vec<u8>) {
    match u8::try_from(number) {
        Ok(0) => out.push(c::UINT_ZERO),
        Ok(small) => out.extend_from_slice(&[c::UINT_SMALL, small]),
        Err(_) => put_fixed(c::UINT, number.to_be_bytes(), out),
    }
}

fn put_ulong(number: u64, out: &mut Vec<u8>) {
    match u8::try_from(number) {
        Ok(0) => out.push(c::ULONG_ZERO),
        Ok(small) => out.extend_from_slice(&[c::ULONG_SMALL, small]),
        Err(_) => put_fixed(c::ULONG, number.to_be_bytes(), out),
    }
}

fn put_variable(short: u8, long: u8, bytes: &[u8], out: &mut Vec<u8>) {
    match u8::try_from(bytes.len()) {
        Ok(length) => out.extend_from_slice(&[short, length]),
        Err(_) => put_fixed(long, (bytes.len() as u32).to_be_bytes(), out),
    }
    out.extend_from_slice(bytes);
}

/// Constructor, size, count and content. What is short, which is nearly everything, is written where it stays; the rest
/// is moved by the six bytes that its header is longer.
fn put_compound([short, long]: [u8; 2], out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> u32) {
    const HEADER: usize = 3;
    let start = out.len();
    out.extend_from_slice(&[short, 0, 0]);
    let count = write(out);
    let content = out.len() - start - HEADER;
    match (u8::try_from(content + 1), u8::try_from(count)) {
        (Ok(size), Ok(count)) => {
            if let Some(header) = out.get_mut(start..start + HEADER) {
                header.copy_from_slice(&[short, size, count]);
            }
        }
        _ => {
            let [s0, s1, s2, s3] = ((content + 4) as u32).to_be_bytes();
            let [c0, c1, c2, c3] = count.to_be_bytes();
            out.splice(start..start + HEADER, [long, s0, s1, s2, s3, c0, c1, c2, c3]);
        }
    }
}
