//! Back ends: writes, messages and methods, one after the other.

use std::time::Duration;

use super::Actor;
use crate::{oracle::Wanted, run::Phase};

pub async fn work(mut actor: Actor) {
    let mut etag = None;
    while actor.shared.phase() == Phase::Working {
        let pause = actor.random.milliseconds(0, 400);
        tokio::time::sleep(pause).await;
        match actor.random.below(100) {
            0..35 => {
                let expected = etag.take().filter(|_| actor.random.percent(40));
                actor.write_desired(expected).await;
            }
            35..55 => etag = actor.read_twin().await.map(|document| document.twin.etag),
            55..80 => {
                let expires = actor.random.percent(15).then(|| Duration::from_secs(1 + actor.random.below(8)));
                let wanted = *actor.random.pick(&[Wanted::Nothing, Wanted::Everything]);
                actor.send(expires, wanted).await;
            }
            _ => {
                let connect_timeout = *actor.random.pick(&[Duration::ZERO, Duration::from_secs(2)]);
                actor.call_method(connect_timeout).await;
            }
        }
    }
}
