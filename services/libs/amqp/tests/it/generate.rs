//! Any values, any frames. Fields whose null means a default are never given that default in words, so that a codec which
//! writes null for it says the same.

use std::{collections::BTreeMap, sync::Arc};

use amqp::{
    Attach, AttachTarget, Begin, Close, DeliveryState, DeliveryTag, Descriptor, Detach, Disposition, End, Error,
    Fields, Flow, Modified, Open, Performative, Received, ReceiverSettleMode, Role, SenderSettleMode, Source, Symbol,
    Symbols, Target, Transfer, Value, put_described, put_list, put_map, put_strings, put_symbols, put_value,
};
use proptest::{collection::vec, option::of, prelude::*, sample::select};

/// A value that owns its parts.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
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
    Decimal32([u8; 4]),
    Decimal64([u8; 8]),
    Decimal128([u8; 16]),
    Char(char),
    Timestamp(i64),
    Uuid([u8; 16]),
    Binary(Vec<u8>),
    String(String),
    Symbol(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Strings(Vec<String>),
    Symbols(Vec<String>),
    Described(Result<u64, String>, Box<Node>),
}

impl Node {
    pub fn encode(&self, out: &mut Vec<u8>) {
        let value = match self {
            Self::Null => Value::Null,
            Self::Boolean(value) => Value::Boolean(*value),
            Self::UByte(value) => Value::UByte(*value),
            Self::UShort(value) => Value::UShort(*value),
            Self::UInt(value) => Value::UInt(*value),
            Self::ULong(value) => Value::ULong(*value),
            Self::Byte(value) => Value::Byte(*value),
            Self::Short(value) => Value::Short(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Long(value) => Value::Long(*value),
            Self::Float(value) => Value::Float(*value),
            Self::Double(value) => Value::Double(*value),
            Self::Decimal32(value) => Value::Decimal32(*value),
            Self::Decimal64(value) => Value::Decimal64(*value),
            Self::Decimal128(value) => Value::Decimal128(*value),
            Self::Char(value) => Value::Char(*value),
            Self::Timestamp(value) => Value::Timestamp(*value),
            Self::Uuid(value) => Value::Uuid(*value),
            Self::Binary(value) => Value::Binary(value),
            Self::String(value) => Value::String(value),
            Self::Symbol(value) => Value::Symbol(value),
            Self::Strings(values) => return put_strings(values, out),
            Self::Symbols(values) => return put_symbols(values, out),
            Self::List(nodes) => {
                return put_list(out, |list| nodes.iter().for_each(|node| list.item_with(|out| node.encode(out))));
            }
            Self::Map(pairs) => {
                return put_map(out, |map| {
                    for (key, node) in pairs {
                        map.entry_with(&Value::decode(&key.encoded()).expect("a key"), |out| node.encode(out));
                    }
                });
            }
            Self::Described(descriptor, node) => {
                let descriptor = match descriptor {
                    Ok(code) => Descriptor::Code(*code),
                    Err(name) => Descriptor::Name(name),
                };
                return put_described(descriptor, out, |out| node.encode(out));
            }
        };
        put_value(&value, out);
    }

    pub fn encoded(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    pub fn of(value: &Value<'_>) -> Self {
        match *value {
            Value::Null => Self::Null,
            Value::Boolean(value) => Self::Boolean(value),
            Value::UByte(value) => Self::UByte(value),
            Value::UShort(value) => Self::UShort(value),
            Value::UInt(value) => Self::UInt(value),
            Value::ULong(value) => Self::ULong(value),
            Value::Byte(value) => Self::Byte(value),
            Value::Short(value) => Self::Short(value),
            Value::Int(value) => Self::Int(value),
            Value::Long(value) => Self::Long(value),
            Value::Float(value) => Self::Float(value),
            Value::Double(value) => Self::Double(value),
            Value::Decimal32(value) => Self::Decimal32(value),
            Value::Decimal64(value) => Self::Decimal64(value),
            Value::Decimal128(value) => Self::Decimal128(value),
            Value::Char(value) => Self::Char(value),
            Value::Timestamp(value) => Self::Timestamp(value),
            Value::Uuid(value) => Self::Uuid(value),
            Value::Binary(value) => Self::Binary(value.to_vec()),
            Value::String(value) => Self::String(value.to_owned()),
            Value::Symbol(value) => Self::Symbol(value.to_owned()),
            Value::List(list) => Self::List(list.iter().map(|value| Self::of(&value)).collect()),
            Value::Map(map) => Self::Map(map.iter().map(|(key, value)| (Self::of(&key), Self::of(&value))).collect()),
            Value::Array(array) => {
                let texts = || array.iter().filter_map(|value| value.as_text().map(str::to_owned)).collect();
                match array.iter().next() {
                    Some(Value::String(_)) => Self::Strings(texts()),
                    _ => Self::Symbols(texts()),
                }
            }
            Value::Described(described) => {
                let descriptor = match described.descriptor {
                    Descriptor::Code(code) => Ok(code),
                    Descriptor::Name(name) => Err(name.to_owned()),
                };
                Self::Described(descriptor, Box::new(Self::of(&described.value())))
            }
        }
    }
}

pub fn symbol() -> impl Strategy<Value = String> {
    "[ -~]{0,12}"
}

fn leaf() -> impl Strategy<Value = Node> {
    prop_oneof![
        Just(Node::Null),
        any::<bool>().prop_map(Node::Boolean),
        any::<u8>().prop_map(Node::UByte),
        any::<u16>().prop_map(Node::UShort),
        prop_oneof![0_u32..300, any::<u32>()].prop_map(Node::UInt),
        prop_oneof![0_u64..300, any::<u64>()].prop_map(Node::ULong),
        any::<i8>().prop_map(Node::Byte),
        any::<i16>().prop_map(Node::Short),
        prop_oneof![-200_i32..200, any::<i32>()].prop_map(Node::Int),
        prop_oneof![-200_i64..200, any::<i64>()].prop_map(Node::Long),
        any::<f32>().prop_map(Node::Float),
        any::<f64>().prop_map(Node::Double),
        any::<[u8; 4]>().prop_map(Node::Decimal32),
        any::<[u8; 8]>().prop_map(Node::Decimal64),
        any::<[u8; 16]>().prop_map(Node::Decimal128),
        any::<char>().prop_map(Node::Char),
        any::<i64>().prop_map(Node::Timestamp),
        any::<[u8; 16]>().prop_map(Node::Uuid),
        vec(any::<u8>(), 0..300).prop_map(Node::Binary),
        ".{0,100}".prop_map(Node::String),
        symbol().prop_map(Node::Symbol),
        // ASCII only: serde_amqp 0.18 counts characters where it should count bytes.
        vec(symbol(), 1..4).prop_map(Node::Strings),
        vec(symbol(), 1..4).prop_map(Node::Symbols),
    ]
}

/// A value of any type; keys of maps are texts, each there once.
pub fn node() -> impl Strategy<Value = Node> {
    leaf().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Node::List),
            proptest::collection::btree_map(".{0,8}", inner.clone(), 0..4).prop_map(map),
            (prop_oneof![any::<u64>().prop_map(Ok), symbol().prop_map(Err)], inner)
                .prop_map(|(descriptor, node)| Node::Described(descriptor, Box::new(node))),
        ]
    })
}

fn map(pairs: BTreeMap<String, Node>) -> Node {
    Node::Map(pairs.into_iter().map(|(key, node)| (Node::String(key), node)).collect())
}

/// The id of a message.
pub fn id() -> impl Strategy<Value = Node> {
    prop_oneof![
        ".{0,20}".prop_map(Node::String),
        any::<u64>().prop_map(Node::ULong),
        any::<[u8; 16]>().prop_map(Node::Uuid),
        vec(any::<u8>(), 0..20).prop_map(Node::Binary),
    ]
}

fn fields() -> impl Strategy<Value = Option<Fields>> {
    let pairs = proptest::collection::btree_map("[a-z:-]{1,12}", leaf(), 1..4);
    of(pairs.prop_map(|pairs| {
        Fields::new(|map| {
            for (key, node) in &pairs {
                map.entry_with(&Value::Symbol(key), |out| node.encode(out));
            }
        })
    }))
}

fn symbols() -> impl Strategy<Value = Option<Symbols>> {
    let known = select(vec!["amqp:accepted:list", "amqp:rejected:list", "com.microsoft:georeplication"]);
    of(vec(known.prop_map(Symbol::new), 1..4).prop_map(Symbols))
}

fn text() -> impl Strategy<Value = Option<String>> {
    of(".{0,40}")
}

pub fn error() -> impl Strategy<Value = Error> {
    let condition =
        select(vec![amqp::condition::NOT_FOUND, amqp::condition::LINK_STOLEN, amqp::condition::FRAMING_ERROR]);
    (condition, text(), fields()).prop_map(|(condition, description, info)| Error {
        condition: condition.into(),
        description,
        info,
    })
}

pub fn delivery_state() -> impl Strategy<Value = DeliveryState> {
    let yes = || of(Just(true));
    prop_oneof![
        Just(DeliveryState::Accepted),
        Just(DeliveryState::Released),
        of(error()).prop_map(|error| DeliveryState::Rejected(error.map(Arc::new))),
        (yes(), yes(), fields()).prop_map(|(delivery_failed, undeliverable_here, message_annotations)| {
            DeliveryState::Modified(Arc::new(Modified { delivery_failed, undeliverable_here, message_annotations }))
        }),
        (any::<u32>(), any::<u64>()).prop_map(|(section_number, section_offset)| {
            DeliveryState::Received(Received { section_number, section_offset })
        }),
    ]
}

fn source() -> impl Strategy<Value = Source> {
    (text(), of(1_u32..3), of(Just("never")), of(1_u32..900), of(Just(true)), fields(), of(Just("copy")), symbols())
        .prop_map(
            |(
                address,
                durable,
                expiry_policy,
                timeout,
                dynamic,
                dynamic_node_properties,
                distribution_mode,
                outcomes,
            )| Source {
                address,
                durable,
                expiry_policy: expiry_policy.map(Symbol::new),
                timeout,
                dynamic,
                dynamic_node_properties,
                distribution_mode: distribution_mode.map(Symbol::new),
                filter: None,
                default_outcome: None,
                outcomes,
                capabilities: None,
            },
        )
}

fn target() -> impl Strategy<Value = AttachTarget> {
    (text(), of(1_u32..3), of(Just("never")), of(1_u32..900), of(Just(true)), symbols()).prop_map(
        |(address, durable, expiry_policy, timeout, dynamic, capabilities)| {
            AttachTarget::Target(Target {
                address,
                durable,
                expiry_policy: expiry_policy.map(Symbol::new),
                timeout,
                dynamic,
                dynamic_node_properties: None,
                capabilities,
            })
        },
    )
}

fn role() -> impl Strategy<Value = Role> {
    select(vec![Role::Sender, Role::Receiver])
}

fn attach() -> impl Strategy<Value = Attach> {
    let sender_mode = select(vec![SenderSettleMode::Unsettled, SenderSettleMode::Settled]);
    let head = (".{0,40}", any::<u32>(), role(), of(sender_mode), of(Just(ReceiverSettleMode::Second)));
    let tail = (of(source()), of(target()), of(any::<u32>()), of(any::<u64>()), symbols(), symbols(), fields());
    (head, tail).prop_map(|((name, handle, role, snd_settle_mode, rcv_settle_mode), tail)| {
        let (source, target, initial_delivery_count, max_message_size, offered, desired, properties) = tail;
        Attach {
            handle,
            snd_settle_mode,
            rcv_settle_mode,
            source,
            target,
            initial_delivery_count,
            max_message_size,
            offered_capabilities: offered,
            desired_capabilities: desired,
            properties,
            ..Attach::new(name, role)
        }
    })
}

fn open() -> impl Strategy<Value = Open> {
    let numbers = (of(0..u32::MAX), of(0..u16::MAX), of(any::<u32>()));
    (".{0,40}", text(), numbers, symbols(), symbols(), fields()).prop_map(
        |(container_id, hostname, (max_frame_size, channel_max, idle_time_out), offered, desired, properties)| Open {
            container_id,
            hostname,
            max_frame_size,
            channel_max,
            idle_time_out,
            outgoing_locales: None,
            incoming_locales: None,
            offered_capabilities: offered,
            desired_capabilities: desired,
            properties,
        },
    )
}

fn begin() -> impl Strategy<Value = Begin> {
    let numbers = (of(any::<u16>()), any::<u32>(), any::<u32>(), any::<u32>(), of(0..u32::MAX));
    (numbers, symbols(), fields()).prop_map(|(numbers, offered_capabilities, properties)| {
        let (remote_channel, next_outgoing_id, incoming_window, outgoing_window, handle_max) = numbers;
        Begin {
            remote_channel,
            next_outgoing_id,
            incoming_window,
            outgoing_window,
            handle_max,
            offered_capabilities,
            desired_capabilities: None,
            properties,
        }
    })
}

fn flow() -> impl Strategy<Value = Flow> {
    let session = (of(any::<u32>()), any::<u32>(), any::<u32>(), any::<u32>());
    let number = || of(any::<u32>());
    (session, number(), number(), number(), number(), of(Just(true)), any::<bool>(), fields()).prop_map(
        |(session, handle, delivery_count, link_credit, available, drain, echo, properties)| Flow {
            next_incoming_id: session.0,
            incoming_window: session.1,
            next_outgoing_id: session.2,
            outgoing_window: session.3,
            handle,
            delivery_count,
            link_credit,
            available,
            drain,
            echo,
            properties,
        },
    )
}

fn transfer() -> impl Strategy<Value = Transfer> {
    let tag = vec(any::<u8>(), 0..=DeliveryTag::BYTES_MAX).prop_map(|tag| DeliveryTag::new(&tag));
    let head = (any::<u32>(), of(any::<u32>()), tag, of(any::<u32>()), of(any::<bool>()), any::<bool>());
    let yes = || of(Just(true));
    (head, of(Just(ReceiverSettleMode::Second)), of(delivery_state()), yes(), yes(), yes()).prop_map(
        |(
            (handle, delivery_id, delivery_tag, message_format, settled, more),
            mode,
            state,
            resume,
            aborted,
            batchable,
        )| {
            Transfer {
                handle,
                delivery_id,
                delivery_tag,
                message_format,
                settled,
                more,
                rcv_settle_mode: mode,
                state,
                resume,
                aborted,
                batchable,
            }
        },
    )
}

fn disposition() -> impl Strategy<Value = Disposition> {
    (role(), any::<u32>(), of(any::<u32>()), any::<bool>(), of(delivery_state()), of(Just(true))).prop_map(
        |(role, first, last, settled, state, batchable)| Disposition { role, first, last, settled, state, batchable },
    )
}

pub fn performative() -> impl Strategy<Value = Performative> {
    prop_oneof![
        open().prop_map(|open| Performative::Open(Box::new(open))),
        begin().prop_map(|begin| Performative::Begin(Box::new(begin))),
        attach().prop_map(|attach| Performative::Attach(Box::new(attach))),
        flow().prop_map(|flow| Performative::Flow(Box::new(flow))),
        transfer().prop_map(Performative::Transfer),
        disposition().prop_map(Performative::Disposition),
        (any::<u32>(), any::<bool>(), of(error())).prop_map(|(handle, closed, error)| Performative::Detach(Detach {
            handle,
            closed,
            error
        })),
        of(error()).prop_map(|error| Performative::End(End { error })),
        of(error()).prop_map(|error| Performative::Close(Close { error })),
    ]
}
