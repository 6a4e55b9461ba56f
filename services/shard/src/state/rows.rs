//! Typed rows, and the entry that is being applied.

use model::{DeviceId, ModuleId, Principal};
use prost::Message;
use proto::shard::v1::{self, command_error::Code, command_result::Outcome};

use super::{Effect, keys};
use crate::store::{Rows, StoreError, Transaction};

/// Why a command did not do what it asked for.
#[derive(Debug)]
pub enum Failure {
    /// The answer of the command.
    Refused(Code, String),
    /// The entry cannot be applied at all.
    Store(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Code> for Failure {
    fn from(code: Code) -> Self {
        Self::Refused(code, String::new())
    }
}

/// A command that no correct sender sends.
pub fn invalid(what: impl Into<String>) -> Failure {
    Failure::Refused(Code::Invalid, what.into())
}

/// The answer of a command that has nothing to say.
pub const DONE: Outcome = Outcome::Done(v1::Empty {});

/// What a command works on: the rows as the entry has left them so far, and the entry's time.
pub struct Entry<'e, 'r> {
    pub rows: &'e mut Transaction<'r>,
    /// Log index of the entry.
    pub index: u64,
    /// Microseconds since 1970.
    pub time: i64,
    pub effects: Vec<Effect>,
}

impl Entry<'_, '_> {
    /// Writes a row.
    pub fn put(&mut self, key: &[u8], row: &impl Message) {
        self.rows.put(key, row.encode_to_vec());
    }

    /// Forgets every row of a range that holds no more than the rows of one device.
    pub fn delete_all(&mut self, range: &keys::Range) -> Result<u64, StoreError> {
        let rows = self.rows.scan(&range.from, &range.to, usize::MAX)?;
        rows.iter().for_each(|(key, _)| self.rows.delete(key));
        Ok(rows.len() as u64)
    }

    /// A version that no identity of this group has had before, deleted ones included.
    pub fn next_etag(&mut self) -> Result<u64, StoreError> {
        let etag = 1 + number(self.rows, &keys::etag())?.unwrap_or(0);
        self.rows.put(&keys::etag(), etag.to_be_bytes().to_vec());
        Ok(etag)
    }

    /// Whether the principal is registered; the refusal says what is missing.
    pub fn require(&self, principal: &Principal) -> Result<(), Failure> {
        if self.rows.get(&keys::device(&principal.device_id))?.is_none() {
            return Err(Code::DeviceNotFound.into());
        }
        let Some(module_id) = &principal.module_id else { return Ok(()) };
        match self.rows.get(&keys::module(&principal.device_id, module_id))? {
            None => Err(Code::ModuleNotFound.into()),
            Some(_) => Ok(()),
        }
    }
}

/// Reads a row.
pub fn get<M: Message + Default>(rows: &impl Rows, key: &[u8]) -> Result<Option<M>, StoreError> {
    rows.get(key)?.map(|value| decode(&value)).transpose()
}

/// Reads the value of a row.
pub fn decode<M: Message + Default>(value: &[u8]) -> Result<M, StoreError> {
    M::decode(value).map_err(|error| StoreError::Corrupt(format!("a row of the state: {error}")))
}

/// Reads a row that is one number.
pub fn number(rows: &impl Rows, key: &[u8]) -> Result<Option<u64>, StoreError> {
    let Some(value) = rows.get(key)? else { return Ok(None) };
    let bytes = value.try_into().map_err(|_| StoreError::Corrupt("a number in the state has not 8 bytes".into()))?;
    Ok(Some(u64::from_be_bytes(bytes)))
}

/// Time of the newest applied entry, microseconds since 1970; the next entry's is never smaller.
pub fn entry_time(rows: &impl Rows) -> Result<i64, StoreError> {
    Ok(number(rows, &keys::time())?.map_or(0, u64::cast_signed))
}

/// The stored identity of a device.
pub fn device(rows: &impl Rows, device_id: &DeviceId) -> Result<Option<v1::DeviceIdentity>, StoreError> {
    get(rows, &keys::device(device_id))
}

/// The stored identity of a module.
pub fn module(
    rows: &impl Rows,
    device_id: &DeviceId,
    module_id: &ModuleId,
) -> Result<Option<v1::ModuleIdentity>, StoreError> {
    get(rows, &keys::module(device_id, module_id))
}

/// The device a command names.
pub fn parse_device_id(text: &str) -> Result<DeviceId, Failure> {
    text.parse().map_err(|_| invalid("device_id"))
}

/// The module a command names.
pub fn parse_module_id(text: &str) -> Result<ModuleId, Failure> {
    text.parse().map_err(|_| invalid("module_id"))
}

/// The principal a command names.
pub fn parse_principal(message: Option<&v1::Principal>) -> Result<Principal, Failure> {
    message.ok_or_else(|| invalid("principal"))?.try_into().map_err(|_| invalid("principal"))
}
