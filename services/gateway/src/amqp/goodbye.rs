//! The orderly end of a connection, in two steps: its links end first, so that the peer may leave by itself; then it is
//! closed.
//!
//! One SDK (azure-iot-amqp-base of Node) that is told by a close alone waits 45 seconds for answers to its own goodbyes,
//! and its devices do not come again; told by its links, they are back at once.

use std::time::{Duration, Instant};

use amqp::LinkId;

use super::{close::Close, connection::Connection, error, link::Kind};
use crate::arrival::GOODBYE;

/// How long a peer whose links were ended may take to leave by itself.
const LEAVE: Duration = Duration::from_secs(1);

/// How far the goodbye has come, and how long the peer's next step is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goodbye {
    LinksEnded(Instant),
    /// Who closes on unread bytes may take the last words with it: the peer's close is waited for.
    Said(Instant),
}

impl Goodbye {
    pub fn said(wait: Duration) -> Self {
        Self::Said(Instant::now() + wait)
    }

    pub fn until(self) -> Instant {
        match self {
            Self::LinksEnded(until) | Self::Said(until) => until,
        }
    }
}

impl Connection {
    /// Goes on with the goodbye; whether nothing is left to be said or waited for.
    pub(super) fn say_goodbye(&mut self) -> bool {
        let is_over = |until: Instant| until <= Instant::now();
        let goodbye = match self.goodbye {
            Some(goodbye) => goodbye,
            None => Goodbye::LinksEnded(Instant::now() + self.end_links()),
        };
        let goodbye = match goodbye {
            Goodbye::LinksEnded(until) if self.protocol.is_closed() || is_over(until) => {
                let (_, error) = self.farewell();
                self.protocol.close(Some(error));
                Goodbye::said(GOODBYE)
            }
            goodbye => goodbye,
        };
        self.goodbye = Some(goodbye);
        matches!(goodbye, Goodbye::Said(until) if self.protocol.is_closed() || is_over(until))
    }

    /// What links are told, and the connection.
    pub(super) fn farewell(&self) -> (amqp::Error, amqp::Error) {
        match self.ending {
            Some(Close::TokenExpired) => (error::token_expired(), error::token_expired()),
            _ => (error::detach_forced("The gateway shuts down."), error::shutting_down()),
        }
    }

    /// Ends all links; answers how long the peer may take to leave. Readers of events are told by the close: they come
    /// again, and would ask this connection for new links otherwise.
    fn end_links(&mut self) -> Duration {
        let is_of_events =
            |kind: &Kind| matches!(kind, Kind::ManagementRequests | Kind::ManagementAnswers { .. } | Kind::Events);
        if self.links.is_empty() || self.links.values().any(|link| is_of_events(&link.kind)) {
            return Duration::ZERO;
        }
        let (error, _) = self.farewell();
        let (name, reason) = self.ending.as_ref().map(|close| (close.name(), close.to_string())).unwrap_or_default();
        let principals: Vec<_> = self.devices.keys().cloned().collect();
        principals.iter().for_each(|principal| self.end_device(principal, &error, name, &reason));
        let others: Vec<LinkId> = self.links.keys().copied().collect();
        others.into_iter().for_each(|link| self.detach(link, error.clone()));
        LEAVE
    }
}
