//! An Event Hubs reader: one connection, a link for each partition of the hub's Event Hubs-compatible endpoint (amqp §8).

use std::sync::Arc;

use amqp::{Config, Descriptor, Event, Fields, LinkId, Message, Source, Value, put_described, put_value};
use anyhow::Context;

use super::amqp_connection::AmqpConnection;
use crate::{devices, target::Target, tls::Connector};

const SELECTOR: &str = "apache.org:selector-filter:string";

/// What of a partition the reader wants.
#[derive(Clone, Copy)]
pub enum Start {
    Earliest,
    Latest,
    /// Behind the event with that sequence number; -1: with the first.
    After(i64),
}

pub struct EventReader {
    connection: AmqpConnection,
    event_hub: String,
    partitions: Vec<String>,
    links: Vec<LinkId>,
}

impl EventReader {
    /// Connects and learns which partitions there are.
    pub async fn open(target: &Target) -> anyhow::Result<Self> {
        Self::open_by(target, 0).await
    }

    /// The same on the way of that number: another server, where there are several.
    pub async fn open_by(target: &Target, way: u32) -> anyhow::Result<Self> {
        let connector = Connector::new(&target.amqp, &target.host_name, &target.certificate_authority_file, false)?;
        let mut connection = AmqpConnection::open(&connector, way, Arc::new(Config::default())).await?;
        let event_hub = target.event_hub.clone();
        let audience = format!("sb://{}/{event_hub}", target.host_name);
        connection.authenticate(&devices::service_token(target), &audience).await?;
        let mut reader = Self { connection, event_hub, partitions: Vec::new(), links: Vec::new() };
        let answer = reader.read("com.microsoft:eventhub", "").await?;
        reader.partitions = match property(&answer, "partition_ids")? {
            Value::Array(ids) => ids.iter().filter_map(|id| id.as_text().map(str::to_owned)).collect(),
            other => anyhow::bail!("partition_ids is {other:?}"),
        };
        Ok(reader)
    }

    /// How many events there are, in all partitions together.
    pub async fn event_count(&mut self) -> anyhow::Result<u64> {
        let count: i64 = self.ranges().await?.iter().map(|(begin, last)| last - begin + 1).sum();
        Ok(count.try_into()?)
    }

    /// The sequence numbers of the first and the last event of each partition.
    pub async fn ranges(&mut self) -> anyhow::Result<Vec<(i64, i64)>> {
        let mut ranges = Vec::new();
        for partition in self.partitions.clone() {
            let answer = self.read("com.microsoft:partition", &partition).await?;
            let number = |name| match property(&answer, name)? {
                Value::Long(number) => Ok(number),
                other => anyhow::bail!("{name} is {other:?}"),
            };
            ranges.push((number("begin_sequence_number")?, number("last_enqueued_sequence_number")?));
        }
        Ok(ranges)
    }

    async fn read(&mut self, kind: &str, partition: &str) -> anyhow::Result<Vec<u8>> {
        let event_hub = self.event_hub.clone();
        let properties = [("operation", "READ"), ("type", kind), ("name", &event_hub), ("partition", partition)];
        self.connection.request("$management", &properties, &Value::Null).await
    }

    /// Begins to read every partition; whatever was read before is over.
    pub async fn start(&mut self, start: Start, credit: u32) -> anyhow::Result<()> {
        self.start_each(|_| start, credit).await
    }

    /// The same with a start for each partition, by its place among them.
    pub async fn start_each(&mut self, start: impl Fn(usize) -> Start, credit: u32) -> anyhow::Result<()> {
        self.links.drain(..).for_each(|link| self.connection.detach(link));
        for (place, partition) in self.partitions.iter().enumerate() {
            let address = format!("{}/ConsumerGroups/$Default/Partitions/{partition}", self.event_hub);
            let source = Source { filter: start(place).filter(), ..Source::at(address) };
            self.links.push(self.connection.attach_receiver(source, 0).await?);
        }
        // Not before all are there: what comes while a link is attached is not looked at.
        self.links.iter().for_each(|link| self.connection.set_credit(*link, credit));
        self.connection.flush().await
    }

    /// Reads once; `handle` gets each event with the place of its partition.
    pub async fn receive(&mut self, mut handle: impl FnMut(usize, &[u8])) -> anyhow::Result<()> {
        self.connection.read().await?;
        while let Some(event) = self.connection.take()? {
            match event {
                Event::Delivery(delivery) => {
                    let place = self.links.iter().position(|link| *link == delivery.link);
                    place.into_iter().for_each(|place| handle(place, &delivery.payload));
                }
                Event::Detach { link, error } if self.links.contains(&link) => anyhow::bail!("detached: {error:?}"),
                _ => {}
            }
        }
        self.connection.flush().await
    }
}

fn property<'a>(answer: &'a [u8], name: &str) -> anyhow::Result<Value<'a>> {
    let value = match Message::decode(answer)?.body {
        amqp::Body::Value(Value::Map(map)) => map.get(name),
        _ => None,
    };
    value.with_context(|| format!("no {name} in the answer"))
}

impl Start {
    fn filter(self) -> Option<Fields> {
        let selector = match self {
            Self::Earliest => return None,
            Self::Latest => "amqp.annotation.x-opt-offset > '@latest'".to_owned(),
            Self::After(number) => format!("amqp.annotation.x-opt-sequence-number > '{number}'"),
        };
        Some(Fields::new(|map| {
            map.entry_with(&Value::Symbol(SELECTOR), |out| {
                put_described(Descriptor::Name(SELECTOR), out, |out| put_value(&Value::String(&selector), out));
            });
        }))
    }
}

/// When an event was enqueued, milliseconds since 1970.
pub fn enqueued_time(event: &[u8]) -> Option<i64> {
    match Message::decode(event).ok()?.message_annotations?.get("x-opt-enqueued-time")? {
        Value::Timestamp(milliseconds) => Some(milliseconds),
        _ => None,
    }
}
