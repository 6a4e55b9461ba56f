//! Back ends that call the hub over HTTPS, evenly spread over time.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use tokio::task::JoinHandle;

use super::pacer::{self, Turns};
use crate::{
    devices::{self, API_VERSION},
    http::{HttpConnection, Request},
    measurement::{Counters, Measurement},
    target::Target,
};

/// Calls and what they are spread over.
pub struct Calls {
    pub clients: u32,
    /// Per second, of all clients together.
    pub rate: u32,
    pub duration: Duration,
    /// What is counted, in the plural.
    pub unit: &'static str,
    /// Whether the answer to a call is what is measured; else somebody else records.
    pub records: bool,
}

/// The body and path of call number so many.
pub type MakeCall = Rc<dyn Fn(u64) -> (String, Vec<u8>)>;

impl Calls {
    /// Calls until the time is over.
    pub async fn run(&self, target: &Target, counters: &Rc<Counters>, call: MakeCall) -> anyhow::Result<Measurement> {
        let turns: Vec<Rc<Turns>> = (0..self.clients).map(|_| Rc::default()).collect();
        let mut tasks: Vec<JoinHandle<()>> = Vec::new();
        for (client, turns) in turns.iter().enumerate() {
            let client =
                Client { index: client as u64, of: self.clients.into(), turns: turns.clone(), records: self.records };
            let (target, counters, call) = (target.clone(), counters.clone(), call.clone());
            tasks.push(tokio::task::spawn_local(async move {
                let result = client.run(&target, &counters, &call).await;
                counters.unless_stopped(result);
            }));
        }
        let (rate, paced) = (self.rate, counters.clone());
        tasks.push(tokio::task::spawn_local(async move {
            let result = pacer::run(rate, turns, paced.clone()).await;
            paced.unless_stopped(result);
        }));
        counters.progress("warms up", self.unit, Duration::from_secs(2)).await;
        let measured = counters.measure("ironhub", self.unit, self.duration, target.server).await;
        counters.stop();
        tasks.iter().for_each(JoinHandle::abort);
        join_all(tasks).await;
        measured
    }
}

struct Client {
    index: u64,
    of: u64,
    turns: Rc<Turns>,
    records: bool,
}

impl Client {
    async fn run(&self, target: &Target, counters: &Counters, call: &MakeCall) -> anyhow::Result<()> {
        let connector = devices::https_connector(target)?;
        let mut connection = HttpConnection::new(connector.connect(self.index as u32).await?);
        let token = devices::service_token(target);
        let mut number = self.index;
        while !counters.stopped() {
            let Some(due) = self.turns.take() else {
                self.turns.wait().await;
                continue;
            };
            let (path, body) = call(number);
            number += self.of;
            let path = format!("{path}?api-version={API_VERSION}");
            let (host, headers) = (&target.host_name, "Content-Type: application/json\r\n");
            let request = Request { method: "POST", target: &path, host, token: &token, headers, body: &body };
            let (status, answer) = connection.send(&request.encode()).await?;
            let is_done = matches!(status, 200 | 204);
            anyhow::ensure!(is_done, "the hub answered {status} {}", String::from_utf8_lossy(&answer));
            if self.records {
                // From when it was due: waiting for a free client counts.
                counters.record(due.elapsed().max(Duration::ZERO));
            }
        }
        Ok(())
    }
}

/// Nanoseconds since the run began, as the body of a message.
pub fn stamp(began: Instant) -> Vec<u8> {
    began.elapsed().as_nanos().to_string().into_bytes()
}

/// How long ago a body was stamped; `None` when it is none.
pub fn age(began: Instant, stamp: &[u8]) -> Option<Duration> {
    let nanoseconds: u64 = std::str::from_utf8(stamp).ok()?.parse().ok()?;
    began.elapsed().checked_sub(Duration::from_nanos(nanoseconds))
}
