//! Peers that connect and say nothing.

use std::{cell::Cell, rc::Rc, time::Duration};

use tokio::{io::AsyncReadExt, time::timeout};

use crate::{measurement::Counters, tls::Connector};

/// Before a connection is opened anew.
const PAUSE: Duration = Duration::from_millis(200);
/// How long it may take until all are there.
const OPEN_WITHIN: Duration = Duration::from_secs(60);

/// Keeps that many connections open until the run is stopped; returns when most of them are there.
pub async fn start(connector: &Connector, count: u32, counters: &Rc<Counters>) -> anyhow::Result<()> {
    let open = Rc::new(Cell::new(0));
    for index in 0..count {
        tokio::task::spawn_local(stay(connector.clone(), index, counters.clone(), open.clone()));
    }
    let most = count - count / 20; // some are always between two connections
    let are_there = async {
        while open.get() < most {
            tokio::time::sleep(PAUSE / 4).await;
        }
    };
    let opened = timeout(OPEN_WITHIN, are_there).await;
    opened.map_err(|_| anyhow::anyhow!("only {} of {count} silent connections are open", open.get()))
}

async fn stay(connector: Connector, index: u32, counters: Rc<Counters>, open: Rc<Cell<u32>>) {
    while !counters.stopped() {
        if let Ok(mut stream) = connector.connect_tcp(index).await {
            open.set(open.get() + 1);
            // Ends when the server closes it; that it does is no error of the run.
            let _ = stream.read_u8().await;
            open.set(open.get() - 1);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
