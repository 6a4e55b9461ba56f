//! What earlier versions wrote to disks and wires: every message, enumeration and method of theirs, as it was then
//! (`proto/fixtures`, a file for each version).
//!
//! ```text
//! message NAME HEXADECIMAL BYTES TEXT     a message with every field, and one for each choice of a `oneof`
//! value   ENUMERATION.NAME NUMBER
//! method  SERVICE/NAME REQUEST RESPONSE   with `stream` in front of what is one
//! ```
//!
//! Fields, values and methods may be added; none may change or vanish.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failure here is a failed test")]

use std::{collections::BTreeSet, fmt::Write, fs, path::Path};

use prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, MethodDescriptor, Value,
};

/// Messages in messages are filled so deep; each is filled on its own too.
const DEPTH: usize = 2;

/// Everything that `ironhub/*/v1/*.proto` say.
fn pool() -> DescriptorPool {
    let mut files = Vec::new();
    for package in fs::read_dir("ironhub").unwrap() {
        let folder = package.unwrap().path().join("v1");
        files.extend(fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()));
    }
    DescriptorPool::from_file_descriptor_set(protox::compile(files, ["."]).unwrap()).unwrap()
}

/// Messages of ours, without the entries of maps, which are fields.
fn messages(pool: &DescriptorPool) -> Vec<MessageDescriptor> {
    pool.all_messages()
        .filter(|message| message.full_name().starts_with("ironhub.") && !message.is_map_entry())
        .collect()
}

fn method_line(method: &MethodDescriptor) -> String {
    let stream = |is_stream| if is_stream { "stream " } else { "" };
    format!(
        "method {}/{} {}{} {}{}",
        method.parent_service().full_name(),
        method.name(),
        stream(method.is_client_streaming()),
        method.input().full_name(),
        stream(method.is_server_streaming()),
        method.output().full_name(),
    )
}

/// A message with every field; of the choices, the ones with that number.
fn filled(message: &MessageDescriptor, choice: usize, depth: usize) -> DynamicMessage {
    let mut value = DynamicMessage::new(message.clone());
    for field in message.fields() {
        let choices = field.containing_oneof().filter(|choices| !choices.is_synthetic());
        let is_chosen = choices.is_none_or(|choices| {
            let count = choices.fields().len();
            choices.fields().nth(choice % count).as_ref() == Some(&field)
        });
        if is_chosen && let Some(content) = field_value(&field, depth) {
            value.set_field(&field, content);
        }
    }
    value
}

/// How many messages show every choice.
fn choices(message: &MessageDescriptor) -> usize {
    message.oneofs().filter(|oneof| !oneof.is_synthetic()).map(|oneof| oneof.fields().len()).max().unwrap_or(1)
}

fn field_value(field: &FieldDescriptor, depth: usize) -> Option<Value> {
    if field.is_map() {
        let Kind::Message(entry) = field.kind() else { return None };
        let value = scalar(&entry.map_entry_value_field(), depth)?;
        return Some(Value::Map([(MapKey::U64(300), value)].into()));
    }
    let value = scalar(field, depth)?;
    Some(if field.is_list() { Value::List(vec![value.clone(), value]) } else { value })
}

/// Different for each field; numbers too large for one byte.
fn scalar(field: &FieldDescriptor, depth: usize) -> Option<Value> {
    let number = field.number() + 1000;
    Some(match field.kind() {
        Kind::Bool => Value::Bool(true),
        Kind::String => Value::String(format!("{} ü", field.name())),
        Kind::Bytes => Value::Bytes([&[0, 0xff], field.name().as_bytes()].concat().into()),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(-(number as i32)),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(-(i64::from(number) << 40)),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(number << 20),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(u64::from(number) << 50),
        Kind::Double => Value::F64(f64::from(number)),
        Kind::Float => Value::F32(number as f32),
        Kind::Enum(kind) => Value::EnumNumber(kind.values().map(|value| value.number()).max()?),
        Kind::Message(message) => Value::Message(filled(&message, 0, depth.checked_sub(1)?)),
    })
}

fn hexadecimal(bytes: &[u8]) -> String {
    if bytes.is_empty() { "-".to_owned() } else { bytes.iter().map(|byte| format!("{byte:02x}")).collect() }
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits = hexadecimal.trim_matches('-').as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// Every line of every version.
fn lines() -> Vec<String> {
    let files = fs::read_dir("fixtures").unwrap().map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    files.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Those of a kind, without its name.
fn of_kind<'a>(lines: &'a [String], kind: &str) -> Vec<&'a str> {
    let found: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix(kind)?.strip_prefix(' ')).collect();
    assert!(found.len() > 5, "the fixtures are missing");
    found
}

#[test]
fn messages_of_every_version_are_read_and_written_as_they_were() {
    let (pool, lines) = (pool(), lines());
    for line in of_kind(&lines, "message") {
        let [name, hexadecimal, text] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let descriptor = pool.get_message_by_name(name).unwrap_or_else(|| panic!("{name} is gone"));
        let read = DynamicMessage::decode(descriptor.clone(), bytes(hexadecimal).as_slice()).expect(name);
        assert_eq!(read.unknown_fields().count(), 0, "{name} has lost fields");
        let said = DynamicMessage::parse_text_format(descriptor, text).expect(name);
        assert_eq!(read, said, "{name} means something else");
        assert_eq!(self::hexadecimal(&said.encode_to_vec()), hexadecimal, "{name} is written otherwise: {text}");
    }
}

#[test]
fn values_and_methods_of_every_version_are_still_there() {
    let (pool, lines) = (pool(), lines());
    for line in of_kind(&lines, "value") {
        let (name, number) = line.split_once(' ').unwrap();
        let (kind, value) = name.rsplit_once('.').unwrap();
        let value = pool.get_enum_by_name(kind).and_then(|kind| kind.get_value_by_name(value));
        assert_eq!(value.map(|value| value.number()), number.parse().ok(), "{name}");
    }
    let methods: BTreeSet<String> =
        pool.services().flat_map(|service| service.methods().map(|it| method_line(&it)).collect::<Vec<_>>()).collect();
    for line in of_kind(&lines, "method") {
        assert!(methods.contains(&format!("method {line}")), "{line} is gone or different");
    }
}

/// Only for a version that nobody has yet: `cargo test -p proto --test formats -- --ignored`.
#[test]
#[ignore = "writes the fixtures of this version"]
fn write_the_fixtures_of_this_version() {
    let pool = pool();
    let mut text = String::new();
    for message in messages(&pool) {
        for choice in 0..choices(&message) {
            let value = filled(&message, choice, DEPTH);
            let bytes = hexadecimal(&value.encode_to_vec());
            writeln!(text, "message {} {bytes} {}", message.full_name(), value.to_text_format()).unwrap();
        }
    }
    for kind in pool.all_enums().filter(|kind| kind.full_name().starts_with("ironhub.")) {
        for value in kind.values() {
            writeln!(text, "value {}.{} {}", kind.full_name(), value.name(), value.number()).unwrap();
        }
    }
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        writeln!(text, "{}", method_line(&method)).unwrap();
    }
    fs::write(Path::new("fixtures").join(concat!(env!("CARGO_PKG_VERSION"), ".txt")), text).unwrap();
}
