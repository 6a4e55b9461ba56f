//! Device-to-cloud messages on their way into the event log: the same for every protocol head.

use std::borrow::Cow;

use auth::ConnectionAuthMethod;
use bytes::BytesMut;
use eventlog::{Append, Topic, encode_record, encode_record_with_body};
use model::{Annotation, Credentials, EventPartition, Principal, Record, event_partition};
use smallvec::SmallVec;

use crate::Front;

/// What the hub stamps on every message of one sender (mqtt §4.3), encoded once. The enqueued time is the event log's.
#[derive(Clone, Debug)]
pub struct Stamp {
    encoded: Box<[u8]>,
    partition: EventPartition,
}

impl Stamp {
    /// The stamp of a sender that authenticated so.
    pub fn new(
        front: &Front,
        principal: &Principal,
        credentials: &Credentials,
        method: ConnectionAuthMethod,
        model_id: Option<&str>,
    ) -> Self {
        let generation_id = match &credentials.module {
            Some(module) if principal.module_id.is_some() => &module.generation_id,
            _ => &credentials.device.generation_id,
        };
        let mut annotations: Vec<(Annotation, Cow<'_, str>)> = vec![
            (Annotation::ConnectionDeviceId, principal.device_id.as_str().into()),
            (Annotation::ConnectionAuthGenerationId, generation_id.as_str().into()),
            (Annotation::ConnectionAuthMethod, method.as_json().into()),
            (Annotation::MessageSource, "Telemetry".into()),
        ];
        let module_id = principal.module_id.as_ref().map(|id| (Annotation::ConnectionModuleId, id.as_str().into()));
        let model_id = model_id.map(|id| (Annotation::DtDataschema, id.into()));
        annotations.extend(module_id.into_iter().chain(model_id));
        let mut encoded = Vec::with_capacity(256);
        encode_record(&Record { annotations, ..Record::default() }, &mut encoded);
        let partition = event_partition(&principal.device_id, front.event_partitions);
        Self { encoded: encoded.into(), partition }
    }
}

/// Names that only the hub sets, whatever layer a client tries.
pub(crate) fn is_reserved(name: &str) -> bool {
    use Annotation::{
        ConnectionAuthGenerationId, ConnectionAuthMethod, ConnectionDeviceId, ConnectionModuleId, EnqueuedTime,
        MessageSource,
    };
    const RESERVED: [Annotation; 6] = [
        ConnectionDeviceId,
        ConnectionModuleId,
        ConnectionAuthGenerationId,
        ConnectionAuthMethod,
        EnqueuedTime,
        MessageSource,
    ];
    RESERVED.iter().any(|annotation| annotation.name().eq_ignore_ascii_case(name))
}

/// Messages of one sender that are appended together, encoded into one buffer.
#[derive(Debug, Default)]
pub struct MessageBatch {
    buffer: BytesMut,
    /// Where each record ends.
    ends: SmallVec<[usize; 8]>,
}

impl MessageBatch {
    /// Adds a message; `record` is what the sender said, `body` its body.
    pub fn push(&mut self, stamp: &Stamp, record: &Record<'_>, body: &[u8]) {
        self.buffer.reserve(stamp.encoded.len() + body.len() + 64);
        self.buffer.extend_from_slice(&stamp.encoded);
        encode_record_with_body(record, body, &mut self.buffer);
        self.ends.push(self.buffer.len());
    }

    /// How many messages it holds.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all records.
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// What to append, in order.
    pub fn into_appends(self, topic: &Topic, stamp: &Stamp) -> Vec<Append> {
        let all = self.buffer.freeze();
        let mut start = 0;
        let mut appends = Vec::with_capacity(self.ends.len());
        for end in self.ends {
            let record = all.slice(start..end);
            appends.push(Append { topic: topic.clone(), partition: stamp.partition, record });
            start = end;
        }
        appends
    }
}
