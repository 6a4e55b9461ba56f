//! Requests to `$management` (amqp §8.5): what the event hub and its partitions are.
//!
//! Whether a requester may ask is decided where its links are attached; a `security_token` in a request says nothing new
//! then and is not read.

use amqp::{
    Malformed, Map, MapWriter, Message, MessageId, MessageWriter, Properties, Value, condition, put_map, put_strings,
};
use eventlog::{Bounds, EventLog, ReadError, Topic};
use model::{EventPartition, Timestamp};

use super::{
    Endpoint,
    address::partition_id,
    event::{last_number, last_time},
};

const EVENT_HUB: &str = "com.microsoft:eventhub";
const PARTITION: &str = "com.microsoft:partition";

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    ReadEventHub,
    ReadPartition(EventPartition),
}

/// What a request yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    EventHub { created: Timestamp },
    Partition { partition: EventPartition, bounds: Bounds },
}

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("operation and type are not known: expected READ of {EVENT_HUB} or {PARTITION}")]
    Unknown,
    #[error("the messaging entity '{0}' could not be found")]
    EventHubNotFound(String),
    #[error("there is no partition '{0}'")]
    PartitionNotFound(String),
    #[error("the partition cannot be read now: {0}")]
    Unavailable(String),
}

/// An answer on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The requester's name for the link that the answer is for.
    pub reply_to: Option<String>,
    /// An encoded message.
    pub payload: Vec<u8>,
}

/// Answers the request in the payload of a delivery. An error means that it is no message, and the delivery is to be
/// rejected.
pub async fn answer(
    payload: &[u8],
    endpoint: &Endpoint,
    created: Timestamp,
    event_log: &dyn EventLog,
    topic: &Topic,
) -> Result<Answer, Malformed> {
    let message = Message::decode(payload)?;
    let properties = message.properties.unwrap_or_default();
    let outcome = match Request::read(message.application_properties, endpoint) {
        Ok(Request::ReadEventHub) => Ok(Reply::EventHub { created }),
        Ok(Request::ReadPartition(partition)) => {
            let bounds = event_log.bounds(topic, partition).await;
            bounds.map(|bounds| Reply::Partition { partition, bounds }).map_err(Failure::from)
        }
        Err(failure) => Err(failure),
    };
    let mut payload = Vec::with_capacity(512);
    put_answer(endpoint, properties.message_id, properties.reply_to, &outcome, &mut payload);
    Ok(Answer { reply_to: properties.reply_to.map(str::to_owned), payload })
}

impl Request {
    /// What the application properties say. Fixed texts compare without case; the body means nothing.
    pub fn read(application_properties: Option<Map<'_>>, endpoint: &Endpoint) -> Result<Self, Failure> {
        let property = |name: &str| application_properties.and_then(|all| all.get(name));
        let text = |name: &str| property(name).and_then(|value| value.as_text()).unwrap_or_default();
        let is = |name: &str, fixed: &str| text(name).eq_ignore_ascii_case(fixed);
        if !is("operation", "READ") || !(is("type", EVENT_HUB) || is("type", PARTITION)) {
            return Err(Failure::Unknown);
        }
        if !is("name", &endpoint.name) {
            return Err(Failure::EventHubNotFound(text("name").to_owned()));
        }
        if is("type", EVENT_HUB) {
            return Ok(Self::ReadEventHub);
        }
        let partition = partition_id(text("partition")).filter(|partition| *partition < endpoint.partitions);
        partition.map(Self::ReadPartition).ok_or_else(|| Failure::PartitionNotFound(text("partition").to_owned()))
    }
}

impl Failure {
    /// Status code and condition, which different clients look at.
    fn status(&self) -> (i32, &'static str) {
        match self {
            Self::Unknown => (400, "com.microsoft:argument-error"),
            Self::EventHubNotFound(_) | Self::PartitionNotFound(_) => (404, condition::NOT_FOUND),
            Self::Unavailable(_) => (500, condition::INTERNAL_ERROR),
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::UnknownPartition(_, partition) => Self::PartitionNotFound(partition.to_string()),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

/// Writes the answer to a request that had this id.
pub fn put_answer(
    endpoint: &Endpoint,
    request_id: Option<MessageId<'_>>,
    reply_to: Option<&str>,
    outcome: &Result<Reply, Failure>,
    out: &mut Vec<u8>,
) {
    let properties = Properties { correlation_id: request_id, to: reply_to, ..Properties::default() };
    let writer = MessageWriter::new(out).properties(&properties).application_properties(|map| {
        let (code, condition, description) = match outcome {
            Ok(_) => (200, None, "OK".to_owned()),
            Err(failure) => (failure.status().0, Some(failure.status().1), failure.to_string()),
        };
        map.string("status-code", &Value::Int(code));
        map.string("status-description", &Value::String(&description));
        if let Some(condition) = condition {
            map.string("error-condition", &Value::Symbol(condition));
        }
    });
    match outcome {
        Ok(reply) => writer.value_with(|out| put_map(out, |map| put_reply(endpoint, reply, map))),
        Err(_) => writer.value(&Value::Null),
    };
}

fn put_reply(endpoint: &Endpoint, reply: &Reply, map: &mut MapWriter<'_>) {
    map.string("name", &Value::String(&endpoint.name));
    match *reply {
        Reply::EventHub { created } => {
            map.string("type", &Value::String(EVENT_HUB));
            map.string("created_at", &Value::Timestamp(created.unix_milliseconds()));
            map.string("partition_count", &Value::Int(endpoint.partitions as i32));
            let ids: Vec<String> = (0..endpoint.partitions).map(|partition| partition.to_string()).collect();
            map.entry_with(&Value::String("partition_ids"), |out| put_strings(&ids, out));
        }
        Reply::Partition { partition, bounds } => {
            let last = last_number(&bounds);
            map.string("type", &Value::String(PARTITION));
            map.string("partition", &Value::String(&partition.to_string()));
            map.string("begin_sequence_number", &Value::Long(bounds.earliest as i64));
            map.string("last_enqueued_sequence_number", &Value::Long(last));
            map.string("last_enqueued_offset", &Value::String(&last.to_string()));
            map.string("last_enqueued_time_utc", &Value::Timestamp(last_time(&bounds)));
            map.string("is_partition_empty", &Value::Boolean(bounds.earliest == bounds.next));
        }
    }
}

#[cfg(test)]
mod tests {
    use amqp::Body;

    use super::*;

    type Failed = Box<dyn std::error::Error>;

    fn endpoint() -> Endpoint {
        Endpoint { name: "events".into(), host: "h".into(), partitions: 2 }
    }

    fn request(properties: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        MessageWriter::new(&mut out).application_properties(|map| {
            properties.iter().for_each(|(name, value)| map.string(name, &Value::String(value)));
        });
        out
    }

    fn read(properties: &[(&str, &str)]) -> Result<Result<Request, i32>, Failed> {
        let bytes = request(properties);
        let message = Message::decode(&bytes)?;
        Ok(Request::read(message.application_properties, &endpoint()).map_err(|failure| failure.status().0))
    }

    #[test]
    fn what_is_asked_for() -> Result<(), Failed> {
        let (hub, partition) = (("type", EVENT_HUB), ("type", PARTITION));
        let (operation, name) = (("operation", "READ"), ("name", "events"));
        for (properties, expected) in [
            (vec![operation, hub, name], Ok(Request::ReadEventHub)),
            (vec![operation, hub, ("name", "Events"), ("security_token", "x")], Ok(Request::ReadEventHub)),
            (vec![("operation", "read"), partition, name, ("partition", "1")], Ok(Request::ReadPartition(1))),
            (vec![operation, partition, name, ("partition", "2")], Err(404)),
            (vec![operation, partition, name, ("partition", "x")], Err(404)),
            (vec![operation, partition, name], Err(404)),
            (vec![operation, hub, ("name", "other")], Err(404)),
            (vec![operation, hub], Err(404)),
            (vec![operation, ("type", "com.microsoft:consumergroup"), name], Err(400)),
            (vec![("operation", "CREATE"), hub, name], Err(400)),
            (vec![hub, name], Err(400)),
            (vec![], Err(400)),
        ] {
            assert_eq!(read(&properties)?, expected, "{properties:?}");
        }
        Ok(())
    }

    fn map(body: Body<'_>) -> Result<Map<'_>, Failed> {
        match body {
            Body::Value(Value::Map(map)) => Ok(map),
            _ => Err("the body is no map".into()),
        }
    }

    #[test]
    fn the_event_hub_with_its_types() -> Result<(), Failed> {
        let mut out = Vec::new();
        let id = [0x98; 17];
        let created = Timestamp::from_unix_milliseconds(1_600_000_000_000);
        let reply = Ok(Reply::EventHub { created });
        put_answer(&endpoint(), Some(MessageId::decode(&id)?), Some("reply"), &reply, &mut out);
        let message = Message::decode(&out)?;
        let properties = message.properties.ok_or("no properties")?;
        assert_eq!(
            properties.correlation_id.map(|id| id.bytes()),
            Some(&id[..]),
            "type and bytes of the id (amqp R10)"
        );
        assert_eq!(properties.to, Some("reply"));
        let status = message.application_properties.ok_or("no status")?;
        assert_eq!(status.get("status-code"), Some(Value::Int(200)));
        assert!(matches!(status.get("status-description"), Some(Value::String(_))));
        let body = map(message.body)?;
        assert_eq!(body.get("name"), Some(Value::String("events")));
        assert_eq!(body.get("type"), Some(Value::String(EVENT_HUB)));
        assert_eq!(body.get("created_at"), Some(Value::Timestamp(1_600_000_000_000)));
        assert_eq!(body.get("partition_count"), Some(Value::Int(2)));
        let Some(Value::Array(ids)) = body.get("partition_ids") else { return Err("ids are an array".into()) };
        assert_eq!(ids.iter().collect::<Vec<_>>(), [Value::String("0"), Value::String("1")]);
        Ok(())
    }

    #[test]
    fn a_partition_with_its_types() -> Result<(), Failed> {
        let time = Timestamp::from_unix_milliseconds(5);
        for (bounds, begin, last, offset, milliseconds, is_empty) in [
            (Bounds { earliest: 3, next: 9, last_time: Some(time) }, 3, 8, "8", 5, false),
            (Bounds { earliest: 9, next: 9, last_time: Some(time) }, 9, 8, "8", 5, true),
            (Bounds { earliest: 0, next: 0, last_time: None }, 0, -1, "-1", 0, true),
        ] {
            let mut out = Vec::new();
            put_answer(&endpoint(), None, None, &Ok(Reply::Partition { partition: 1, bounds }), &mut out);
            let message = Message::decode(&out)?;
            let entries: Vec<_> = map(message.body)?.iter().collect();
            let expected = [
                ("name", Value::String("events")),
                ("type", Value::String(PARTITION)),
                ("partition", Value::String("1")),
                ("begin_sequence_number", Value::Long(begin)),
                ("last_enqueued_sequence_number", Value::Long(last)),
                ("last_enqueued_offset", Value::String(offset)),
                ("last_enqueued_time_utc", Value::Timestamp(milliseconds)),
                ("is_partition_empty", Value::Boolean(is_empty)),
            ];
            assert_eq!(entries, expected.map(|(name, value)| (Value::String(name), value)));
        }
        Ok(())
    }

    #[test]
    fn a_failure_says_which() -> Result<(), Failed> {
        let mut out = Vec::new();
        put_answer(&endpoint(), None, None, &Err(Failure::PartitionNotFound("9".into())), &mut out);
        let message = Message::decode(&out)?;
        let status = message.application_properties.ok_or("no status")?;
        assert_eq!(status.get("status-code"), Some(Value::Int(404)));
        assert_eq!(status.get("status-description"), Some(Value::String("there is no partition '9'")));
        assert_eq!(status.get("error-condition"), Some(Value::Symbol("amqp:not-found")));
        Ok(())
    }
}
