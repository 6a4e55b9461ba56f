//! Peers that connect and say nothing.

use std::{rc::Rc, time::Duration};

use tokio::io::AsyncReadExt;

use crate::{measurement::Counters, tls::Connector};

/// Before a connection is opened anew.
const PAUSE: Duration = Duration::from_millis(200);

/// Keeps that many connections open until the run is stopped.
pub fn start(connector: &Connector, count: u32, counters: &Rc<Counters>) {
    for index in 0..count {
        tokio::task::spawn_local(stay(connector.clone(), index, counters.clone()));
    }
}

async fn stay(connector: Connector, index: u32, counters: Rc<Counters>) {
    while !counters.stopped() {
        if let Ok(mut stream) = connector.connect_tcp(index).await {
            // Ends when the server closes it; that it does is no error of the run.
            let _ = stream.read_u8().await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
