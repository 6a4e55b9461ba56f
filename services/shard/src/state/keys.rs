//! Every key of a group's state. On disk for ever: a table's number never gets another meaning.
//!
//! A key is the table's number and then the name of the row in it:
//!
//! | table | row | value |
//! |---|---|---|
//! | 0x00 | | belongs to the store (last applied entry, membership) |
//! | 0x01 | | time of the newest entry, 8 bytes big-endian |
//! | 0x02 | | the newest etag given, 8 bytes big-endian |
//! | 0x03 | | `Statistics` |
//! | 0x04 | | `HubSettings` (hub group only) |
//! | 0x05 | | the newest number of a feedback given, 8 bytes big-endian |
//! | 0x06 | | the newest number of a file notification given, 8 bytes big-endian |
//! | 0x07 | | `ClusterSettings` (hub group only) |
//! | 0x10 | device id | `DeviceIdentity` |
//! | 0x11 | device id, 0x00, module id | `ModuleIdentity` |
//! | 0x12 | device id, 0x00, module id (empty: the device itself) | `StoredSession` |
//! | 0x13 | device id, 0x00, module id (empty: the device itself) | `Presence` |
//! | 0x14 | device id, 0x00, module id (empty: the device itself) | `StoredTwin`, once somebody wrote it |
//! | 0x15 | the same, 0x00, desired version (8 bytes big-endian) | `DesiredDelta` |
//! | 0x16 | device id, 0x00, module id (empty: the device itself) | `DeviceBoundQueue`, once a message was sent |
//! | 0x17 | the same, 0x00, sequence (8 bytes big-endian) | `DeviceBoundMessage` |
//! | 0x18 | time (8 bytes big-endian), then as for 0x17 | nothing: when that message expires |
//! | 0x19 | number (8 bytes big-endian) | `Feedback` that waits for others |
//! | 0x1a | number (8 bytes big-endian) | `FeedbackBatch` |
//! | 0x1b | number (8 bytes big-endian) | `FileNotification` |
//! | 0x1c | node id (8 bytes big-endian) | `ClusterNode` (hub group only) |
//! | 0x20 | incarnation (8 bytes big-endian) | `StoredClient` |
//! | 0x21 | incarnation, sequence (8 bytes big-endian each) | `CommandResult` |
//!
//! Ids contain no 0x00, so all rows of one device are one range of each table.

use model::{DeviceId, ModuleId, Principal};

const TIME: u8 = 0x01;
const ETAG: u8 = 0x02;
const STATISTICS: u8 = 0x03;
const SETTINGS: u8 = 0x04;
const FEEDBACK_NUMBER: u8 = 0x05;
const FILE_NOTIFICATION_NUMBER: u8 = 0x06;
const CLUSTER_SETTINGS: u8 = 0x07;
const DEVICE: u8 = 0x10;
const MODULE: u8 = 0x11;
const SESSION: u8 = 0x12;
const PRESENCE: u8 = 0x13;
const TWIN: u8 = 0x14;
const DESIRED_DELTA: u8 = 0x15;
const QUEUE: u8 = 0x16;
const MESSAGE: u8 = 0x17;
const EXPIRY: u8 = 0x18;
const FEEDBACK: u8 = 0x19;
const FEEDBACK_BATCH: u8 = 0x1a;
const FILE_NOTIFICATION: u8 = 0x1b;
const CLUSTER_NODE: u8 = 0x1c;
const CLIENT: u8 = 0x20;
const RESULT: u8 = 0x21;

/// Ends a device id; the byte after it ends the range of a device's rows.
const SEPARATOR: u8 = 0x00;
const AFTER_SEPARATOR: u8 = 0x01;

/// A row of a group's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    Time,
    ETag,
    Statistics,
    Settings,
    Device(DeviceId),
    Module(DeviceId, ModuleId),
    Session(Principal),
    Presence(Principal),
    Twin(Principal),
    DesiredDelta(Principal, u64),
    Queue(Principal),
    Message(Principal, u64),
    Expiry { time: u64, principal: Principal, sequence: u64 },
    FeedbackNumber,
    Feedback(u64),
    FeedbackBatch(u64),
    FileNotificationNumber,
    FileNotification(u64),
    ClusterSettings,
    ClusterNode { node_id: u64 },
    Client { incarnation: u64 },
    Result { incarnation: u64, sequence: u64 },
}

impl Key {
    /// Whose row it is, when it is one device's.
    pub fn device_id(&self) -> Option<&DeviceId> {
        match self {
            Self::Device(device_id) | Self::Module(device_id, _) => Some(device_id),
            Self::Session(principal)
            | Self::Presence(principal)
            | Self::Twin(principal)
            | Self::DesiredDelta(principal, _)
            | Self::Queue(principal)
            | Self::Message(principal, _)
            | Self::Expiry { principal, .. } => Some(&principal.device_id),
            _ => None,
        }
    }

    /// Reads a key; `None` when it is not one of this table.
    pub fn decode(key: &[u8]) -> Option<Self> {
        let (table, row) = key.split_first()?;
        Some(match *table {
            TIME if row.is_empty() => Self::Time,
            ETAG if row.is_empty() => Self::ETag,
            STATISTICS if row.is_empty() => Self::Statistics,
            SETTINGS if row.is_empty() => Self::Settings,
            DEVICE => Self::Device(std::str::from_utf8(row).ok()?.parse().ok()?),
            MODULE => {
                let principal = decode_principal(row)?;
                Self::Module(principal.device_id, principal.module_id?)
            }
            SESSION => Self::Session(decode_principal(row)?),
            PRESENCE => Self::Presence(decode_principal(row)?),
            TWIN => Self::Twin(decode_principal(row)?),
            DESIRED_DELTA => {
                let (principal, version) = decode_numbered(row)?;
                Self::DesiredDelta(principal, version)
            }
            QUEUE => Self::Queue(decode_principal(row)?),
            MESSAGE => {
                let (principal, sequence) = decode_numbered(row)?;
                Self::Message(principal, sequence)
            }
            EXPIRY => {
                let (time, row) = row.split_at_checked(8)?;
                let (principal, sequence) = decode_numbered(row)?;
                Self::Expiry { time: u64::from_be_bytes(time.try_into().ok()?), principal, sequence }
            }
            FEEDBACK_NUMBER if row.is_empty() => Self::FeedbackNumber,
            FEEDBACK => Self::Feedback(u64::from_be_bytes(row.try_into().ok()?)),
            FEEDBACK_BATCH => Self::FeedbackBatch(u64::from_be_bytes(row.try_into().ok()?)),
            FILE_NOTIFICATION_NUMBER if row.is_empty() => Self::FileNotificationNumber,
            FILE_NOTIFICATION => Self::FileNotification(u64::from_be_bytes(row.try_into().ok()?)),
            CLUSTER_SETTINGS if row.is_empty() => Self::ClusterSettings,
            CLUSTER_NODE => Self::ClusterNode { node_id: u64::from_be_bytes(row.try_into().ok()?) },
            CLIENT => Self::Client { incarnation: u64::from_be_bytes(row.try_into().ok()?) },
            RESULT => {
                let (incarnation, sequence) = row.split_at_checked(8)?;
                let number = |bytes: &[u8]| Some(u64::from_be_bytes(bytes.try_into().ok()?));
                Self::Result { incarnation: number(incarnation)?, sequence: number(sequence)? }
            }
            _ => return None,
        })
    }
}

fn decode_principal(row: &[u8]) -> Option<Principal> {
    let mut ids = std::str::from_utf8(row).ok()?.split(char::from(SEPARATOR));
    let device_id = ids.next()?.parse().ok()?;
    let module_id = ids.next()?;
    let module_id = if module_id.is_empty() { None } else { Some(module_id.parse().ok()?) };
    ids.next().is_none().then_some(Principal { device_id, module_id })
}

fn decode_numbered(row: &[u8]) -> Option<(Principal, u64)> {
    let (principal, number) = row.split_at_checked(row.len().checked_sub(9)?)?;
    let number = number.strip_prefix(&[SEPARATOR])?.try_into().ok()?;
    Some((decode_principal(principal)?, u64::from_be_bytes(number)))
}

/// Keys from `from` (inclusive) to `to` (exclusive).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    pub from: Vec<u8>,
    pub to: Vec<u8>,
}

/// Time of the newest entry.
pub const fn time() -> [u8; 1] {
    [TIME]
}

/// The newest etag given.
pub const fn etag() -> [u8; 1] {
    [ETAG]
}

/// Counters of the group.
pub const fn statistics() -> [u8; 1] {
    [STATISTICS]
}

/// The hub's settings.
pub const fn settings() -> [u8; 1] {
    [SETTINGS]
}

/// A device's identity.
pub fn device(device_id: &DeviceId) -> Vec<u8> {
    joined(DEVICE, &[device_id.as_str().as_bytes()])
}

/// The identities behind that device id in the order of their bytes; from the first one without it.
pub fn devices_after(device_id: Option<&DeviceId>) -> Range {
    let from = match device_id {
        None => vec![DEVICE],
        Some(device_id) => joined(DEVICE, &[device_id.as_str().as_bytes(), &[SEPARATOR]]),
    };
    Range { from, to: vec![DEVICE + 1] }
}

/// A module's identity.
pub fn module(device_id: &DeviceId, module_id: &ModuleId) -> Vec<u8> {
    joined(MODULE, &[device_id.as_str().as_bytes(), &[SEPARATOR], module_id.as_str().as_bytes()])
}

/// The identities of the device's modules.
pub fn modules_of(device_id: &DeviceId) -> Range {
    range_of_device(MODULE, device_id)
}

/// The stored MQTT session of the principal.
pub fn session(principal: &Principal) -> Vec<u8> {
    of_principal(SESSION, principal)
}

/// The stored sessions of the device and its modules.
pub fn sessions_of(device_id: &DeviceId) -> Range {
    range_of_device(SESSION, device_id)
}

/// The connection state of the principal as it was last written.
pub fn presence(principal: &Principal) -> Vec<u8> {
    of_principal(PRESENCE, principal)
}

/// The written connection states of the device and its modules.
pub fn presences_of(device_id: &DeviceId) -> Range {
    range_of_device(PRESENCE, device_id)
}

/// All written connection states.
pub fn presences() -> Range {
    table(PRESENCE)
}

/// The twin of the principal.
pub fn twin(principal: &Principal) -> Vec<u8> {
    of_principal(TWIN, principal)
}

/// The twins of the device and its modules.
pub fn twins_of(device_id: &DeviceId) -> Range {
    range_of_device(TWIN, device_id)
}

/// What the principal is told of that version of its desired properties.
pub fn desired_delta(principal: &Principal, version: u64) -> Vec<u8> {
    numbered(DESIRED_DELTA, principal, version)
}

/// What the principal is told of the versions from that one on.
pub fn desired_deltas(principal: &Principal, from_version: u64) -> Range {
    let to = [of_principal(DESIRED_DELTA, principal).as_slice(), &[AFTER_SEPARATOR]].concat();
    Range { from: desired_delta(principal, from_version), to }
}

/// The same of the device and its modules, every version.
pub fn desired_deltas_of(device_id: &DeviceId) -> Range {
    range_of_device(DESIRED_DELTA, device_id)
}

/// What the principal's queue remembers.
pub fn queue(principal: &Principal) -> Vec<u8> {
    of_principal(QUEUE, principal)
}

/// The same of the device and its modules.
pub fn queues_of(device_id: &DeviceId) -> Range {
    range_of_device(QUEUE, device_id)
}

/// A message in the principal's queue.
pub fn message(principal: &Principal, sequence: u64) -> Vec<u8> {
    numbered(MESSAGE, principal, sequence)
}

/// The messages in the principal's queue, oldest first.
pub fn messages(principal: &Principal) -> Range {
    let prefix = of_principal(MESSAGE, principal);
    Range { from: [prefix.as_slice(), &[SEPARATOR]].concat(), to: [prefix.as_slice(), &[AFTER_SEPARATOR]].concat() }
}

/// The messages for the device and its modules.
pub fn messages_of(device_id: &DeviceId) -> Range {
    range_of_device(MESSAGE, device_id)
}

/// When a message expires, microseconds since 1970.
pub fn expiry(time: u64, principal: &Principal, sequence: u64) -> Vec<u8> {
    let message = numbered(EXPIRY, principal, sequence);
    joined(EXPIRY, &[&time.to_be_bytes(), message.get(1..).unwrap_or_default()])
}

/// The messages that expire at that time or before.
pub fn expiries_until(time: u64) -> Range {
    Range { from: vec![EXPIRY], to: joined(EXPIRY, &[&time.saturating_add(1).to_be_bytes()]) }
}

/// The newest number of a feedback given.
pub const fn feedback_number() -> [u8; 1] {
    [FEEDBACK_NUMBER]
}

/// Feedback that waits for others.
pub fn feedback(number: u64) -> Vec<u8> {
    joined(FEEDBACK, &[&number.to_be_bytes()])
}

/// All of it, oldest first.
pub fn all_feedback() -> Range {
    table(FEEDBACK)
}

/// Feedback that is handed out together.
pub fn feedback_batch(number: u64) -> Vec<u8> {
    joined(FEEDBACK_BATCH, &[&number.to_be_bytes()])
}

/// All batches, oldest first.
pub fn feedback_batches() -> Range {
    table(FEEDBACK_BATCH)
}

/// The newest number of a file notification given.
pub const fn file_notification_number() -> [u8; 1] {
    [FILE_NOTIFICATION_NUMBER]
}

/// A file notification.
pub fn file_notification(number: u64) -> Vec<u8> {
    joined(FILE_NOTIFICATION, &[&number.to_be_bytes()])
}

/// All of them, oldest first.
pub fn file_notifications() -> Range {
    table(FILE_NOTIFICATION)
}

/// What is wanted of the cluster.
pub const fn cluster_settings() -> [u8; 1] {
    [CLUSTER_SETTINGS]
}

/// A shard node of the hub.
pub fn cluster_node(node_id: u64) -> Vec<u8> {
    joined(CLUSTER_NODE, &[&node_id.to_be_bytes()])
}

/// All of them.
pub fn cluster_nodes() -> Range {
    table(CLUSTER_NODE)
}

/// What is remembered of a client.
pub fn client(incarnation: u64) -> Vec<u8> {
    joined(CLIENT, &[&incarnation.to_be_bytes()])
}

/// All clients.
pub fn clients() -> Range {
    table(CLIENT)
}

/// The remembered result of a command.
pub fn result(incarnation: u64, sequence: u64) -> Vec<u8> {
    joined(RESULT, &[&incarnation.to_be_bytes(), &sequence.to_be_bytes()])
}

/// All remembered results of a client.
pub fn results_of(incarnation: u64) -> Range {
    let from = joined(RESULT, &[&incarnation.to_be_bytes()]);
    let to = match incarnation.checked_add(1) {
        Some(next) => joined(RESULT, &[&next.to_be_bytes()]),
        None => vec![RESULT + 1],
    };
    Range { from, to }
}

/// Every row of a table.
fn table(table: u8) -> Range {
    Range { from: vec![table], to: vec![table + 1] }
}

fn of_principal(table: u8, principal: &Principal) -> Vec<u8> {
    let module_id = principal.module_id.as_ref().map_or("", ModuleId::as_str);
    joined(table, &[principal.device_id.as_str().as_bytes(), &[SEPARATOR], module_id.as_bytes()])
}

fn numbered(table: u8, principal: &Principal, number: u64) -> Vec<u8> {
    [of_principal(table, principal).as_slice(), &[SEPARATOR], &number.to_be_bytes()].concat()
}

fn range_of_device(table: u8, device_id: &DeviceId) -> Range {
    let device_id = device_id.as_str().as_bytes();
    Range { from: joined(table, &[device_id, &[SEPARATOR]]), to: joined(table, &[device_id, &[AFTER_SEPARATOR]]) }
}

fn joined(table: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(table);
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

#[cfg(test)]
mod tests;
