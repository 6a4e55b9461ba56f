//! One device that publishes over one connection, with a window of unacknowledged messages.

use std::rc::Rc;

use mqtt::client::Answer;

use super::{
    mqtt_connection::{self, Input},
    window::Window,
};
use crate::{measurement::Counters, publish_template::PublishTemplate, tls::TlsStream};

/// Messages that one write carries when nothing acknowledges them.
pub const UNACKNOWLEDGED_BATCH: u16 = 16;
/// As much as one TLS record holds.
const INPUT_BYTES: usize = 16 * 1024;

pub struct Publisher {
    pub template: PublishTemplate,
    pub acknowledged: bool,
    pub window: Window,
    pub counters: Rc<Counters>,
}

impl Publisher {
    /// Publishes until the run is stopped.
    pub async fn run(mut self, mut stream: TlsStream) -> anyhow::Result<()> {
        let mut input = Input::new(INPUT_BYTES);
        let mut out = Vec::new();
        let mut acknowledged: u32 = 0;
        while !self.counters.stopped() {
            while self.window.take() {
                self.template.append_to(&mut out);
            }
            if !out.is_empty() {
                mqtt_connection::send(&mut stream, &out).await?;
                out.clear();
            }
            if !self.acknowledged {
                self.forget().await;
                continue;
            }
            let count = |answer: &Answer<'_>| acknowledged += u32::from(matches!(answer, Answer::PubAck(_)));
            tokio::select! {
                result = input.read(&mut stream, count) => result?,
                () = self.window.turn() => {}
            }
            (0..std::mem::take(&mut acknowledged)).for_each(|_| self.window.acknowledged(&self.counters));
        }
        mqtt_connection::close(stream).await
    }

    /// QoS 0: sent is done. Lets others run, since a write to a socket with room never waits.
    async fn forget(&mut self) {
        self.counters.add(self.window.forget() as u64);
        if self.window.is_paced() { self.window.turn().await } else { tokio::task::yield_now().await }
    }
}
