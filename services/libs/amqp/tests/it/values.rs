//! Every encoding of every type, and what is refused.

use amqp::{
    Body, DEPTH_MAX, Descriptor, Fields, Malformed, Message, MessageWriter, Properties, Source, SymbolText, Value,
    ZERO_WIDTH_ELEMENTS_MAX, put_described, put_list, put_value,
};

/// All ways to write a value, the one we write first.
#[test]
fn every_encoding_is_read_and_the_shortest_is_written() {
    let cases: &[(Value<'_>, &[&[u8]])] = &[
        (Value::Null, &[&[0x40]]),
        (Value::Boolean(true), &[&[0x41], &[0x56, 1]]),
        (Value::Boolean(false), &[&[0x42], &[0x56, 0]]),
        (Value::UByte(7), &[&[0x50, 7]]),
        (Value::UShort(258), &[&[0x60, 1, 2]]),
        (Value::UInt(0), &[&[0x43], &[0x52, 0], &[0x70, 0, 0, 0, 0]]),
        (Value::UInt(255), &[&[0x52, 255], &[0x70, 0, 0, 0, 255]]),
        (Value::UInt(256), &[&[0x70, 0, 0, 1, 0]]),
        (Value::ULong(0), &[&[0x44], &[0x53, 0], &[0x80, 0, 0, 0, 0, 0, 0, 0, 0]]),
        (Value::ULong(9), &[&[0x53, 9], &[0x80, 0, 0, 0, 0, 0, 0, 0, 9]]),
        (Value::ULong(1 << 40), &[&[0x80, 0, 0, 1, 0, 0, 0, 0, 0]]),
        (Value::Byte(-1), &[&[0x51, 255]]),
        (Value::Short(-2), &[&[0x61, 255, 254]]),
        (Value::Int(-3), &[&[0x54, 253], &[0x71, 255, 255, 255, 253]]),
        (Value::Int(200), &[&[0x71, 0, 0, 0, 200]]),
        (Value::Long(-128), &[&[0x55, 128], &[0x81, 255, 255, 255, 255, 255, 255, 255, 128]]),
        (Value::Long(128), &[&[0x81, 0, 0, 0, 0, 0, 0, 0, 128]]),
        (Value::Float(1.0), &[&[0x72, 0x3f, 0x80, 0, 0]]),
        (Value::Double(1.0), &[&[0x82, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0]]),
        (Value::Decimal32([1, 2, 3, 4]), &[&[0x74, 1, 2, 3, 4]]),
        (Value::Decimal64([9; 8]), &[&[0x84, 9, 9, 9, 9, 9, 9, 9, 9]]),
        (Value::Decimal128([7; 16]), &[&[0x94, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7]]),
        (Value::Char('é'), &[&[0x73, 0, 0, 0, 0xe9]]),
        (Value::Timestamp(1), &[&[0x83, 0, 0, 0, 0, 0, 0, 0, 1]]),
        (Value::Uuid([5; 16]), &[&[0x98, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5]]),
        (Value::Binary(b"ab"), &[b"\xa0\x02ab", b"\xb0\0\0\0\x02ab"]),
        (Value::String("é"), &[b"\xa1\x02\xc3\xa9", b"\xb1\0\0\0\x02\xc3\xa9"]),
        (Value::Symbol("ab"), &[b"\xa3\x02ab", b"\xb3\0\0\0\x02ab"]),
    ];
    for (value, encodings) in cases {
        for encoding in *encodings {
            assert_eq!(Value::decode(encoding).as_ref(), Ok(value), "{encoding:02x?}");
            assert_eq!(Value::decode(&encoding[..encoding.len() - 1]), Err(Malformed::Truncated), "{encoding:02x?}");
        }
        assert_eq!(encoded(value), encodings[0]);
    }
}

#[test]
fn lists_maps_and_arrays_in_both_widths() {
    let list = [b"\x45".as_slice(), b"\xc0\x01\x00", b"\xd0\0\0\0\x04\0\0\0\0"];
    for encoding in list {
        let Ok(Value::List(list)) = Value::decode(encoding) else { panic!("{encoding:02x?}") };
        assert!(list.is_empty());
        assert_eq!(encoded(&Value::List(list)), b"\xc0\x01\x00", "never the empty-list constructor (amqp R2)");
    }
    for encoding in [b"\xc1\x06\x02\xa1\x01k\x52\x05".as_slice(), b"\xd1\0\0\0\x0b\0\0\0\x02\xb3\0\0\0\x01k\x43"] {
        let Ok(Value::Map(map)) = Value::decode(encoding) else { panic!("{encoding:02x?}") };
        assert!(map.get("k").is_some(), "{encoding:02x?}");
        assert_eq!(map.get("x"), None);
    }
    for encoding in [b"\xe0\x06\x02\xa3\x01a\x01b".as_slice(), b"\xf0\0\0\0\x09\0\0\0\x02\xa3\x01a\x01b"] {
        let Ok(Value::Array(array)) = Value::decode(encoding) else { panic!("{encoding:02x?}") };
        assert_eq!(array.iter().collect::<Vec<_>>(), [Value::Symbol("a"), Value::Symbol("b")]);
    }
    for texts in [["é", ""], ["é", &"x".repeat(256)]] {
        let mut encoding = Vec::new();
        amqp::put_strings(&texts, &mut encoding);
        let Ok(Value::Array(array)) = Value::decode(&encoding) else { panic!("{encoding:02x?}") };
        assert_eq!(array.iter().collect::<Vec<_>>(), texts.map(Value::String));
    }
}

#[test]
fn described_values_by_number_and_by_name_alone_and_in_arrays() {
    let selector = b"\x00\xa3\x03a:b\xa1\x01x";
    let Ok(Value::Described(described)) = Value::decode(selector) else { panic!("not described") };
    assert_eq!((described.descriptor, described.value()), (Descriptor::Name("a:b"), Value::String("x")));
    assert_eq!(encoded(&Value::Described(described)), selector);
    let twice = b"\x00\x53\x01\x00\x53\x02\x41";
    let Ok(Value::Described(outer)) = Value::decode(twice) else { panic!("not described") };
    let Value::Described(inner) = outer.value() else { panic!("not described twice") };
    assert_eq!((inner.descriptor, inner.value()), (Descriptor::Code(2), Value::Boolean(true)));
    // An array of values that are described: the descriptor stands in the constructor, once.
    let array = b"\xe0\x07\x02\x00\x53\x09\x50\x01\x02";
    let Ok(Value::Array(array)) = Value::decode(array) else { panic!("no array") };
    let values: Vec<_> = array
        .iter()
        .map(|value| match value {
            Value::Described(described) => (described.descriptor, described.value()),
            other => panic!("{other:?}"),
        })
        .collect();
    let nine = Descriptor::Code(9);
    assert_eq!(values, [(nine, Value::UByte(1)), (nine, Value::UByte(2))]);
}

#[test]
fn what_is_not_amqp_is_refused() {
    let cases: &[(&[u8], Malformed)] = &[
        (b"", Malformed::Truncated),
        (b"\x41\x41", Malformed::TrailingBytes),
        (b"\x57", Malformed::Constructor(0x57)),
        (b"\x56\x02", Malformed::NotBoolean),
        (b"\x73\x00\x11\x00\x00", Malformed::NotCharacter(0x11_0000)),
        (b"\xa1\x01\xff", Malformed::NotUtf8),
        (b"\xa3\x02\xc3\xa9", Malformed::NotAscii),
        (b"\xb0\xff\xff\xff\xff", Malformed::Truncated),
        (b"\xd0\xff\xff\xff\xff\xff\xff\xff\xff", Malformed::Truncated),
        // More elements than bytes; fewer elements than bytes; no place for the count.
        (b"\xc0\x02\x05\x40", Malformed::Truncated),
        (b"\xc0\x03\x01\x40\x40", Malformed::TrailingBytes),
        (b"\xc0\x00", Malformed::Truncated),
        (b"\xc1\x02\x01\x40", Malformed::OddMap),
        (b"\xe0\x04\x01\x00\x53\x01", Malformed::Truncated),
        (b"\x00\xa1\x01a\x40", Malformed::Descriptor),
        (b"\x00\x00\x53\x01\x40\x40", Malformed::Descriptor),
    ];
    for (bytes, malformed) in cases {
        assert_eq!(Value::decode(bytes), Err(*malformed), "{bytes:02x?}");
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |levels: usize| {
        (0..levels).fold(vec![0x40], |inner, _| {
            let mut outer = Vec::new();
            put_list(&mut outer, |list| list.item_with(|out| out.extend_from_slice(&inner)));
            outer
        })
    };
    assert!(Value::decode(&nested(usize::from(DEPTH_MAX))).is_ok());
    assert_eq!(Value::decode(&nested(usize::from(DEPTH_MAX) + 1)), Err(Malformed::TooDeep));
    let described = [b"\x00\x53\x01".repeat(100_000), vec![0x40]].concat();
    assert_eq!(Value::decode(&described), Err(Malformed::TooDeep));
}

/// Four billion nulls in eleven bytes.
#[test]
fn an_array_of_nothing_is_bounded() {
    let array = |count: u32| [&[0xf0, 0, 0, 0, 5], count.to_be_bytes().as_slice(), &[0x40]].concat();
    let most = array(ZERO_WIDTH_ELEMENTS_MAX);
    let Ok(Value::Array(nulls)) = Value::decode(&most) else { panic!("no array") };
    assert_eq!(nulls.iter().count(), ZERO_WIDTH_ELEMENTS_MAX as usize);
    assert_eq!(Value::decode(&array(u32::MAX)), Err(Malformed::TooManyElements(u32::MAX)));
}

#[test]
fn a_message_has_its_sections_in_any_order() {
    let mut payload = Vec::new();
    let properties = Properties { content_type: Some(SymbolText("application/json")), ..Properties::default() };
    MessageWriter::new(&mut payload)
        .data(b"first")
        .application_properties(|map| map.string("colour", &Value::String("red")))
        .properties(&properties)
        .data(b"second")
        .message_annotations(|map| map.symbol("iothub-interface-id", &Value::String("i")));
    let message = Message::decode(&payload).unwrap();
    assert_eq!(message.properties, Some(properties));
    assert_eq!(message.application_properties.unwrap().get("colour"), Some(Value::String("red")));
    assert_eq!(message.message_annotations.unwrap().len(), 1);
    let Body::Data(data) = message.body else { panic!("no data") };
    assert_eq!(data.iter().collect::<Vec<_>>(), [b"first".as_slice(), b"second"]);
    assert_eq!(message.body.data(), None, "there are two");
}

#[test]
fn content_types_are_read_from_strings_and_written_as_symbols() {
    // properties {.., content-type: "a/b" as a string}
    let payload = b"\x00\x53\x73\xc0\x0c\x07\x40\x40\x40\x40\x40\x40\xa1\x03a/b";
    let properties = Message::decode(payload).unwrap().properties.unwrap();
    assert_eq!(properties.content_type, Some(SymbolText("a/b")));
    let mut again = Vec::new();
    MessageWriter::new(&mut again).properties(&properties);
    assert!(again.windows(5).any(|window| window == b"\xa3\x03a/b"), "{again:02x?}");
}

#[test]
fn sections_come_once_and_bodies_are_of_one_kind() {
    let twice = |write: fn(MessageWriter<'_>) -> MessageWriter<'_>| {
        let mut payload = Vec::new();
        write(MessageWriter::new(&mut payload));
        Message::decode(&payload).unwrap_err()
    };
    assert_eq!(
        twice(|writer| writer.properties(&Properties::default()).properties(&Properties::default())),
        Malformed::SecondSection(0x73)
    );
    assert_eq!(twice(|writer| writer.value(&Value::Null).value(&Value::Null)), Malformed::SecondSection(0x77));
    assert_eq!(twice(|writer| writer.value(&Value::Null).data(b"")), Malformed::TwoBodies);
    let list_as_id = b"\x00\x53\x73\xc0\x02\x01\x45";
    assert_eq!(Message::decode(list_as_id), Err(Malformed::Field("message_id")));
    let names = b"\x00\xa3\x10amqp:data:binary\xa0\x01x";
    assert_eq!(Message::decode(names).unwrap().body.data(), Some(b"x".as_slice()), "sections by name");
    assert_eq!(
        Message::decode(b"\x00\x53\x10\x45").unwrap_err().to_string(),
        "a value described as 0x10 stands where a section of a message should"
    );
}

#[test]
fn filters_are_described_by_name_or_number_or_named_by_their_key() {
    const NAME: &str = "apache.org:selector-filter:string";
    const CODE: u64 = 0x468c_0000_0004;
    for (key, descriptor, is_found) in [
        (NAME, Some(Descriptor::Name(NAME)), true),
        (NAME, Some(Descriptor::Code(CODE)), true),
        (NAME, Some(Descriptor::Code(1)), true),
        (NAME, None, true),
        ("selector", Some(Descriptor::Name(NAME)), true),
        ("jms-selector", Some(Descriptor::Code(CODE)), true),
        ("selector", Some(Descriptor::Code(1)), false),
        ("selector", None, false),
    ] {
        let filter = Fields::new(|map| {
            map.symbol("other", &Value::Int(1));
            map.entry_with(&Value::Symbol(key), |out| match descriptor {
                Some(descriptor) => put_described(descriptor, out, |out| put_value(&Value::String("x > 1"), out)),
                None => put_value(&Value::String("x > 1"), out),
            });
        });
        let source = Source { filter: Some(filter), ..Source::at("a") };
        let expected = is_found.then_some(Value::String("x > 1"));
        assert_eq!(source.filter_value(NAME, CODE), expected, "{key} {descriptor:?}");
    }
    assert_eq!(Source::at("a").filter_value(NAME, CODE), None);
}

#[test]
fn a_symbol_that_is_not_ascii_is_written_as_a_string() {
    assert_eq!(encoded(&Value::Symbol("é")), encoded(&Value::String("é")));
}

fn encoded(value: &Value<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    put_value(value, &mut out);
    out
}
