//! Views on values that consist of values. Whoever makes one has read it to its end before.

use std::fmt;

use super::{Decoder, Descriptor, Value};

/// A list: values of any type.
#[derive(Clone, Copy)]
pub struct List<'a> {
    pub(super) count: u32,
    /// The encoded elements, each with its constructor.
    pub(super) items: &'a [u8],
}

impl<'a> List<'a> {
    pub fn len(&self) -> usize {
        self.count as usize
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        values(self.count, Decoder::new(self.items))
    }
}

/// A map: pairs of key and value, in the order they were written.
#[derive(Clone, Copy, Default)]
pub struct Map<'a> {
    /// Keys and values counted together, so it is even.
    pub(super) count: u32,
    /// Keys and values in turn.
    pub(super) items: &'a [u8],
}

impl<'a> Map<'a> {
    /// Pairs.
    pub fn len(&self) -> usize {
        self.count as usize / 2
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = (Value<'a>, Value<'a>)> + use<'a> {
        let mut decoder = Decoder::new(self.items);
        (0..self.len()).map_while(move |_| Some((decoder.value().ok()?, decoder.value().ok()?)))
    }

    /// The value of the first key, string or symbol, that reads so.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        self.iter().find(|(found, _)| found.as_text() == Some(key)).map(|(_, value)| value)
    }
}

/// An array: values of one type, whose constructor is written once.
#[derive(Clone, Copy)]
pub struct Array<'a> {
    pub(super) count: u32,
    /// The constructor with its descriptors, then the elements without.
    pub(super) body: &'a [u8],
}

impl<'a> Array<'a> {
    pub fn len(&self) -> usize {
        self.count as usize
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let mut decoder = Decoder::new(self.body);
        let constructor = decoder.array_constructor().ok();
        (0..self.count).map_while(move |_| {
            let (descriptor, code) = constructor?;
            decoder.array_element(descriptor, code).ok()
        })
    }
}

/// A value with a descriptor that says what it means.
#[derive(Clone, Copy)]
pub struct Described<'a> {
    pub descriptor: Descriptor<'a>,
    /// The constructor of the value, which in an array stands elsewhere than the value.
    pub(super) constructor: u8,
    pub(super) body: &'a [u8],
}

impl<'a> Described<'a> {
    pub fn value(&self) -> Value<'a> {
        Decoder::new(self.body).value_of(self.constructor, 0).unwrap_or(Value::Null)
    }
}

fn values<'a>(count: u32, mut decoder: Decoder<'a>) -> impl Iterator<Item = Value<'a>> + use<'a> {
    (0..count).map_while(move |_| decoder.value().ok())
}

// Two views are equal when they say the same, however it is encoded.

impl PartialEq for List<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.iter().eq(other.iter())
    }
}

impl PartialEq for Map<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.iter().eq(other.iter())
    }
}

impl PartialEq for Array<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.iter().eq(other.iter())
    }
}

impl PartialEq for Described<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.descriptor == other.descriptor && self.value() == other.value()
    }
}

impl fmt::Debug for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Debug for Map<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl fmt::Debug for Array<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Debug for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Described").field(&self.descriptor).field(&self.value()).finish()
    }
}
