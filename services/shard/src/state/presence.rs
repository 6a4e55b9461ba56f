//! Connection states as they were last written. The leader's memory is newer; it writes lazily, in batches.

use model::Principal;
use proto::{
    raft::v1::RecordPresence,
    shard::v1::{Presence, command_result::Outcome},
};

use super::{
    keys::{self, Key},
    queue,
    rows::{DONE, Entry, Failure, decode, get, parse_principal},
};
use crate::store::{Rows, StoreError};

/// A written connection state.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredPresence {
    pub principal: Principal,
    pub presence: Presence,
}

/// Writes the states of principals that are still registered.
pub fn record(entry: &mut Entry<'_, '_>, command: RecordPresence) -> Result<Outcome, Failure> {
    for row in command.rows {
        let principal = parse_principal(row.principal.as_ref())?;
        match entry.require(&principal) {
            Ok(()) => entry.put(&keys::presence(&principal), &row.presence.unwrap_or_default()),
            Err(Failure::Refused(..)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(DONE)
}

/// The state last written of the principal, with the messages that wait for it; the default says "never connected".
pub fn presence(rows: &impl Rows, principal: &Principal) -> Result<Presence, StoreError> {
    let stored: Presence = get(rows, &keys::presence(principal))?.unwrap_or_default();
    Ok(Presence { cloud_to_device_message_count: queue::count(rows, principal)?, ..stored })
}

/// One page of the principals that were connected when it was last written: those among the next `limit` rows behind
/// the position, and the position to go on from (`None`: that was all).
pub fn connected_after(
    rows: &impl Rows,
    position: Option<Vec<u8>>,
    limit: usize,
) -> Result<(Vec<StoredPresence>, Option<Vec<u8>>), StoreError> {
    let range = keys::presences();
    let page = rows.scan(&position.unwrap_or(range.from), &range.to, limit)?;
    let next = match page.last() {
        Some((last, _)) if page.len() >= limit => Some([last.as_slice(), &[0]].concat()),
        _ => None,
    };
    let mut connected = Vec::new();
    for (key, value) in page {
        let presence: Presence = decode(&value)?;
        if let Some(Key::Presence(principal)) = Key::decode(&key)
            && presence.connected
        {
            connected.push(StoredPresence { principal, presence });
        }
    }
    Ok((connected, next))
}
