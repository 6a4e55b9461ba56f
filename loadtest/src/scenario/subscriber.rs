//! The one reader beside mosquitto's load: what comes in must go out, as the hub's events can be read.

use std::{cell::Cell, rc::Rc};

use mqtt::client::{Answer, subscribe};

use super::mqtt_connection::{self, Input};
use crate::{measurement::Counters, tls::Connector};

const INPUT_BYTES: usize = 64 * 1024;

/// Subscribes to everything at QoS 0 and counts what arrives, until the run is stopped.
pub async fn run(
    connector: Connector,
    identity: mqtt::Connect,
    received: Rc<Cell<u64>>,
    counters: Rc<Counters>,
) -> anyhow::Result<()> {
    let mut stream = mqtt_connection::open(&connector, 0, &identity).await?;
    let mut out = Vec::new();
    subscribe(1, &[("#", 0)], &mut out);
    mqtt_connection::send(&mut stream, &out).await?;
    let mut input = Input::new(INPUT_BYTES);
    while !counters.stopped() {
        let count =
            |answer: &Answer<'_>| received.set(received.get() + u64::from(matches!(answer, Answer::Publish { .. })));
        input.read(&mut stream, count).await?;
    }
    Ok(())
}
