//! What a healed hub has to do for every device, in time.

use std::time::{Duration, Instant};

use model::DeviceIdentity;
use tokio::time::timeout;

use super::{
    Actor,
    connection::{Connection, LOOK_EVERY, Manner},
    feedback,
};
use crate::oracle::Wanted;

/// One operation of a hub where nothing fails any more.
const TIME: Duration = Duration::from_secs(10);
/// Longer than any lock that somebody left behind.
const LOCKS: Duration = Duration::from_secs(50);

pub async fn check(mut actors: Vec<Actor>) {
    for actor in &mut actors {
        check_device(actor).await;
    }
    if let Some(actor) = actors.first_mut() {
        read_all_feedback(actor).await;
    }
}

fn violation(actor: &Actor, what: &str) {
    actor.shared.oracle.lock().violation(&format!("{}: the healed hub {what}", actor.device));
}

async fn check_device(actor: &mut Actor) {
    let back_end = actor.clone();
    let Some(mut connection) = Connection::open(actor, Manner::Diligent).await else {
        return violation(&back_end, "lets no device connect");
    };
    connection.read_twin().await;
    let Some(version) = back_end.write_desired(None).await else { return violation(&back_end, "writes no twin") };
    if !is_told(&mut connection, version).await {
        return violation(&back_end, "tells a device nothing");
    }
    let id = connection.id();
    if !matches!(connection.actor().report(id).await, Ok(Some(_))) {
        return violation(&back_end, "takes no report");
    }
    if look_while(&mut connection, TIME, back_end.call_method(Duration::ZERO)).await != Some(true) {
        return violation(&back_end, "calls no method");
    }
    if !back_end.send(None, Wanted::Everything).await {
        return violation(&back_end, "takes no message");
    }
    if look_while(&mut connection, LOCKS, queue_is_empty(&back_end)).await.is_none() {
        return violation(&back_end, "does not deliver all messages");
    }
    if look_while(&mut connection, TIME, is_connected(&back_end, true)).await.is_none() {
        return violation(&back_end, "thinks a device gone that is there");
    }
    connection.close(true).await;
    if timeout(TIME, is_connected(&back_end, false)).await.is_err() {
        return violation(&back_end, "thinks a device there that is gone");
    }
    if back_end.read_twin().await.is_none() {
        violation(&back_end, "reads no twin");
    }
}

/// Serves the connection until it was told of that version.
async fn is_told(connection: &mut Connection<'_>, version: u64) -> bool {
    let until = Instant::now() + TIME;
    while connection.last_told < Some(version) {
        if Instant::now() > until || connection.look().await.is_break() {
            return false;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    true
}

/// Serves the connection while somebody else does something. `None`: that took too long, or the connection ended.
async fn look_while<T>(connection: &mut Connection<'_>, time: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(timeout(time, work));
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done.ok(),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        if connection.look().await.is_break() {
            return None;
        }
    }
}

async fn queue_is_empty(actor: &Actor) {
    while device(actor).await.is_none_or(|device| device.cloud_to_device_message_count > 0) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn is_connected(actor: &Actor, connected: bool) {
    while device(actor).await.is_none_or(|device| device.connected != connected) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn device(actor: &Actor) -> Option<DeviceIdentity> {
    actor.client.get_device(&actor.principal.device_id).await.ok()?
}

/// Until nothing came for longer than a lock lasts.
async fn read_all_feedback(actor: &mut Actor) {
    let mut until = Instant::now() + TIME;
    while Instant::now() < until {
        if feedback::read_once(actor, true).await {
            until = Instant::now() + TIME;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
