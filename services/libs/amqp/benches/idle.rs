//! What an idle connection holds: `cargo bench -p amqp --bench idle`. Each has opened, begun a session, attached the two
//! links of `$cbs` and two of a device, exchanged a message on each, and been silent for a heartbeat.
#![allow(clippy::unwrap_used, reason = "a failure ends the benchmark")]

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use amqp::{
    Attach, AttachTarget, Config, Connection, DeliveryState, DeliveryTag, Event, LinkId, MESSAGE_FORMAT, Outgoing,
    Role, Source, Target,
};
use bytes::BytesMut;

const CONNECTIONS: usize = 20_000;

fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

fn carry(from: &mut Connection, to: &mut Connection, now: Instant, links: &mut Vec<LinkId>) {
    let mut input = BytesMut::from(from.output());
    from.consume_output(input.len(), now);
    while let Some(event) = to.receive(&mut input, now).unwrap() {
        match event {
            Event::Open(_) => to.open(),
            Event::Attach { link, attach } => {
                to.accept(link, attach.answer(), 100);
                links.push(link);
            }
            Event::Delivery(delivery) => {
                to.settle(delivery.link, delivery.id, DeliveryState::Accepted);
            }
            _ => {}
        }
    }
}

fn idle_connection(config: &Arc<Config>, now: Instant) -> Connection {
    let mut client = Connection::client(config.clone(), None, now);
    let mut server = Connection::server(config.clone(), now);
    let mut links = Vec::new();
    client.open();
    carry(&mut client, &mut server, now, &mut links);
    carry(&mut server, &mut client, now, &mut Vec::new());
    let session = client.begin().unwrap();
    let mut senders = Vec::new();
    for (name, role) in [
        ("$cbs", Role::Sender),
        ("$cbs", Role::Receiver),
        ("/devices/d1/messages/events", Role::Sender),
        ("/devices/d1/messages/devicebound", Role::Receiver),
    ] {
        let attach = Attach {
            source: Some(Source::at(name)),
            target: Some(AttachTarget::Target(Target::at(name))),
            ..Attach::new(format!("{name}-{role:?}"), role)
        };
        let link = client.attach(session, attach, 100).unwrap();
        senders.extend((role == Role::Sender).then_some(link));
    }
    for _ in 0..2 {
        carry(&mut client, &mut server, now, &mut links);
        carry(&mut server, &mut client, now, &mut Vec::new());
    }
    let outgoing = Outgoing {
        tag: DeliveryTag::from([1; 16]),
        message_format: MESSAGE_FORMAT,
        settled: false,
        payload: &[0; 200],
    };
    for link in senders {
        client.send(link, &outgoing).unwrap();
    }
    for at in [1, 3] {
        server.send(links[at], &outgoing).unwrap();
    }
    for _ in 0..2 {
        carry(&mut client, &mut server, now, &mut links);
        carry(&mut server, &mut client, now, &mut Vec::new());
    }
    let later = now + Duration::from_secs(120);
    server.handle_timeout(later).unwrap();
    let heartbeat = server.output().len();
    server.consume_output(heartbeat, later);
    server
}

fn main() {
    let (config, now) = (Arc::new(Config::default()), Instant::now());
    drop(idle_connection(&config, now));
    let before = resident_bytes();
    let connections: Vec<Connection> = (0..CONNECTIONS).map(|_| idle_connection(&config, now)).collect();
    let held = resident_bytes() - before;
    println!("{} bytes in a connection itself", size_of::<Connection>());
    println!("{} bytes of process memory for each of {} idle connections", held / connections.len(), connections.len());
}
