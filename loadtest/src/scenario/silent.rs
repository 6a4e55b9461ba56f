//! Peers that connect and say nothing.

use std::{cell::Cell, rc::Rc, time::Duration};

use tokio::{io::AsyncReadExt, task::JoinHandle, time::timeout};

use crate::tls::Connector;

/// Before a connection is opened anew.
const PAUSE: Duration = Duration::from_millis(200);
/// How long it may take until all are there.
const OPEN_WITHIN: Duration = Duration::from_secs(60);

/// Connections that say nothing; closed when this is dropped.
pub struct Silent {
    tasks: Vec<JoinHandle<()>>,
}

impl Silent {
    /// Keeps that many connections open; returns when most of them are there.
    pub async fn open(connector: &Connector, count: u32) -> anyhow::Result<Self> {
        let open = Rc::new(Cell::new(0));
        let stay = |index| tokio::task::spawn_local(stay(connector.clone(), index, open.clone()));
        let silent = Self { tasks: (0..count).map(stay).collect() };
        let most = count - count / 20; // some are always between two connections
        let are_there = async {
            while open.get() < most {
                tokio::time::sleep(PAUSE / 4).await;
            }
        };
        let opened = timeout(OPEN_WITHIN, are_there).await;
        opened.map_err(|_| anyhow::anyhow!("only {} of {count} silent connections are open", open.get()))?;
        Ok(silent)
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn stay(connector: Connector, index: u32, open: Rc<Cell<u32>>) {
    loop {
        if let Ok(mut stream) = connector.connect_tcp(index).await {
            open.set(open.get() + 1);
            // Ends when the server closes it; that it does is no error of the run.
            let _ = stream.read_u8().await;
            open.set(open.get() - 1);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
