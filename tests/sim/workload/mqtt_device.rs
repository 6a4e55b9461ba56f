//! Devices that speak MQTT: they connect, live for a while, and again.

use std::time::{Duration, Instant};

use super::{Actor, mqtt_connection::MqttConnection};
use crate::run::Phase;

/// How long it is waited for a packet.
const LISTEN: Duration = Duration::from_millis(50);

pub async fn come_and_go(mut actor: Actor) {
    while actor.shared.phase() == Phase::Working {
        let pause = actor.random.milliseconds(0, 3000);
        tokio::time::sleep(pause).await;
        if actor.shared.phase() != Phase::Working {
            return;
        }
        let clean_session = actor.random.percent(10);
        if let Some(connection) = MqttConnection::open(&mut actor, clean_session).await {
            live(connection).await;
        }
    }
}

/// When nothing fails any more it stays, and only reads.
async fn live(mut connection: MqttConnection<'_>) {
    let until = Instant::now() + connection.actor().random.milliseconds(0, 8000);
    loop {
        let phase = connection.actor().shared.phase();
        if phase >= Phase::Draining || (phase == Phase::Working && Instant::now() >= until) {
            return connection.close().await;
        }
        let done = match connection.actor().random.below(40) {
            0..3 if phase == Phase::Working => connection.report().await,
            3 => connection.get_twin().await,
            _ => connection.serve(LISTEN).await,
        };
        if done.is_err() {
            return connection.gone();
        }
    }
}
