//! One connection of a device, from its CONNACK to its end.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use mqtt::client::{Answer, ping, puback, subscribe};
use tokio::time::{sleep_until, timeout};

use super::{back_off::BackOff, routine::Routine};
use crate::{
    scenario::mqtt_connection::{self, Input},
    tls::TlsStream,
};

/// More than any message to a device of a fleet, and its twin, have.
const INPUT_BYTES: usize = 4096;
const SUBSCRIBE_ID: u16 = 1;

pub struct Connection<'a> {
    stream: TlsStream,
    input: Input,
    out: Vec<u8>,
    routine: &'a mut Routine,
    back_off: &'a mut BackOff,
    /// Since when the answer to SUBSCRIBE is waited for; nothing else is begun meanwhile.
    subscribing: Option<Instant>,
    sent: Instant,
}

impl<'a> Connection<'a> {
    /// As long as the usual keep-alive of SDKs.
    pub const KEEP_ALIVE: Duration = Duration::from_secs(240);

    pub fn new(stream: TlsStream, routine: &'a mut Routine, back_off: &'a mut BackOff) -> Self {
        let input = Input::new(INPUT_BYTES);
        Self { stream, input, out: Vec::new(), routine, back_off, subscribing: None, sent: Instant::now() }
    }

    /// Stays until the connection ends, which is an error, or an operation is not answered in time, which the routine
    /// has counted.
    pub async fn run(mut self, session_present: bool) -> anyhow::Result<()> {
        if session_present {
            self.routine.connected(Instant::now(), &mut self.out);
        } else {
            self.subscribe(Instant::now());
        }
        loop {
            let now = Instant::now();
            if self.is_late(now) {
                return Ok(());
            }
            if self.subscribing.is_none() {
                self.routine.begin(now, &mut self.out);
            }
            if now > self.sent + Self::KEEP_ALIVE / 2 {
                ping(&mut self.out);
            }
            self.flush().await?;
            self.wait().await?;
        }
    }

    /// The stored session keeps it: once in a device's life.
    fn subscribe(&mut self, now: Instant) {
        let messages = format!("devices/{}/messages/devicebound/#", self.routine.device_id());
        let filters = [
            (messages.as_str(), 1),
            ("$iothub/methods/POST/#", 0),
            ("$iothub/twin/res/#", 0),
            ("$iothub/twin/PATCH/properties/desired/#", 0),
        ];
        subscribe(SUBSCRIBE_ID, &filters, &mut self.out);
        self.subscribing = Some(now);
        self.routine.wants(now);
    }

    fn is_late(&mut self, now: Instant) -> bool {
        let limit = self.routine.operation_timeout();
        let subscribing = self.subscribing.is_some_and(|since| now >= since + limit);
        if subscribing {
            self.routine.unanswered("SUBSCRIBE");
        }
        subscribing || self.routine.is_late(now)
    }

    /// Until something has come, or something is to be done.
    async fn wait(&mut self) -> anyhow::Result<()> {
        let timeout = self.subscribing.map(|since| since + self.routine.operation_timeout());
        let ping = self.sent + Self::KEEP_ALIVE / 2 + Duration::from_millis(1);
        let next = [timeout, self.routine.next()].into_iter().flatten().fold(ping, Instant::min);
        let Self { stream, input, out, routine, subscribing, back_off, .. } = self;
        let mut outcome = Ok(());
        let handle = |answer: &Answer<'_>| {
            let handled = handle(answer, routine, subscribing, out);
            match handled {
                Ok(true) => back_off.reset(),
                Ok(false) => {}
                Err(error) => outcome = Err(error),
            }
        };
        tokio::select! {
            read = input.read(stream, handle) => read?,
            () = sleep_until(next.into()) => {}
        }
        outcome
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        self.sent = Instant::now();
        let limit = self.routine.operation_timeout();
        match timeout(limit, mqtt_connection::send(&mut self.stream, &self.out)).await {
            Ok(sent) => sent?,
            Err(_) => bail!("nothing could be sent for {} s", limit.as_secs()),
        }
        self.out.clear();
        Ok(())
    }
}

/// One packet. Whether it acknowledges an operation.
fn handle(
    answer: &Answer<'_>,
    routine: &mut Routine,
    subscribing: &mut Option<Instant>,
    out: &mut Vec<u8>,
) -> anyhow::Result<bool> {
    let now = Instant::now();
    Ok(match answer {
        Answer::PubAck(packet_id) => routine.acknowledged(*packet_id, now),
        Answer::SubAck { codes, .. } => {
            ensure!(codes.iter().all(|code| *code < 0x80), "SUBACK refuses a filter");
            *subscribing = None;
            routine.subscribed(now, out);
            true
        }
        Answer::Publish { topic, payload, packet_id, .. } => {
            let acknowledges = routine.received(topic, payload, now, out);
            packet_id.iter().for_each(|packet_id| puback(*packet_id, out));
            acknowledges
        }
        _ => false,
    })
}
