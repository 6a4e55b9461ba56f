//! Who has been silent for how long (AMQP 1.0 §2.4.5).

use std::time::{Duration, Instant};

use super::{Config, Violation};

#[derive(Debug)]
pub(super) struct Silence {
    /// When the connection must be open.
    handshake_deadline: Instant,
    /// The longest silence that is allowed to the peer.
    peer_max: Duration,
    /// The longest silence that we allow ourselves; `None` until the peer has opened the connection.
    own_max: Option<Duration>,
    last_received: Instant,
    last_written: Instant,
    /// Bytes of an incomplete frame when we last looked.
    left: usize,
}

impl Silence {
    pub fn new(config: &Config, now: Instant) -> Self {
        Self {
            handshake_deadline: now + config.handshake_timeout,
            peer_max: config.silence_max,
            own_max: None,
            last_received: now,
            last_written: now,
            left: 0,
        }
    }

    /// The peer has opened the connection and wants to hear from us this often (0: it does not care).
    pub fn opened(&mut self, config: &Config, peer_milliseconds: u32) -> Result<(), Violation> {
        let asked = Duration::from_millis(peer_milliseconds.into());
        if !asked.is_zero() && asked < config.peer_idle_timeout_min {
            return Err(Violation::IdleTimeout(peer_milliseconds));
        }
        let interval = if asked.is_zero() { config.heartbeat_interval_max } else { asked / 2 };
        self.own_max = Some(interval.min(config.heartbeat_interval_max));
        Ok(())
    }

    /// Bytes that are on their way are a sign of life, but only new ones.
    pub fn received(&mut self, available: usize, now: Instant) {
        if available > self.left {
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
        let Some(own_max) = self.own_max else { return self.handshake_deadline };
        (self.last_received + self.peer_max).min(self.last_written + own_max)
    }

    pub fn violation(&self, now: Instant) -> Option<Violation> {
        match self.own_max {
            None => (now >= self.handshake_deadline).then_some(Violation::HandshakeTimeout),
            Some(_) => (now >= self.last_received + self.peer_max).then_some(Violation::Silence),
        }
    }

    pub fn is_heartbeat_due(&self, now: Instant) -> bool {
        self.own_max.is_some_and(|own_max| now >= self.last_written + own_max)
    }
}
