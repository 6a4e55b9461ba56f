//! What a message costs the protocol: `cargo bench -p amqp --bench hot_path`. Telemetry comes in, unsettled, 256 bytes
//! with three properties, a hundred in one read, and is accepted; events go out settled, or unsettled and are accepted.
#![allow(clippy::unwrap_used, reason = "a failure ends the benchmark")]

use std::{hint::black_box, sync::Arc, time::Instant};

use amqp::{
    Attach, AttachTarget, Config, Connection, DeliveryState, DeliveryTag, Event, LinkId, MESSAGE_FORMAT, Message,
    MessageWriter, Outgoing, Properties, Role, SymbolText, Target, Value,
};
use bytes::BytesMut;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const MESSAGES: usize = 100;

struct Pair {
    client: Connection,
    server: Connection,
    /// Ids at the client and at the server: a link on which the client sends, and one on which it receives.
    up: (LinkId, LinkId),
    down: (LinkId, LinkId),
    now: Instant,
}

fn carry(from: &mut Connection, to: &mut Connection, now: Instant, mut act: impl FnMut(&mut Connection, Event)) {
    let mut input = BytesMut::from(from.output());
    from.consume_output(input.len(), now);
    while let Some(event) = to.receive(&mut input, now).unwrap() {
        act(to, event);
    }
}

impl Pair {
    fn new() -> Self {
        let now = Instant::now();
        let config = Arc::new(Config { output_bytes_max: 1 << 20, ..Config::default() });
        let mut client = Connection::client(config.clone(), None, now);
        let mut server = Connection::server(config, now);
        client.open();
        carry(&mut client, &mut server, now, |server, _| server.open());
        carry(&mut server, &mut client, now, |_, _| {});
        let session = client.begin().unwrap();
        let attach = |name: &str, role| Attach {
            target: Some(AttachTarget::Target(Target::at(name))),
            ..Attach::new(name, role)
        };
        let up = client.attach(session, attach("up", Role::Sender), 0).unwrap();
        let down = client.attach(session, attach("down", Role::Receiver), 1000).unwrap();
        let mut asked = Vec::new();
        carry(&mut client, &mut server, now, |server, event| {
            if let Event::Attach { link, attach } = event {
                server.accept(link, attach.answer(), 1000);
                asked.push(link);
            }
        });
        carry(&mut server, &mut client, now, |_, _| {});
        carry(&mut client, &mut server, now, |_, _| {});
        Self { client, server, up: (up, asked[0]), down: (down, asked[1]), now }
    }
}

fn telemetry() -> Vec<u8> {
    let properties = Properties {
        to: Some("/devices/d1/messages/events"),
        content_type: Some(SymbolText("application/json")),
        ..Properties::default()
    };
    let mut payload = Vec::new();
    MessageWriter::new(&mut payload)
        .properties(&properties)
        .application_properties(|map| {
            for (key, value) in [("alert", "false"), ("colour", "red"), ("room", "kitchen")] {
                map.string(key, &Value::String(value));
            }
        })
        .data(&[b'x'; 256]);
    payload
}

fn send_all(connection: &mut Connection, link: LinkId, payload: &[u8], settled: bool) {
    for number in 0..MESSAGES {
        let tag = DeliveryTag::from([number as u8; 16]);
        connection.send(link, &Outgoing { tag, message_format: MESSAGE_FORMAT, settled, payload }).unwrap();
    }
}

/// A hundred messages as they come out of one read.
fn receive_and_accept(c: &mut Criterion) {
    let payload = telemetry();
    let mut group = c.benchmark_group("telemetry");
    group.throughput(Throughput::Elements(MESSAGES as u64));
    for (name, is_decoded) in [("received and accepted", false), ("received, decoded and accepted", true)] {
        let mut pair = Pair::new();
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| {
                let mut elapsed = std::time::Duration::ZERO;
                for _ in 0..rounds {
                    send_all(&mut pair.client, pair.up.0, &payload, false);
                    let mut input = BytesMut::from(pair.client.output());
                    pair.client.consume_output(input.len(), pair.now);
                    let start = Instant::now();
                    while let Some(event) = pair.server.receive(&mut input, pair.now).unwrap() {
                        let Event::Delivery(delivery) = event else { continue };
                        if is_decoded {
                            black_box(Message::decode(&delivery.payload).unwrap());
                        }
                        pair.server.settle(delivery.link, delivery.id, DeliveryState::Accepted);
                    }
                    black_box(pair.server.output());
                    elapsed += start.elapsed();
                    carry(&mut pair.server, &mut pair.client, pair.now, |_, _| {});
                }
                elapsed
            });
        });
    }
    group.finish();
}

/// A hundred messages to a receiver, which are settled or accepted with one disposition.
fn send_and_hear(c: &mut Criterion) {
    let payload = telemetry();
    let mut group = c.benchmark_group("events");
    group.throughput(Throughput::Elements(MESSAGES as u64));
    for (name, settled) in [("sent settled", true), ("sent and accepted", false)] {
        let mut pair = Pair::new();
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| {
                let mut elapsed = std::time::Duration::ZERO;
                for _ in 0..rounds {
                    let start = Instant::now();
                    send_all(&mut pair.server, pair.down.1, &payload, settled);
                    black_box(pair.server.output());
                    elapsed += start.elapsed();
                    carry(&mut pair.server, &mut pair.client, pair.now, |client, event| {
                        if let Event::Delivery(delivery) = event
                            && !delivery.settled
                        {
                            client.settle(delivery.link, delivery.id, DeliveryState::Accepted);
                        }
                    });
                    let start = Instant::now();
                    carry(&mut pair.client, &mut pair.server, pair.now, |_, event| _ = black_box(event));
                    elapsed += start.elapsed();
                }
                elapsed
            });
        });
    }
    group.finish();
}

fn decode_message(c: &mut Criterion) {
    let payload = telemetry();
    c.bench_function("decode a message and read its properties", |bencher| {
        bencher.iter_batched(
            || payload.as_slice(),
            |payload| {
                let message = Message::decode(payload).unwrap();
                let names = message.application_properties.unwrap();
                (
                    names.iter().filter_map(|(key, _)| key.as_text()).map(str::len).sum::<usize>(),
                    message.body.data().map(<[u8]>::len),
                )
            },
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, receive_and_accept, send_and_hear, decode_message);
criterion_main!(benches);
