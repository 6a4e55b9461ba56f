//! One device that posts telemetry over one keep-alive HTTPS connection, one request at a time.

use std::{rc::Rc, time::Instant};

use anyhow::bail;

use super::pacer::Turns;
use crate::{http::HttpConnection, measurement::Counters, tls::TlsStream};

pub struct Publisher {
    /// The whole request, the same every time.
    pub request: Vec<u8>,
    pub turns: Option<Rc<Turns>>,
    pub counters: Rc<Counters>,
}

impl Publisher {
    /// Posts until the run is stopped.
    pub async fn run(self, stream: TlsStream) -> anyhow::Result<()> {
        let mut connection = HttpConnection::new(stream);
        while !self.counters.stopped() {
            let mut started = Instant::now();
            if let Some(turns) = &self.turns {
                match turns.take() {
                    Some(due) => started = due.min(started),
                    None => {
                        turns.wait().await;
                        continue;
                    }
                }
            }
            match connection.send(&self.request).await? {
                (204, _) => self.counters.record(started.elapsed()),
                (status, body) => bail!("the hub answered {status} {}", String::from_utf8_lossy(&body)),
            }
        }
        Ok(())
    }
}
