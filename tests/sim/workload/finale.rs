//! What a healed hub has to do for every device, in time.

use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

use model::DeviceIdentity;
use tokio::time::timeout;

use super::{
    Actor,
    connection::{Connection, LOOK_EVERY, Manner},
    feedback,
    mqtt_connection::MqttConnection,
};
use crate::oracle::Wanted;

/// One operation of a hub where nothing fails any more.
const TIME: Duration = Duration::from_secs(10);
/// Longer than any lock that somebody left behind.
const LOCKS: Duration = Duration::from_secs(50);

/// Checks every device, the first ones without a protocol, the others by MQTT.
pub async fn check(mut without: Vec<Actor>, mut mqtt: Vec<Actor>) {
    for actor in &mut without {
        let back_end = actor.clone();
        let connection = Connection::open(actor, Manner::Diligent).await;
        check_device(back_end, connection.map(Live::Without)).await;
    }
    for actor in &mut mqtt {
        let back_end = actor.clone();
        let connection = MqttConnection::open(actor, false).await;
        check_device(back_end, connection.map(Live::Mqtt)).await;
    }
    if let Some(actor) = without.first_mut() {
        read_all_feedback(actor).await;
    }
}

/// A connection of a device.
enum Live<'a> {
    Without(Connection<'a>),
    Mqtt(MqttConnection<'a>),
}

impl Live<'_> {
    /// Takes what has come, and waits a little.
    async fn look(&mut self) -> ControlFlow<()> {
        match self {
            Self::Without(connection) => {
                tokio::time::sleep(LOOK_EVERY).await;
                connection.look().await
            }
            Self::Mqtt(connection) => match connection.serve(LOOK_EVERY).await {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            },
        }
    }

    fn last_told(&self) -> Option<u64> {
        match self {
            Self::Without(connection) => connection.last_told(),
            Self::Mqtt(connection) => connection.last_told(),
        }
    }

    /// Reads the twin and writes to it.
    async fn read_and_report(&mut self) -> bool {
        match self {
            Self::Without(connection) => {
                connection.read_twin().await;
                let id = connection.id();
                matches!(connection.actor().report(id).await, Ok(Some(_)))
            }
            Self::Mqtt(connection) => {
                connection.diligent = true;
                let until = Instant::now() + TIME;
                let mut is_well = connection.get_twin().await.is_ok() && connection.report().await.is_ok();
                while is_well && !connection.is_answered() && Instant::now() < until {
                    is_well = connection.serve(LOOK_EVERY).await.is_ok();
                }
                is_well && connection.is_answered()
            }
        }
    }

    async fn close(self) {
        match self {
            Self::Without(connection) => connection.close(true).await,
            Self::Mqtt(connection) => connection.close().await,
        }
    }
}

async fn check_device(back_end: Actor, connection: Option<Live<'_>>) {
    let checked = match connection {
        Some(connection) => check_connection(&back_end, connection).await,
        None => Err("lets no device connect"),
    };
    if let Err(what) = checked {
        back_end.shared.oracle.lock().violation(&format!("{}: the healed hub {what}", back_end.device));
    }
}

async fn check_connection(back_end: &Actor, mut connection: Live<'_>) -> Result<(), &'static str> {
    if !connection.read_and_report().await {
        return Err("does not serve the twin of a device");
    }
    let version = back_end.write_desired(None).await.ok_or("writes no twin")?;
    if !is_told(&mut connection, version).await {
        return Err("tells a device nothing");
    }
    if look_while(&mut connection, TIME, back_end.call_method(Duration::ZERO)).await != Some(true) {
        return Err("calls no method");
    }
    if !back_end.send(None, Wanted::Everything).await {
        return Err("takes no message");
    }
    look_while(&mut connection, LOCKS, queue_is_empty(back_end)).await.ok_or("does not deliver all messages")?;
    let is_there = look_while(&mut connection, TIME, is_connected(back_end, true)).await;
    is_there.ok_or("thinks a device gone that is there")?;
    connection.close().await;
    let is_gone = timeout(TIME, is_connected(back_end, false)).await;
    is_gone.map_err(|_| "thinks a device there that is gone")?;
    back_end.read_twin().await.map(drop).ok_or("reads no twin")
}

/// Serves the connection until it was told of that version.
async fn is_told(connection: &mut Live<'_>, version: u64) -> bool {
    let until = Instant::now() + TIME;
    while connection.last_told() < Some(version) {
        if Instant::now() > until || connection.look().await.is_break() {
            return false;
        }
    }
    true
}

/// Serves the connection while somebody else does something. `None`: that took too long, or the connection ended.
async fn look_while<T>(connection: &mut Live<'_>, time: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(timeout(time, work));
    loop {
        if let std::task::Poll::Ready(done) = futures::poll!(&mut work) {
            return done.ok();
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
