//! The type system (AMQP 1.0 part 1): values as views on their encoding, and how they are written.

mod composite;
mod compound;
mod decode;
mod descriptor;
mod encode;
mod field;
mod owned;
mod value;

pub use compound::{Array, Described, List, Map};
pub use decode::{DEPTH_MAX, Malformed, ZERO_WIDTH_ELEMENTS_MAX};
pub use descriptor::Descriptor;
pub use encode::{ListWriter, MapWriter, put_described, put_list, put_map, put_strings, put_symbols, put_value};
pub use owned::{DeliveryTag, Fields, OwnedValue, Symbol, Symbols};
pub use value::{RawValue, Value};

pub(crate) use composite::{composite, simple_enum};
pub(crate) use decode::Decoder;
pub(crate) use descriptor::code_of;
pub(crate) use encode::{put_composite, put_symbol};
pub(crate) use field::Field;
pub use field::SymbolText;

/// Constructor bytes (AMQP 1.0 §1.6).
pub(crate) mod constructor {
    pub const DESCRIBED: u8 = 0x00;
    pub const NULL: u8 = 0x40;
    pub const TRUE: u8 = 0x41;
    pub const FALSE: u8 = 0x42;
    pub const UINT_ZERO: u8 = 0x43;
    pub const ULONG_ZERO: u8 = 0x44;
    pub const LIST_EMPTY: u8 = 0x45;
    pub const UBYTE: u8 = 0x50;
    pub const BYTE: u8 = 0x51;
    pub const UINT_SMALL: u8 = 0x52;
    pub const ULONG_SMALL: u8 = 0x53;
    pub const INT_SMALL: u8 = 0x54;
    pub const LONG_SMALL: u8 = 0x55;
    pub const BOOLEAN: u8 = 0x56;
    pub const USHORT: u8 = 0x60;
    pub const SHORT: u8 = 0x61;
    pub const UINT: u8 = 0x70;
    pub const INT: u8 = 0x71;
    pub const FLOAT: u8 = 0x72;
    pub const CHAR: u8 = 0x73;
    pub const DECIMAL32: u8 = 0x74;
    pub const ULONG: u8 = 0x80;
    pub const LONG: u8 = 0x81;
    pub const DOUBLE: u8 = 0x82;
    pub const TIMESTAMP: u8 = 0x83;
    pub const DECIMAL64: u8 = 0x84;
    pub const DECIMAL128: u8 = 0x94;
    pub const UUID: u8 = 0x98;
    pub const BINARY8: u8 = 0xa0;
    pub const STRING8: u8 = 0xa1;
    pub const SYMBOL8: u8 = 0xa3;
    pub const BINARY32: u8 = 0xb0;
    pub const STRING32: u8 = 0xb1;
    pub const SYMBOL32: u8 = 0xb3;
    pub const LIST8: u8 = 0xc0;
    pub const MAP8: u8 = 0xc1;
    pub const LIST32: u8 = 0xd0;
    pub const MAP32: u8 = 0xd1;
    pub const ARRAY8: u8 = 0xe0;
    pub const ARRAY32: u8 = 0xf0;
}
