//! The hub's operations, each watched from its beginning to its end.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use model::{
    ConnectionId, Record, SystemProperty, Timestamp,
    twin::{Patch, Section, SectionChange, TwinChange, TwinETag},
};
use serde_json::{Value, json};
use shard_client::{
    Acknowledge, Holder, MessageError, MethodError, MethodRequest, NewMessage, Received, Settle, TwinDocument,
    TwinError, Unavailable,
};

use super::Actor;
use crate::oracle::{Seen, Settlement, Wanted, WriteId};

/// Written to one property each, so that a document tells what it is made of.
pub fn property(id: WriteId) -> String {
    format!("w{id}")
}

/// The write that added the property.
pub fn write_id(property: &str) -> Option<WriteId> {
    property.strip_prefix('w')?.parse().ok()
}

fn patch(id: WriteId) -> Option<Patch> {
    Patch::parse(json!({ property(id): id })).ok()
}

fn seen(section: &Section) -> Seen {
    let writes: BTreeSet<WriteId> = section.properties.keys().filter_map(|name| write_id(name)).collect();
    Seen { version: section.version, writes }
}

/// Whether it is certain that nothing was done.
fn not_done(unavailable: Unavailable) -> bool {
    unavailable == Unavailable::DiskFull
}

impl Actor {
    pub fn desired(&self) -> String {
        format!("{}/desired", self.device)
    }

    pub fn reported(&self) -> String {
        format!("{}/reported", self.device)
    }

    /// A back end adds a desired property; answers the version that it became.
    pub async fn write_desired(&self, expected: Option<TwinETag>) -> Option<u64> {
        let (name, shared) = (self.desired(), &self.shared);
        let (id, floor) = {
            let mut oracle = shared.oracle.lock();
            let id = oracle.twins.begin_write(&name);
            oracle.note(|| format!("{name}: write {id} if {expected:?} at {}", self.host));
            (id, oracle.twins.begin_read(&name))
        };
        let desired = patch(id).map(SectionChange::Patch);
        let change = TwinChange { tags: None, desired };
        let written = self.client.update_twin(&self.principal, expected, &change).await;
        let mut oracle = shared.oracle.lock();
        oracle.note(|| format!("{name}: write {id}: {:?}", written.as_ref().map(|it| it.twin.desired.version)));
        match written {
            Ok(document) => {
                oracle.count("write", "done");
                let version = document.twin.desired.version;
                // The document may be newer than this write made it. Its etag counts what the version counts.
                let result = match expected {
                    Some(etag) => oracle.twins.became(&name, id, etag.0 + 1),
                    None => oracle.twins.acknowledged(&name, id, version),
                };
                oracle.expect(result);
                let result = oracle.twins.read(&name, floor, seen(&document.twin.desired));
                oracle.expect(result);
                check_etag(&mut oracle, &name, &document);
                Some(version)
            }
            Err(TwinError::Unavailable(unavailable)) if !not_done(unavailable) => {
                oracle.count("write", "unknown");
                None
            }
            Err(_) => {
                oracle.count("write", "refused");
                let result = oracle.twins.refused(&name, id);
                oracle.expect(result);
                None
            }
        }
    }

    /// The device adds a reported property. `Err`: its connection has been replaced.
    pub async fn report(&self, connection_id: ConnectionId) -> Result<Option<u64>, ()> {
        let (name, shared) = (self.reported(), &self.shared);
        let id = {
            let mut oracle = shared.oracle.lock();
            let id = oracle.twins.begin_write(&name);
            oracle.note(|| format!("{name}: write {id} by {connection_id:?}"));
            id
        };
        let Some(patch) = patch(id) else { return Ok(None) };
        let written = self.client.update_reported(&self.principal, connection_id, None, &patch).await;
        let mut oracle = shared.oracle.lock();
        oracle.note(|| format!("{name}: write {id}: {written:?}"));
        match written {
            Ok(version) => {
                oracle.count("report", "done");
                let result = oracle.twins.became(&name, id, version);
                oracle.expect(result);
                Ok(Some(version))
            }
            Err(TwinError::Unavailable(unavailable)) if !not_done(unavailable) => {
                oracle.count("report", "unknown");
                Ok(None)
            }
            Err(error) => {
                oracle.count("report", "refused");
                let result = oracle.twins.refused(&name, id);
                oracle.expect(result);
                if error == TwinError::ConnectionReplaced { Err(()) } else { Ok(None) }
            }
        }
    }

    /// Reads the twin.
    pub async fn read_twin(&self) -> Option<TwinDocument> {
        let (desired, reported) = (self.desired(), self.reported());
        let floors = {
            let mut oracle = self.shared.oracle.lock();
            (oracle.twins.begin_read(&desired), oracle.twins.begin_read(&reported))
        };
        let read = self.client.get_twin(&self.principal).await;
        let mut oracle = self.shared.oracle.lock();
        match read {
            Ok(Some(document)) => {
                let versions = (document.twin.desired.version, document.twin.reported.version);
                oracle.count("read", "done");
                oracle.note(|| format!("{}: read {versions:?}", self.device));
                let result = oracle.twins.read(&desired, floors.0, seen(&document.twin.desired));
                oracle.expect(result);
                let result = oracle.twins.read(&reported, floors.1, seen(&document.twin.reported));
                oracle.expect(result);
                check_etag(&mut oracle, &desired, &document);
                Some(document)
            }
            Ok(None) => {
                oracle.violation(&format!("{} is not registered any more", self.device));
                None
            }
            Err(_) => {
                oracle.count("read", "unavailable");
                None
            }
        }
    }

    /// A back end sends a message that expires after so long, if at all.
    pub async fn send(&self, expires_after: Option<Duration>, wanted: Wanted) -> bool {
        let id = {
            let mut oracle = self.shared.oracle.lock();
            let (began, now) = (oracle.event(), oracle.now);
            let id = oracle.messages.begin_enqueue(began, &self.device, expires_after.map(|after| now + after), wanted);
            oracle.note(|| format!("{}: send {id}", self.device));
            id
        };
        let mut record = Record { body: id.to_string().into_bytes().into(), ..Record::default() };
        record.system_properties.push((SystemProperty::MessageId, id.to_string().into()));
        let message = NewMessage {
            record,
            acknowledgement: if wanted == Wanted::Everything { Acknowledge::Full } else { Acknowledge::None },
            expires: expires_after.map_or(Timestamp::from_unix_microseconds(i64::MAX), from_now),
            delivery_count_max: 1000,
            feedback_kept: Duration::from_secs(3600),
        };
        let sent = self.client.enqueue_message(&self.principal, &message).await;
        let mut oracle = self.shared.oracle.lock();
        oracle.note(|| format!("{}: send {id}: {sent:?}", self.device));
        let ended = oracle.event();
        match sent {
            Ok(()) => {
                oracle.count("send", "done");
                oracle.messages.enqueued(id, ended);
                true
            }
            Err(MessageError::Unavailable(unavailable)) if !not_done(unavailable) => {
                oracle.count("send", "unknown");
                false
            }
            Err(_) => {
                oracle.count("send", "refused");
                oracle.messages.refused(id);
                false
            }
        }
    }

    /// The device takes messages in hand.
    pub async fn receive(&self, holder: Holder, limit: u32, lock: Duration) -> Result<Received, MessageError> {
        let asked = {
            let mut oracle = self.shared.oracle.lock();
            (oracle.event(), oracle.now)
        };
        let received = self.client.receive_messages(&self.principal, holder, limit, lock).await;
        let mut oracle = self.shared.oracle.lock();
        let Ok(received) = received else {
            oracle.note(|| format!("{}: receive by {holder:?}: {received:?}", self.device));
            oracle.count("receive", "nothing");
            return received;
        };
        for message in &received.messages {
            oracle.count("receive", "message");
            let id = body_id(&message.record);
            oracle.note(|| format!("{}: received {id} as {} by {holder:?}", self.device, message.sequence));
            let got = oracle.event();
            let result = oracle.messages.received(asked, got, (&self.device, holder), id, message.sequence);
            oracle.expect(result);
        }
        Ok(received)
    }

    /// The device settles a message that it has in hand. False: it may still be there.
    pub async fn settle(&self, holder: Holder, sequence: u64, id: u64, settle: Settle) -> bool {
        let settlement = match settle {
            Settle::Complete => Some(Settlement::Complete),
            Settle::Reject => Some(Settlement::Reject),
            Settle::Abandon => None,
        };
        self.shared.oracle.lock().messages.begin_settle(id, settlement);
        let settled = self.client.settle_messages(&self.principal, holder, &[sequence], settle).await;
        let mut oracle = self.shared.oracle.lock();
        oracle.note(|| format!("{}: {settle:?} {id} by {holder:?}: {settled:?}", self.device));
        oracle.count("settle", if settled.is_ok() { "done" } else { "not done" });
        let ended = oracle.event();
        if let (Ok(()), Some(settlement)) = (&settled, settlement) {
            oracle.messages.settled(id, settlement, ended);
        }
        settled.is_ok()
    }

    /// A back end calls a method; whether it was answered.
    pub async fn call_method(&self, connect_timeout: Duration) -> bool {
        let id = {
            let mut oracle = self.shared.oracle.lock();
            let id = oracle.methods.begin(&self.device);
            oracle.note(|| format!("{}: call method {id}", self.device));
            id
        };
        let request = MethodRequest {
            name: "echo".into(),
            payload: id.to_string().into(),
            connect_timeout,
            response_timeout: Duration::from_secs(5),
        };
        let answer = self.client.invoke_method(&self.principal, &request).await;
        let mut oracle = self.shared.oracle.lock();
        oracle.note(|| format!("{}: method {id}: {answer:?}", self.device));
        match &answer {
            Ok(answer) => {
                oracle.count("method", "answered");
                let answer_to = std::str::from_utf8(&answer.payload).ok().and_then(|text| text.parse().ok());
                let result = oracle.methods.answered(id, answer_to.unwrap_or_default());
                oracle.expect(result);
            }
            Err(MethodError::NotOnline) => oracle.count("method", "not online"),
            Err(_) => oracle.count("method", "failed"),
        }
        answer.is_ok()
    }
}

fn from_now(after: Duration) -> Timestamp {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + after;
    Timestamp::from_unix_microseconds(i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX))
}

/// Back ends write nothing but desired properties here, so both count the same.
fn check_etag(oracle: &mut crate::oracle::Oracle, name: &str, document: &TwinDocument) {
    if document.twin.etag.0 != document.twin.desired.version {
        oracle.violation(&format!("{name}: {:?} at version {}", document.twin.etag, document.twin.desired.version));
    }
}

/// The id that a message carries.
pub fn body_id(record: &Record<'_>) -> u64 {
    std::str::from_utf8(&record.body).ok().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// The version and the write of a desired update.
pub fn update_id(patch: &[u8]) -> Option<(u64, WriteId)> {
    let patch: Value = serde_json::from_slice(patch).ok()?;
    let id = patch.as_object()?.keys().find_map(|name| write_id(name))?;
    Some((patch.get("$version")?.as_u64()?, id))
}
