//! A text form of AMQP values, close to the one in `spec/amqp.md`: what is written is what is encoded, field by field.
//!
//! ```text
//! NULL true false    5 (uint)  5ub 5us 5ul 5i 5l    time:1700000000000    uuid:00112233445566778899aabbccddeeff
//! "string"  :symbol  0xcafe (binary)  b"binary"     {list, of, values}  list0  map{:key: value}  [:array, :of-symbols]
//! source{"address", NULL}  (a described list by its name)   data b"body"   described(:name, value)
//! ```

use std::{iter::Peekable, str::Chars};

use amqp::{
    AMQP_HEADER, Descriptor, SASL_HEADER, Value, put_described, put_list, put_map, put_strings, put_symbols, put_value,
};

const NAMES: [(&str, u64); 30] = [
    ("open", 0x10),
    ("begin", 0x11),
    ("attach", 0x12),
    ("flow", 0x13),
    ("transfer", 0x14),
    ("disposition", 0x15),
    ("detach", 0x16),
    ("end", 0x17),
    ("close", 0x18),
    ("error", 0x1d),
    ("received", 0x23),
    ("accepted", 0x24),
    ("rejected", 0x25),
    ("released", 0x26),
    ("modified", 0x27),
    ("source", 0x28),
    ("target", 0x29),
    ("coordinator", 0x30),
    ("sasl-mechanisms", 0x40),
    ("sasl-init", 0x41),
    ("sasl-challenge", 0x42),
    ("sasl-response", 0x43),
    ("sasl-outcome", 0x44),
    ("header", 0x70),
    ("delivery-annotations", 0x71),
    ("message-annotations", 0x72),
    ("properties", 0x73),
    ("application-properties", 0x74),
    ("data", 0x75),
    ("amqp-value", 0x77),
];

/// Encodes every value of the text, one after the other.
pub fn encode(text: &str) -> Vec<u8> {
    let mut parser = Parser { rest: text.chars().peekable() };
    let mut out = Vec::new();
    while parser.peek().is_some() {
        parser.value(&mut out);
    }
    out
}

struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
}

impl Parser<'_> {
    fn peek(&mut self) -> Option<char> {
        while self.rest.next_if(|next| next.is_whitespace() || *next == ',').is_some() {}
        self.rest.peek().copied()
    }

    fn take(&mut self, expected: char) {
        assert_eq!(self.peek(), Some(expected));
        self.rest.next();
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        let is_part = |next: &char| !next.is_whitespace() && !",{}[]()\"".contains(*next);
        while let Some(next) = self.rest.next_if(is_part) {
            word.push(next);
        }
        word
    }

    fn quoted(&mut self) -> String {
        self.take('"');
        let mut text = String::new();
        for next in self.rest.by_ref().take_while(|next| *next != '"') {
            text.push(next);
        }
        text
    }

    /// The encoded values up to a closing bracket.
    fn values(&mut self, close: char) -> Vec<Vec<u8>> {
        self.rest.next();
        let mut values = Vec::new();
        while self.peek() != Some(close) {
            let mut value = Vec::new();
            self.value(&mut value);
            values.push(value);
        }
        self.take(close);
        values
    }

    fn list(&mut self, out: &mut Vec<u8>) {
        let values = self.values('}');
        put_list(out, |list| values.iter().for_each(|value| list.item_with(|out| out.extend_from_slice(value))));
    }

    fn map(&mut self, out: &mut Vec<u8>) {
        self.take('{');
        let mut entries = Vec::new();
        while self.peek() != Some('}') {
            let (mut key, mut value) = (Vec::new(), Vec::new());
            match self.peek() {
                Some('"') => put_value(&Value::String(&self.quoted()), &mut key),
                _ => put_value(&Value::Symbol(self.word().trim_matches(':')), &mut key),
            }
            self.rest.next_if_eq(&':');
            self.peek();
            self.value(&mut value);
            entries.push((key, value));
        }
        self.take('}');
        put_map(out, |map| {
            for (key, value) in &entries {
                let key = Value::decode(key).expect("a key");
                map.entry_with(&key, |out| out.extend_from_slice(value));
            }
        });
    }

    fn array(&mut self, out: &mut Vec<u8>) {
        let values = self.values(']');
        let values: Vec<Value<'_>> = values.iter().map(|value| Value::decode(value).expect("an element")).collect();
        let texts: Vec<&str> = values.iter().map(|value| value.as_text().expect("an array of texts")).collect();
        match values.first() {
            Some(Value::String(_)) => put_strings(&texts, out),
            _ => put_symbols(&texts, out),
        }
    }

    fn value(&mut self, out: &mut Vec<u8>) {
        match self.peek().expect("a value") {
            '{' => return self.list(out),
            '[' => return self.array(out),
            '"' => return put_value(&Value::String(&self.quoted()), out),
            _ => {}
        }
        let word = self.word();
        match (word.as_str(), self.rest.peek().copied()) {
            ("b", Some('"')) => put_value(&Value::Binary(self.quoted().as_bytes()), out),
            ("map", Some('{')) => self.map(out),
            ("described", Some('(')) => {
                self.take('(');
                self.peek();
                let name = self.word();
                put_described(Descriptor::Name(name.trim_start_matches(':')), out, |out| {
                    self.peek();
                    self.value(out);
                });
                self.take(')');
            }
            _ => self.word_value(&word, out),
        }
    }

    fn word_value(&mut self, word: &str, out: &mut Vec<u8>) {
        if let Some((_, code)) = NAMES.iter().find(|(name, _)| *name == word) {
            return put_described(Descriptor::Code(*code), out, |out| self.value(out));
        }
        let value = match word {
            "NULL" => Value::Null,
            "true" => Value::Boolean(true),
            "false" => Value::Boolean(false),
            "list0" => return out.push(0x45),
            _ if word.starts_with(':') => return put_value(&Value::Symbol(&word[1..]), out),
            _ if word.starts_with("0x") => return put_value(&Value::Binary(&hexadecimal(&word[2..])), out),
            _ if word.starts_with("uuid:") => Value::Uuid(hexadecimal(&word[5..]).try_into().expect("16 bytes")),
            _ if word.starts_with("time:") => Value::Timestamp(word[5..].parse().expect("milliseconds")),
            _ => number(word),
        };
        put_value(&value, out);
    }
}

fn number(word: &str) -> Value<'static> {
    let digits = word.trim_end_matches(|letter: char| letter.is_ascii_lowercase());
    let parsed: i128 = digits.parse().unwrap_or_else(|_| panic!("{word} is no value"));
    match &word[digits.len()..] {
        "" => Value::UInt(parsed.try_into().expect("a uint")),
        "ub" => Value::UByte(parsed.try_into().expect("a ubyte")),
        "us" => Value::UShort(parsed.try_into().expect("a ushort")),
        "ul" => Value::ULong(parsed.try_into().expect("a ulong")),
        "i" => Value::Int(parsed.try_into().expect("an int")),
        "l" => Value::Long(parsed.try_into().expect("a long")),
        _ => panic!("{word} is no value"),
    }
}

pub fn hexadecimal(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|digit| !digit.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).expect("hexadecimal digits");
    digits.chunks(2).map(byte).collect()
}

/// What goes over the wire for a line: `amqp`, `sasl`, `heartbeat`, `hex 00..`, or a frame: `0 begin{...}` with its channel,
/// `sasl-init{...}` without, and behind `|` a payload: sections of a message, `bytes 500`, or `hex 00..`.
pub fn wire(line: &str) -> Vec<u8> {
    match line {
        "amqp" => return AMQP_HEADER.to_vec(),
        "sasl" => return SASL_HEADER.to_vec(),
        "heartbeat" => return hexadecimal("0000000802000000"),
        _ => {}
    }
    if let Some(bytes) = line.strip_prefix("hex ") {
        return hexadecimal(bytes);
    }
    let (kind, channel, rest) = match line.split_once(' ') {
        Some((channel, rest)) if channel.parse::<u16>().is_ok() => (0, channel.parse().expect("a channel"), rest),
        _ => (1, 0_u16, line),
    };
    let (performative, payload) = rest.split_once(" | ").unwrap_or((rest, ""));
    let mut body = encode(performative);
    match payload.split_once(' ') {
        Some(("bytes", count)) => body.extend(std::iter::repeat_n(b'x', count.parse().expect("a number"))),
        Some(("hex", bytes)) => body.extend(hexadecimal(bytes)),
        _ => body.extend(encode(payload)),
    }
    let size = (body.len() as u32 + 8).to_be_bytes();
    let [c0, c1] = channel.to_be_bytes();
    [size.as_slice(), &[2, kind, c0, c1], &body].concat()
}

/// The value as text.
pub fn describe(value: &Value<'_>) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Boolean(flag) => flag.to_string(),
        Value::UByte(number) => format!("{number}ub"),
        Value::UShort(number) => format!("{number}us"),
        Value::UInt(number) => number.to_string(),
        Value::ULong(number) => format!("{number}ul"),
        Value::Int(number) => format!("{number}i"),
        Value::Long(number) => format!("{number}l"),
        Value::Timestamp(milliseconds) => format!("time:{milliseconds}"),
        Value::Uuid(bytes) => format!("uuid:{}", hex(bytes)),
        Value::Binary(bytes) => binary(bytes),
        Value::String(text) => format!("\"{text}\""),
        Value::Symbol(text) => format!(":{text}"),
        Value::List(list) => format!("{{{}}}", join(list.iter())),
        Value::Array(array) => format!("[{}]", join(array.iter())),
        Value::Map(map) => {
            let entry = |(key, value): (Value<'_>, Value<'_>)| format!("{}: {}", describe(&key), describe(&value));
            format!("map{{{}}}", map.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        Value::Described(described) => {
            let name = NAMES.iter().find(|(_, code)| described.descriptor == Descriptor::Code(*code));
            match (name, described.value()) {
                (Some((name, _)), value @ Value::List(_)) => format!("{name}{}", describe(&value)),
                (Some((name, _)), value) => format!("{name} {}", describe(&value)),
                (None, value) => format!("described({:?}, {})", described.descriptor, describe(&value)),
            }
        }
        other => format!("{other:?}"),
    }
}

fn join<'a>(values: impl Iterator<Item = Value<'a>>) -> String {
    values.map(|value| describe(&value)).collect::<Vec<_>>().join(", ")
}

fn binary(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(|letter| letter == ' ' || letter.is_ascii_graphic() && letter != '"') => {
            format!("b\"{text}\"")
        }
        _ => format!("0x{}", hex(bytes)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
