//! Persistent MQTT sessions: the filters that outlive a connection with CleanSession 0 (mqtt §2.6).

use proto::shard::v1::{
    self, ClearSession, StoredSession, Subscribe, Subscription, Unsubscribe, command::Operation, command_error::Code,
    command_result::Outcome,
};

use super::{
    feedback, file_notifications, keys,
    rows::{DONE, Entry, Failure, get, parse_principal},
    twin,
};
use crate::store::{Rows, StoreError};

/// Filters of one session at most (mqtt §11).
pub const SUBSCRIPTIONS_MAX: usize = 50;

/// Adds filters, making the session when there is none. A filter that is there already takes the new quality of service.
pub fn subscribe(entry: &mut Entry<'_, '_>, command: Subscribe) -> Result<Outcome, Failure> {
    let principal = parse_principal(command.principal.as_ref())?;
    entry.require(&principal)?;
    let key = keys::session(&principal);
    let stored: Option<StoredSession> = get(entry.rows, &key)?;
    let mut session = stored.clone().unwrap_or_default();
    command.subscriptions.into_iter().for_each(|subscription| grant(&mut session, subscription));
    if session.subscriptions.len() > SUBSCRIPTIONS_MAX {
        return Err(Code::TooManySubscriptions.into());
    }
    if stored.as_ref() != Some(&session) {
        entry.put(&key, &session);
    }
    Ok(DONE)
}

fn grant(session: &mut StoredSession, subscription: Subscription) {
    match session.subscriptions.iter_mut().find(|stored| stored.filter == subscription.filter) {
        Some(stored) => *stored = subscription,
        None => session.subscriptions.push(subscription),
    }
}

/// Removes filters; the session stays, even without any.
pub fn unsubscribe(entry: &mut Entry<'_, '_>, command: &Unsubscribe) -> Result<Outcome, Failure> {
    let principal = parse_principal(command.principal.as_ref())?;
    let key = keys::session(&principal);
    let Some(mut session) = get::<StoredSession>(entry.rows, &key)? else { return Ok(DONE) };
    let before = session.subscriptions.len();
    session.subscriptions.retain(|stored| !command.filters.contains(&stored.filter));
    if session.subscriptions.len() != before {
        entry.put(&key, &session);
    }
    Ok(DONE)
}

/// Forgets the session.
pub fn clear(entry: &mut Entry<'_, '_>, command: &ClearSession) -> Result<Outcome, Failure> {
    let key = keys::session(&parse_principal(command.principal.as_ref())?);
    if entry.rows.get(&key)?.is_some() {
        entry.rows.delete(&key);
    }
    Ok(DONE)
}

/// Whether the state is already as the operation wants it, so that it needs no entry (design "MQTT session row").
/// Other operations always need one. `time` is the leader's, microseconds since 1970.
pub fn changes_nothing(rows: &impl Rows, operation: &Operation, time: i64) -> Result<bool, StoreError> {
    let stored = |principal: &Option<v1::Principal>| match parse_principal(principal.as_ref()) {
        Ok(principal) => get::<StoredSession>(rows, &keys::session(&principal)),
        Err(_) => Ok(None),
    };
    Ok(match operation {
        // Without filters it is about a connection with CleanSession 1, of which nothing is stored.
        Operation::Subscribe(command) if command.subscriptions.is_empty() => true,
        Operation::Subscribe(command) => stored(&command.principal)?
            .is_some_and(|session| command.subscriptions.iter().all(|wanted| session.subscriptions.contains(wanted))),
        Operation::Unsubscribe(command) => !stored(&command.principal)?
            .is_some_and(|session| session.subscriptions.iter().any(|stored| command.filters.contains(&stored.filter))),
        Operation::ClearSession(command) => stored(&command.principal)?.is_none(),
        Operation::AnnounceModel(command) => twin::is_announced(rows, command)?,
        Operation::ReceiveFeedback(command) => feedback::has_nothing(rows, command, time)?,
        Operation::ReceiveFileNotification(_) => file_notifications::has_nothing(rows, time)?,
        _ => false,
    })
}
