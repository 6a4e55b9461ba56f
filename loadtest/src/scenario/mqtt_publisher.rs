//! One device that publishes over one connection, with a window of unacknowledged messages.

use std::{collections::VecDeque, rc::Rc, time::Instant};

use mqtt::client::Answer;

use super::{
    mqtt_connection::{self, Input},
    pacer::Turns,
};
use crate::{measurement::Counters, publish_template::PublishTemplate, tls::TlsStream};

/// Messages that one write carries when nothing acknowledges them.
const UNACKNOWLEDGED_BATCH: usize = 16;
/// As much as one TLS record holds.
const INPUT_BYTES: usize = 16 * 1024;

pub struct Publisher {
    pub template: PublishTemplate,
    pub acknowledged: bool,
    pub in_flight_max: usize,
    /// Absent: as fast as the window allows.
    pub turns: Option<Rc<Turns>>,
    pub counters: Rc<Counters>,
}

impl Publisher {
    /// Publishes until the run is stopped.
    pub async fn run(mut self, mut stream: TlsStream) -> anyhow::Result<()> {
        let mut sent_at = VecDeque::with_capacity(self.in_flight_max);
        let mut input = Input::new(INPUT_BYTES);
        let mut out = Vec::new();
        while !self.counters.stopped() {
            self.fill(&mut sent_at, &mut out);
            if !out.is_empty() {
                mqtt_connection::send(&mut stream, &out).await?;
                out.clear();
            }
            if !self.acknowledged {
                self.forget(&mut sent_at).await;
                continue;
            }
            let Self { counters, turns, .. } = &self;
            let acknowledged = |answer: &Answer<'_>| {
                if let (Answer::PubAck(_), Some(sent)) = (answer, sent_at.front()) {
                    counters.record(sent.elapsed());
                    sent_at.pop_front();
                }
            };
            match turns {
                None => input.read(&mut stream, acknowledged).await?,
                Some(turns) => tokio::select! {
                    result = input.read(&mut stream, acknowledged) => result?,
                    () = turns.wait() => {}
                },
            }
        }
        mqtt_connection::close(stream).await
    }

    /// Writes as many messages as window and turns allow.
    fn fill(&mut self, sent_at: &mut VecDeque<Instant>, out: &mut Vec<u8>) {
        let window = if self.acknowledged { self.in_flight_max } else { UNACKNOWLEDGED_BATCH };
        while sent_at.len() < window {
            let now = Instant::now();
            let sent = match &self.turns {
                None => now,
                Some(turns) => match turns.take() {
                    // A message that waits for the window counts from when it was due.
                    Some(due) => due.min(now),
                    None => break,
                },
            };
            self.template.append_to(out);
            sent_at.push_back(sent);
        }
    }

    /// QoS 0: sent is done. Lets others run, since a write to a socket with room never waits.
    async fn forget(&self, sent_at: &mut VecDeque<Instant>) {
        self.counters.add(sent_at.len() as u64);
        sent_at.clear();
        match &self.turns {
            Some(turns) => turns.wait().await,
            None => tokio::task::yield_now().await,
        }
    }
}
