//! Commands are applied once (design): the results of a client's commands are remembered until the client says that
//! it has them, so that a command sent again gets its first answer.
//!
//! ```text
//!   sequence:   0 ........ floor ................ highest ....
//!               forgotten  | remembered results   | new: applied
//! ```

use proto::{
    raft::v1::ExpireClients,
    shard::v1::{self, StoredClient, command::Operation, command_error::Code, command_result::Outcome},
};

use super::{
    keys::{self, Key},
    rows::{DONE, Entry, Failure, decode, get},
};
use crate::store::{Rows, StoreError};

/// Results remembered of one client at most; a client must not run further ahead of its oldest unanswered command.
pub const REMEMBERED_RESULTS_MAX: u64 = 16_384;

/// Clients forgotten by one command at most, so that an entry stays quick to apply.
const EXPIRED_CLIENTS_MAX: usize = 16;

/// Applies a client's operation unless a command of that id was applied before; then its result is answered again.
pub fn apply_once(
    entry: &mut Entry<'_, '_>,
    command: v1::Command,
    operate: impl FnOnce(&mut Entry<'_, '_>, Option<Operation>) -> Result<v1::CommandResult, StoreError>,
) -> Result<v1::CommandResult, StoreError> {
    let Some(id) = command.id else { return Ok(error(Code::Invalid, "a command without an id")) };
    let mut client: StoredClient = get(entry.rows, &keys::client(id.incarnation))?.unwrap_or_default();
    if id.sequence < client.floor {
        return Ok(error(Code::ResultForgotten, ""));
    }
    if id.sequence <= client.highest_sequence
        && let Some(result) = get(entry.rows, &keys::result(id.incarnation, id.sequence))?
    {
        return Ok(result);
    }
    let result = operate(entry, command.operation)?;
    entry.put(&keys::result(id.incarnation, id.sequence), &result);
    client.highest_sequence = client.highest_sequence.max(id.sequence);
    client.last_command_time = entry.time;
    raise_floor(entry, &id, &mut client);
    entry.put(&keys::client(id.incarnation), &client);
    Ok(result)
}

/// Forgets what the client needs no more, and what exceeds the limit. Never the result just remembered.
fn raise_floor(entry: &mut Entry<'_, '_>, id: &v1::CommandId, client: &mut StoredClient) {
    let limit = client.highest_sequence.saturating_add(1).saturating_sub(REMEMBERED_RESULTS_MAX);
    let floor = client.floor.max(id.lowest_unanswered.min(id.sequence)).max(limit);
    // Rows exist only in the window that began at the old floor.
    for sequence in client.floor..floor.min(client.floor.saturating_add(REMEMBERED_RESULTS_MAX)) {
        entry.rows.delete(&keys::result(id.incarnation, sequence));
    }
    client.floor = floor;
}

fn error(code: Code, detail: &str) -> v1::CommandResult {
    let error = v1::CommandError { code: code as i32, detail: detail.into() };
    v1::CommandResult { outcome: Some(Outcome::Error(error)) }
}

/// Forgets the clients named, unless they were heard of since.
pub fn expire(entry: &mut Entry<'_, '_>, command: &ExpireClients) -> Result<Outcome, Failure> {
    for incarnation in command.incarnations.iter().take(EXPIRED_CLIENTS_MAX) {
        let key = keys::client(*incarnation);
        let Some(client) = get::<StoredClient>(entry.rows, &key)? else { continue };
        if !is_expired(&client, command.idle_since) {
            continue;
        }
        entry.delete_all(&keys::results_of(*incarnation))?;
        entry.rows.delete(&key);
    }
    Ok(DONE)
}

/// Whether the client's last command is older.
pub fn is_expired(client: &StoredClient, idle_since: i64) -> bool {
    client.last_command_time < idle_since
}

/// The next command that forgets clients idle since then (microseconds since 1970); `None` when there are none.
pub fn expired_clients(rows: &impl Rows, idle_since: i64) -> Result<Option<ExpireClients>, StoreError> {
    const PAGE: usize = 256;
    let range = keys::clients();
    let mut from = range.from;
    let mut incarnations = Vec::new();
    loop {
        let page = rows.scan(&from, &range.to, PAGE)?;
        for (key, value) in &page {
            if let Some(Key::Client { incarnation }) = Key::decode(key)
                && is_expired(&decode(value)?, idle_since)
            {
                incarnations.push(incarnation);
            }
        }
        match page.last() {
            Some((last, _)) if page.len() == PAGE && incarnations.len() < EXPIRED_CLIENTS_MAX => {
                from = [last.as_slice(), &[0]].concat();
            }
            _ => break,
        }
    }
    incarnations.truncate(EXPIRED_CLIENTS_MAX);
    Ok((!incarnations.is_empty()).then_some(ExpireClients { incarnations, idle_since }))
}
