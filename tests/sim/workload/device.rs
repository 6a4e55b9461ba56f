//! Devices: connections that come and go, and others that only fetch a message now and then.

use std::time::Instant;

use shard_client::{Holder, Settle};

use super::{
    Actor,
    connection::{Connection, LOOK_EVERY, Manner},
    operations::body_id,
};
use crate::{oracle::TOKEN_LOCK, run::Phase};

/// Connects, lives for a while, and again. When nothing fails any more it stays, and begins nothing.
pub async fn come_and_go(mut actor: Actor) {
    while actor.shared.phase() == Phase::Working {
        let pause = actor.random.milliseconds(0, 3000);
        tokio::time::sleep(pause).await;
        if actor.shared.phase() == Phase::Working
            && let Some(connection) = Connection::open(&mut actor, Manner::Capricious).await
        {
            live(connection).await;
        }
    }
}

async fn live(mut connection: Connection<'_>) {
    connection.read_twin().await;
    let until = Instant::now() + connection.actor().random.milliseconds(0, 6000);
    let is_over = |connection: &mut Connection<'_>| match connection.actor().shared.phase() {
        Phase::Preparing | Phase::Working => Instant::now() >= until,
        Phase::Quiet => false,
        Phase::Draining | Phase::Finished => true,
    };
    while !is_over(&mut connection) {
        if connection.look().await.is_break() {
            return connection.close(false).await;
        }
        let working = connection.actor().shared.phase() == Phase::Working;
        match connection.actor().random.below(200) {
            0..4 if working => {
                let id = connection.id();
                if connection.actor().report(id).await.is_err() {
                    return connection.close(false).await;
                }
            }
            4..7 if working => connection.read_twin().await,
            _ => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
    connection.close(true).await;
}

/// Fetches a message without a connection, as HTTPS does.
pub async fn poll(mut actor: Actor) {
    while actor.shared.phase() == Phase::Working {
        let pause = actor.random.milliseconds(100, 4000);
        tokio::time::sleep(pause).await;
        let holder = Holder::Token(actor.random.draw());
        let Ok(received) = actor.receive(holder, 1, TOKEN_LOCK).await else { continue };
        for message in received.messages {
            let settle = *actor.random.pick(&[Settle::Complete, Settle::Complete, Settle::Abandon, Settle::Reject]);
            let pause = actor.random.milliseconds(0, 500);
            tokio::time::sleep(pause).await;
            actor.settle(holder, message.sequence, body_id(&message.record), settle).await;
        }
    }
}
