//! Who has been silent for how long (AMQP 1.0 §2.4.5).

use std::time::{Duration, Instant};

use super::{Config, Violation};

#[derive(Debug)]
pub(super) struct Silence {
    /// The longest silence that is allowed to the peer now.
    peer_max: Duration,
    /// The longest silence that we allow ourselves; `None` until the connection is open.
    own_max: Option<Duration>,
    last_received: Instant,
    last_written: Instant,
    /// Bytes of an incomplete frame when we last looked.
    left: usize,
}

impl Silence {
    pub fn new(config: &Config, now: Instant) -> Self {
        let peer_max = config.handshake_timeout;
        Self { peer_max, own_max: None, last_received: now, last_written: now, left: 0 }
    }

    /// The peer has opened the connection and wants to hear from us this often (0: it does not care).
    pub fn opened(&mut self, config: &Config, peer_milliseconds: u32) -> Result<(), Violation> {
        let asked = Duration::from_millis(peer_milliseconds.into());
        if !asked.is_zero() && asked < config.peer_idle_timeout_min {
            return Err(Violation::IdleTimeout(peer_milliseconds));
        }
        let interval = if asked.is_zero() { config.heartbeat_interval_max } else { asked / 2 };
        self.own_max = Some(interval.min(config.heartbeat_interval_max));
        self.peer_max = config.silence_max;
        Ok(())
    }

    /// Bytes that are on their way are a sign of life, but only new ones; before the open nothing is.
    pub fn received(&mut self, available: usize, now: Instant) {
        if self.own_max.is_some() && available > self.left {
            self.last_received = now;
        }
    }

    pub fn left(&mut self, count: usize) {
        self.left = count;
    }

    pub fn wrote(&mut self, now: Instant) {
        self.last_written = now;
    }

    pub fn deadline(&self) -> Instant {
        let give_up = self.last_received + self.peer_max;
        self.own_max.map_or(give_up, |own_max| give_up.min(self.last_written + own_max))
    }

    pub fn violation(&self, now: Instant) -> Option<Violation> {
        let violation = if self.own_max.is_some() { Violation::Silence } else { Violation::HandshakeTimeout };
        (now >= self.last_received + self.peer_max).then_some(violation)
    }

    pub fn is_heartbeat_due(&self, now: Instant) -> bool {
        self.own_max.is_some_and(|own_max| now >= self.last_written + own_max)
    }
}
